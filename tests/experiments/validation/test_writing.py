import html.parser
from pathlib import Path

import msgspec

from experiments.validation.evidence import Finding, PhaseResult
from experiments.validation.suite import ScenarioResult, Validation
from experiments.validation.writing import render_html, render_markdown, write_results


def made() -> Validation:
    phases = [
        PhaseResult(
            phase="cold",
            outcome="fail",
            samples=400,
            reason="why <b> | not",
            findings=[
                Finding(what="failed", seen=0.025, expected=(0.0, 0.01), outcome="fail", reason="why <b> | not"),
                Finding(what="median_ms", seen=71.9, expected=(60.0, 80.0), outcome="pass"),
                Finding(what="through", seen=["10.0.0.1", None], expected=["10.0.0.1"], outcome="pass"),
            ],
        ),
        PhaseResult(phase="route", outcome="inconclusive", reason="mtr is not there"),
    ]
    scenario = ScenarioResult(name="via-nat", host="client", outcome="fail", phases=phases)
    return Validation(
        outcome="fail",
        target="https://x",
        start="2026-01-01T00:00:00Z",
        end="2026-01-01T00:10:00Z",
        scenarios=[scenario],
        comparisons=["warm: one is <slower> than the other"],
    )


def test_markdown_has_a_row_for_every_finding_and_for_phases_without_one() -> None:
    text = render_markdown(made())
    assert text.startswith("# Validation: fail\n")
    assert "| cold | fail | 400 | failed | 2.50 % | 0 to 0.01 | why <b> \\| not |" in text
    assert "|  | pass |  | median_ms | 71.900 | 60 to 80 |  |" in text
    assert "10.0.0.1 → ?" in text
    assert "| route | inconclusive | – |  |  |  | mtr is not there |" in text
    assert "interrupted" in text


def test_the_page_is_well_formed_fetches_nothing_and_escapes_what_it_was_told() -> None:
    page = render_html(made())
    assert "why &lt;b&gt; | not" in page
    assert "&lt;slower&gt;" in page
    assert 'http-equiv="Content-Security-Policy" content="default-src \'none\'' in page

    class Tags(html.parser.HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert not {"src", "href"} & {name for name, _value in attrs}
            if tag != "meta":
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    tags = Tags()
    tags.feed(page)
    assert tags.open == []


def test_the_json_file_says_the_same(tmp_path: Path) -> None:
    write_results(tmp_path, made())
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"validation.{end}" for end in ("html", "json", "md")]
    back = msgspec.json.decode((tmp_path / "validation.json").read_bytes(), type=Validation)
    assert back.format == "backbone-latency-validation/1"
    assert back.scenarios[0].phases[0].findings[0].seen == 0.025
