import math
import re
import subprocess
from decimal import Decimal

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from daemons.service.settings.spans import SPAN, Span, parse_span, write_span
from tests.tools import required

UNITS = ("ms", "s", "m", "h", "d")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("0.4", 0.4),
        (".5", 0.5),
        ("15m", 900),
        ("1h", 3600),
        ("1.5d", 129_600),
        (" 2h ", 7200),
        ("250ms", 0.25),
        ("1h30m", 5400),
        ("0", 0),
    ],
)
def test_spans(text: str, seconds: float) -> None:
    assert parse_span(text) == seconds


@pytest.mark.parametrize("text", ["", "1w", "-5", "h", "nan", "inf", "1e3", "1h30", "1 h", "٣s", "9" * 400, "s9"])
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(ValueError, match="is not a span of time; write 30 "):
        parse_span(text)


def test_spans_mean_what_they_mean_to_systemd() -> None:
    """Whole numbers of every unit, together too: operators write the same spans into units."""
    program = required("systemd-analyze")
    texts = ["30", *(f"{number}{unit}" for number in (1, 7, 90, 1500) for unit in UNITS), "1d2h3m4s5ms", "1h30m", ".5s"]
    done = subprocess.run([program, "timespan", *texts], capture_output=True, text=True, check=True)
    microseconds = [int(found) for found in re.findall(r"[μu]s: (\d+)", done.stdout)]
    assert [round(parse_span(text) * 1e6) for text in texts] == microseconds


@given(st.floats(min_value=0, max_value=1e12, allow_nan=False))
def test_what_is_written_is_read_again(seconds: float) -> None:
    text = write_span(seconds)
    assert "e" not in text
    assert parse_span(text) == seconds


@given(st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(UNITS)), min_size=1, max_size=5))
def test_parts_add_up(parts: list[tuple[int, str]]) -> None:
    sizes = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86_400)}
    whole = sum((number * sizes[unit] for number, unit in parts), Decimal(0))
    assert math.isclose(parse_span("".join(f"{number}{unit}" for number, unit in parts)), float(whole), rel_tol=1e-12)


@click.command()
@click.option("--length", type=SPAN, default="5m")
@click.option("--pause", type=Span(minimum=1), default=2.0, show_default=True)
def command(length: float, pause: float) -> None:
    click.echo(f"{length:g} {pause:g}")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "300 2"),
        (["--length", "30", "--pause", "1m"], "30 60"),
        (["--length", "0s"], "no time at all"),
        (["--pause", "900ms"], "too short; write 1s or more"),
        (["--length", "soon"], "'soon' is not a span of time"),
    ],
)
def test_an_option(flags: list[str], said: str) -> None:
    assert said in " ".join(CliRunner().invoke(command, flags).output.split())


def test_help_calls_it_a_span() -> None:
    assert "--length SPAN" in CliRunner().invoke(command, ["--help"]).output
