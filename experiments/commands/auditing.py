"""What ``experiment import`` does."""

import string
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.text import Text

from daemons.service.console.screen import MISSING, Grid, figure, screen, sentence
from experiments.comparison.table import print_comparison
from experiments.egress.audit import Audit, audit
from experiments.egress.compare import compare_runs
from experiments.egress.document import document_of
from experiments.egress.published import load_published
from experiments.egress.raw import find_raw_runs

__all__ = ["audit_folder"]


def audit_folder(folder: Path, reference: str | None, *, as_json: bool) -> None:
    """Recompute, compare and print; the arguments are the command's.

    Raises:
        LatencyError: the folder holds nothing that can be read, or there is no such reference.
    """
    published = load_published(folder)
    audits = [audit(run, published.get(run.name)) for run in find_raw_runs(folder)]
    comparisons = compare_runs(audits, reference)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(document_of(audits, comparisons)), indent=2))
        return
    console = screen()
    console.print(_samples(audits))
    console.print()
    _print_discrepancies(console, audits)
    for comparison in comparisons:
        console.print(Text(f"\n{comparison.first.path} requests", style="bold"))
        print_comparison(console, comparison)


def _samples(audits: list[Audit]) -> Grid:
    columns = ("run", "", "n", "failed", "mean", "median", "p95", "p99", "min", "max", "std dev")
    table = Grid("Recomputed from the raw samples, ms", columns, {""})
    for one in audits:
        for kind, described, failed in (
            ("cold", one.cold, one.run.cold.failures),
            ("warm", one.warm, one.run.warm.failures),
        ):
            values = (getattr(described, name) for name in ("mean", "median", "p95", "p99", "min", "max", "stddev"))
            table.add(one.scenario, kind, str(described.count), str(failed), *map(figure, values))
    return table


def _print_discrepancies(console: Console, audits: list[Audit]) -> None:
    """Print which published figures are wrong, with a letter for each reason and the reasons spelled out below."""
    for one in audits:
        wrong = [figure for figure in one.figures if figure.reasons]
        console.print(Text(f"{one.run.name}, {one.scenario}", style="bold"))
        right = len(one.figures) - len(wrong)
        sentence(console, f" {right} of {len(one.figures)} published figures are right; wrong are:", indent=1)
        reasons = list(dict.fromkeys(reason for figure in wrong for reason in figure.reasons))
        letters = dict(zip(reasons, string.ascii_letters, strict=False))
        columns = ("where", "requests", "figure", "published", "correct", "why")
        table = Grid("", columns, {"requests", "figure", "why"})
        for one_wrong in wrong:
            table.add(
                one_wrong.where,
                one_wrong.connection,
                one_wrong.figure,
                figure(one_wrong.published),
                figure(one_wrong.corrected),
                " ".join(letters[reason] for reason in one_wrong.reasons),
            )
        console.print(table)
        notes = [f"{letters[reason]}: {reason}" for reason in reasons]
        notes += dict.fromkeys(f"{MISSING}: {figure.too_few}" for figure in wrong if figure.too_few)
        for note in notes:
            sentence(console, f" {note}", indent=3)
        for remark in one.remarks:
            sentence(console, f" ! {remark.text}", style="yellow", indent=3)
