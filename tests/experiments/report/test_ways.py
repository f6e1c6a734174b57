"""The report on more than two paths."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from experiments.main import main
from experiments.report.timeline import bins_of_time
from tests.experiments.made import arrivals, summary, write_summary, write_ways
from tests.experiments.report.devtools import opened

EVENTS = 400
DELAYS_MS = {"proxy": 108.0, "transit": 100.5, "peering": 100.0}
HOUR_NS = 3_600_000_000_000

pytestmark = pytest.mark.process


def folder_of(folder: Path, spacing_ns: int, blocks: int = 1) -> Path:
    for block in range(blocks):
        run = folder / f"{block:03}-race"
        run.mkdir()
        random = np.random.default_rng(block)
        paths = {
            name: arrivals(delay + random.normal(size=EVENTS) * 0.2, spacing_ns=spacing_ns)
            for name, delay in DELAYS_MS.items()
        }
        write_ways(run / "results.csv", paths)
        content = summary(setup_type="race")
        content["paths"] = dict.fromkeys(DELAYS_MS, content["paths"]["backbone"])
        write_summary(run / "results.json", content)
    return folder


def reported(folder: Path, *options: str) -> str:
    result = CliRunner().invoke(main, ["report", str(folder), *options])
    assert result.exit_code == 0, result.output
    return (folder / "report.html").read_text()


class Depths(HTMLParser):
    """Notes which elements were left open."""

    VOID = frozenset({"meta", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_answer_comes_first_and_everything_else_after_it(tmp_path: Path) -> None:
    page = reported(folder_of(tmp_path, 10_000_000))
    assert re.search(r"<h1[^>]*>Peering is first: ahead of transit \(by 0\.\d+ ms", page)
    assert re.findall(r"<h2>(.*?)</h2>", page) == [
        "Ranking",
        "Behind peering",
        "Over time",
        "Leads",
        "Wins",
        "All differences",
        "What arrived",
        "Method",
    ]
    parser = Depths()
    parser.feed(page)
    assert parser.open == []
    assert "default-src 'none'" in page
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)


def test_hours_of_day_are_drawn_and_markdown_has_ranking_and_leads(tmp_path: Path) -> None:
    page = reported(folder_of(tmp_path, HOUR_NS // 40))
    assert "<h2>Hour of day</h2>" in page
    text = (tmp_path / "report.md").read_text()
    assert "| peering | 1 | 0.000 |" in text
    assert re.search(r"\| proxy \| \*\*-[78]\.\d+\*\* \| \*\*-7\.\d+\*\* \|  \|", text)


def test_blocks_are_taken_together_and_two_of_the_paths_are_compared(tmp_path: Path) -> None:
    page = reported(folder_of(tmp_path, 10_000_000, blocks=2))
    assert f"{2 * EVENTS} of {2 * EVENTS} events came on every path" in page.replace(",", "")
    two = reported(tmp_path, "--path", "proxy", "--path", "peering")
    assert re.search(r"<h1[^>]*>Peering has events [78]\.\d+ ms earlier than proxy", two)


def test_paths_that_no_race_has_together_are_refused(tmp_path: Path) -> None:
    options = [word for name in (*DELAYS_MS, "nobody") for word in ("--path", name)]
    result = CliRunner().invoke(main, ["report", str(folder_of(tmp_path, 10_000_000)), *options])
    assert result.exit_code == 2
    assert "no race in" in result.output


@pytest.mark.parametrize("events", [1, 7, 1000])
def test_bins_of_time_are_medians_of_what_came_in_them(events: int) -> None:
    times = np.sort(np.random.default_rng(events).integers(0, 10**12, events))
    values = np.arange(2.0)[:, None] + times / 1e9
    edges, medians = bins_of_time(times, values)
    assert len(edges) == medians.shape[1] + 1 <= 61
    for index in range(medians.shape[1]):
        since = (times - times[0]) / 1e9
        inside = (since >= edges[index]) & (since < edges[index + 1])
        if inside.any():
            assert medians[1, index] == pytest.approx(np.median(values[1, inside]))
        else:
            assert np.isnan(medians[:, index]).all()


MANY = [
    "peering-a-tokyo-frankfurt-main",
    "internet-with-a-very-long-name-indeed",
    *(f"zone.apne1-az{i}" for i in range(8)),
]
LAYOUT = """(() => {
  const seen = element => element.getClientRects().length > 0;
  const texts = [...document.querySelectorAll("svg text")].filter(seen);
  return {
    width: document.documentElement.scrollWidth,
    behind: [...document.querySelectorAll("table.ranking td.difference")]
      .map(e => e.getBoundingClientRect()).filter(r => r.width && r.left >= 0 && r.right <= innerWidth).length,
    cut: texts.filter(t => {
      const [own, picture] = [t, t.closest("svg")].map(e => e.getBoundingClientRect());
      return own.left < picture.left - 1 || own.right > picture.right + 1 || own.top < picture.top - 1;
    }).map(t => t.textContent),
    wider: [...document.querySelectorAll(".sideways")].filter(e => e.scrollWidth > e.clientWidth).map(e => e.ariaLabel),
    unnamed: [...document.querySelectorAll(".sideways")].filter(e => !e.ariaLabel || e.tabIndex !== 0).length,
  };
})()"""


@pytest.mark.parametrize("width", [412, 1280])
def test_ten_paths_with_long_names_fit_a_phone_and_a_desk(width: int, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    delays = {name: 100 + 0.3 * place for place, name in enumerate(MANY)}
    random = np.random.default_rng(1)
    run = folder / "000-race"
    run.mkdir()
    paths = {
        name: arrivals(delay + random.normal(size=120) * 0.2, spacing_ns=HOUR_NS // 60)
        for name, delay in delays.items()
    }
    write_ways(run / "results.csv", paths)
    content = summary(setup_type="race")
    write_summary(run / "results.json", content | {"paths": dict.fromkeys(MANY, content["paths"]["backbone"])})
    reported(folder)
    with opened(folder / "report.html", tmp_path / "profile") as tab:
        tab.look(width)
        seen = tab.evaluate(LAYOUT)
    # What is wider than the page moves within it, and is told by name.
    assert seen["width"] == width
    assert "Leads" in seen["wider"]
    assert seen["unnamed"] == 0
    # What one came for is on the screen.
    assert seen["behind"] == len(MANY)
    assert seen["cut"] == []
