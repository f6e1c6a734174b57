import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from experiments.main import main
from experiments.results.series import Floats
from tests.experiments.made import Arrivals, arrivals, rows, summary, write_race, write_rows, write_summary
from tests.experiments.report.browser import render
from tests.experiments.report.devtools import opened

HOUR_NS = 3_600_000_000_000
EVENTS = 500

pytestmark = pytest.mark.process


def noise(seed: int, scale: float) -> Floats:
    return np.random.default_rng(seed).normal(size=EVENTS) * scale


def at_hour(made: Arrivals, hour: int) -> Arrivals:
    return replace(made, event_ns=made.event_ns + hour * HOUR_NS)


def race_folder(folder: Path, hours: int = 1) -> Path:
    for hour in range(hours):
        run = folder / f"{hour:02}"
        run.mkdir(parents=True)
        direct = at_hour(arrivals(215 + noise(hour, 8)), hour)
        backbone = at_hour(arrivals(100 + noise(100 + hour, 4)), hour)
        write_race(run / "results.csv", direct, backbone)
        content = summary(setup_type="race")
        content["paths"]["direct"] = content["paths"]["backbone"] | {"kind": "feed", "link": None, "backbone": None}
        write_summary(run / "results.json", content)
    return folder


def report(folder: Path, *options: str) -> str:
    result = CliRunner().invoke(main, ["report", str(folder), *options])
    assert result.exit_code == 0, result.output
    return (folder / "report.html").read_text()


def headings(page: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page)


def test_the_verdict_comes_first_and_everything_else_after_it(tmp_path: Path) -> None:
    page = report(race_folder(tmp_path))
    assert re.search(r"<h1[^>]*>Backbone has events 11[45]\.\d ms earlier than direct", page)
    assert page.index("<h1") < page.index("<table") < page.index("<svg")
    assert headings(page) == [
        "Figures",
        "Lead",
        "Cumulative distribution",
        "Histogram",
        "Percentile spectrum",
        "Over time",
        "Not drawn",
        "What arrived",
        "Lead of backbone",
        "Clock trust",
        "Own delay",
        "Method",
    ]
    assert "the runs fall into one hour" in page


def test_runs_of_several_hours_get_a_heat_map_and_a_table_of_runs(tmp_path: Path) -> None:
    page = report(race_folder(tmp_path, hours=3))
    assert "Hour of day" in headings(page)
    assert "Runs" in headings(page)
    assert "Not drawn" not in headings(page)
    assert "1,500 events on both paths" in page
    assert page.count('<th scope="row">0') == 3


def test_two_kinds_of_runs_are_compared_like_two_files(tmp_path: Path) -> None:
    for hour in range(4):
        name, link = ("baseline", False) if hour % 2 else ("aws-backbone", True)
        made = at_hour(arrivals((100 if link else 120) + noise(hour, 2)), hour)
        write_rows(tmp_path / f"{hour}.csv", rows(made, path=name, link=link))
    page = report(tmp_path)
    assert "Aws-backbone is faster than baseline by 2" in page
    assert "These are two runs of one-way delays" in page
    assert "How far the clocks behind baseline and aws-backbone were off is not recorded" in page


def test_a_race_without_event_times_has_a_lead_and_says_what_it_lacks(tmp_path: Path) -> None:
    write_race(tmp_path / "race.csv", arrivals(215 + noise(1, 8)), arrivals(100 + noise(2, 4)), timed=False)
    page = report(tmp_path)
    assert "Lead" in headings(page)
    assert "Histogram" not in headings(page)
    assert "Distributions of latency: a path has no sample of it" in page
    assert "so only the lead is known" in page


def test_names_are_text_not_markup(tmp_path: Path) -> None:
    lines = rows(arrivals(120 + noise(1, 2)), path="<b>a&b</b>", link=False)
    lines += rows(arrivals(100 + noise(2, 2)), path="y", link=True)
    page = report(race_of(tmp_path, lines))
    assert "<b>a" not in page
    assert "&lt;b&gt;a&amp;b&lt;/b&gt;" in page


def race_of(folder: Path, lines: list[str]) -> Path:
    write_rows(folder / "race.csv", lines)
    return folder


def test_markdown_says_the_same(tmp_path: Path) -> None:
    report(race_folder(tmp_path))
    text = (tmp_path / "report.md").read_text()
    assert text.startswith("# backbone against direct\n\n**Backbone has events 11")
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1, table


def test_the_measurers_own_share_stands_beside_what_the_network_takes(tmp_path: Path) -> None:
    page = report(race_folder(tmp_path))
    cells = "".join(f"<td>{figure}</td>" for figure in ("0.063", "0.317", "0.081", "0.420", "212.92", "214.50"))
    assert f'<th scope="row">backbone</th><td>results</td>{cells}' in page
    markdown = (tmp_path / "report.md").read_text()
    assert "| backbone | results | 0.063 | 0.317 | 0.081 | 0.420 | 212.92 | 214.50 |" in markdown
    # A path without a forwarder has neither a hold nor a one-way delay of its own.
    assert "| direct | results | 0.063 | 0.317 | – | – | – | – |" in markdown
    # The round trip of the link is the clocks' business.
    assert "<td>220.00</td>" in page


def test_the_parts_of_the_delay_close_to_its_total(tmp_path: Path) -> None:
    folder = race_folder(tmp_path)
    content = summary(setup_type="race")
    content["paths"]["direct"] = content["paths"]["backbone"] | {"kind": "feed", "link": None, "backbone": None}
    means = {"feed": 2.125, "hold_user": 0.0625, "hold_kernel": 0.03125, "way": 98.5, "host": 0.125, "decode": 0.015625}
    content["paths"]["backbone"]["error_bound_ms"] = {"end_to_end": 1.0625, "backbone": None}
    content["paths"]["backbone"]["segments"] = {
        name: {"sample_count": 300, "avg_ms": mean, "median_ms": mean, "p99_ms": 2 * mean}
        for name, mean in (means | {"total": sum(means.values())}).items()
    }
    write_summary(folder / "00" / "results.json", content)
    page = report(folder)
    assert {"Parts of the delay", "Parts of the delay, in figures"} <= set(headings(page))
    rows_shown = re.findall(r"<tr><th scope=\"row\">(\w+)</th><td>backbone</td><td>results</td><td>300</td>", page)
    assert rows_shown == [*means, "total"]
    assert "The means of the parts add up to 100.86 ms; clocks and the step of event times leave ± 1.062 ms" in page
    assert page.count("backbone, median: feed 2.125 ms, hold_user 0.062 ms") == 2
    written = (folder / "report.md").read_text()
    assert "| backbone | results | hold_kernel | 300 |" in written
    assert "total (parts: 100.8" in written


def test_the_tail_stands_by_its_causes(tmp_path: Path) -> None:
    folder = race_folder(tmp_path)
    content = summary(setup_type="race")
    content["paths"]["direct"] = content["paths"]["backbone"] | {"kind": "feed", "link": None, "backbone": None}
    content["paths"]["backbone"] = content["paths"]["backbone"] | {
        "tail": {
            "network": {"events": 30, "mean_excess_ms": 1.5, "worst_excess_ms": 4.25},
            "receiver_busy": {"events": 90, "mean_excess_ms": 12.25, "worst_excess_ms": 40.5},
        }
    }
    write_summary(folder / "00" / "results.json", content)
    page = report(folder)
    assert "Why the slowest events were slow" in headings(page)
    shown = re.findall(
        r'<tr><th scope="row">(\w+)</th><td>backbone</td><td>results</td><td>(\d+)</td><td>([\d.]+) %</td>', page
    )
    # In the order in which causes are tried, whatever the file's.
    assert shown == [("receiver_busy", "90", "75.0"), ("network", "30", "25.0")]
    written = (folder / "report.md").read_text()
    assert "| backbone | results | receiver_busy | 90 | 75.0 % | 12.25 | 40.50 |" in written


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["report", str(tmp_path)])
    assert result.exit_code == 2
    assert "holds no results" in result.output


def test_a_report_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main, ["report", str(race_folder(tmp_path)), "--output", str(tmp_path / "no" / "r.html")]
    )
    assert result.exit_code == 5
    assert "cannot be written: No such file or directory" in result.output


class _Fetches(HTMLParser):
    """Collects all that a browser would fetch for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "script":
            self.found.append("<script>")
        for name, value in attributes:
            if (
                name in {"src", "href", "xlink:href", "srcset", "data"}
                and value
                and not value.startswith(("#", "data:"))
            ):
                self.found.append(f"{tag} {name}={value}")


def test_the_page_fetches_nothing_and_runs_nothing(tmp_path: Path) -> None:
    page = report(race_folder(tmp_path, hours=2))
    parser = _Fetches()
    parser.feed(page)
    assert parser.found == []
    assert not re.search(r"@import|url\((?![\"']?#)", page)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for reference in re.findall(r'(?:url\(#|xlink:href="#)([^)"]+)', page):
        assert reference in ids


def test_a_browser_without_network_renders_it_without_a_complaint(tmp_path: Path) -> None:
    folder = race_folder(tmp_path / "runs", hours=2)
    report(folder)
    rendering = render(folder / "report.html", tmp_path / "profile")
    assert rendering.console == []
    # Each figure in two widths.
    assert rendering.document.count("</svg>") == 2 * 6
    assert "Backbone has events 11" in rendering.document


def test_the_browser_would_complain(tmp_path: Path) -> None:
    folder = race_folder(tmp_path / "runs")
    page = report(folder).replace(
        "</main>", '<img src="https://example.org/x.png"><script>nothing.here</script></main>'
    )
    (folder / "bad.html").write_text(page)
    console = render(folder / "bad.html", tmp_path / "profile").console
    assert any("https://example.org/x.png" in message for message in console)
    assert any("script" in message for message in console)


MEASURES = """(() => {
  // WCAG 2.2, relative luminance and contrast ratio.
  const luminance = rgb => rgb.slice(0, 3).map(v => v / 255)
    .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const colour = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const found = colour(getComputedStyle(e).backgroundColor);
      if (found.length === 3 || found[3] > 0) return found.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const seen = element => element.getClientRects().length > 0;
  const poor = [];
  for (const element of document.querySelectorAll("main *")) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!own || !seen(element) || element.closest("title, style, defs")) continue;
    const picture = element.closest("svg");
    const style = getComputedStyle(element);
    const ink = colour(picture ? style.fill : style.color);
    const pair = [luminance(ink), luminance(behind(picture || element))];
    const contrast = (Math.max(...pair) + .05) / (Math.min(...pair) + .05);
    if (contrast < 4.4) poor.push(element.textContent.slice(0, 30) + " " + contrast.toFixed(2));
  }
  const texts = [...document.querySelectorAll("svg text")].filter(seen);
  return {
    width: document.documentElement.scrollWidth,
    poor: poor,
    small: texts.filter(t => t.getBoundingClientRect().height < 8).map(t => t.textContent),
    texts: texts.length,
    outside: texts.map(t => [t, t.getBoundingClientRect()])
      .filter(([t, r]) => r.left < 0 || r.right > innerWidth + 1).map(([t]) => t.textContent),
    differences: [...document.querySelectorAll("td.difference")]
      .map(d => d.getBoundingClientRect()).filter(r => r.width && r.right <= innerWidth && r.left >= 0).length,
    before: [...document.querySelectorAll("table.figures tbody tr")].every(row => {
      const at = name => row.querySelector(name).getBoundingClientRect().top;
      return innerWidth > 704 || at(".difference") < at(".side");
    }),
    pictures: [...document.querySelectorAll("svg")].filter(seen)
      .map(s => [s.getAttribute("role"), s.getAttribute("aria-label")]),
  };
})()"""


MOVED = """
    [...document.querySelectorAll(".sideways")].filter(e => e.scrollWidth > e.clientWidth).map(e => e.ariaLabel)
"""


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (1200, True), (390, False), (390, True)])
def test_a_reader_sees_all_of_it_by_day_and_night_on_a_desk_and_in_the_hand(
    width: int, dark: bool, tmp_path: Path
) -> None:
    folder = race_folder(tmp_path / "runs", hours=2)
    report(folder)
    with opened(folder / "report.html", tmp_path / "profile") as tab:
        tab.look(width, dark=dark)
        seen = tab.evaluate(MEASURES)
        paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(21, 24, 29)" if dark else "rgb(255, 255, 255)")
    assert seen["width"] == width
    # The heat map's numbers stand on its own colours.
    assert [text for text in seen["poor"] if not re.fullmatch(r"-?[\d.]+ [\d.]+", text)] == []
    assert seen["texts"] > 30
    assert seen["small"] == []
    assert seen["outside"] == []
    # The difference is what one came for: on the screen, and before the sides that it is of.
    assert seen["differences"] == 10
    assert seen["before"]
    assert len(seen["pictures"]) == 6
    for role, told in seen["pictures"]:
        assert role == "img"
        assert re.search(r"\d\.\d\d", told)


def test_causes_and_parts_of_the_delay_fit_the_page_too(tmp_path: Path) -> None:
    folder = race_folder(tmp_path / "runs")
    content = summary(setup_type="race")
    backbone = content["paths"]["backbone"]
    content["paths"]["direct"] = backbone | {"kind": "feed", "link": None, "backbone": None}
    figure = {"events": 30, "mean_excess_ms": 1.5, "worst_excess_ms": 4.25}
    content["paths"]["backbone"] = backbone | {"tail": dict.fromkeys(("clock", "receiver_busy", "network"), figure)}
    write_summary(folder / "00" / "results.json", content)
    assert "Why the slowest events were slow" in report(folder)
    with opened(folder / "report.html", tmp_path / "profile") as tab:
        for width in (390, 768, 1280):
            tab.look(width)
            assert tab.evaluate("document.documentElement.scrollWidth") == width
        # On a desk every table is whole: none is cut until it is moved.
        assert tab.evaluate(MOVED) == []


def test_a_picture_tells_its_figures_in_words(tmp_path: Path) -> None:
    page = report(race_folder(tmp_path))
    (lead,) = {told for told in re.findall(r'aria-label="([^"]*)"', page) if "lead" in told}
    stated = re.fullmatch(
        r"backbone against direct: median lead ([\d.]+) ms, nine events in ten between .*, backbone first in .* %", lead
    )
    assert stated
    assert f">+{float(stated[1]):.2f} ms<" in page
