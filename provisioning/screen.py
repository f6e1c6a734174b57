"""What the operator sees: live progress and tables on a terminal, plain lines when piped, JSON when asked for."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from provisioning.engine import Event, Step

__all__ = ["Screen"]

_SIGNS = {"create": "+", "change": "~", "replace": "±", "remove": "-", "blocked": "!"}
_COUNTED = {"blocked": "blocked"}
_COLOURS = {"create": "green", "change": "yellow", "replace": "magenta", "remove": "red", "blocked": "bold red"}


class Screen:
    """Standard output for results, standard error for progress.

    Args:
        as_json: print results as JSON, and nothing else on standard output.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._out = Console(soft_wrap=True, highlight=False)
        self._err = Console(stderr=True, highlight=False, soft_wrap=True)
        self._lock = Lock()
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def result(self, data: Any) -> None:
        """Print data as JSON."""
        click.echo(json.dumps(data, indent=2))

    def say(self, text: str) -> None:
        """Print a sentence, unless the output is JSON."""
        if not self.as_json:
            self._out.print(text, markup=False)

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table on a terminal, or a block a row where it is too narrow; tab-separated lines into a pipe."""
        lines = [tuple(row) for row in rows]
        if not self._out.is_terminal:
            for row in [columns, *lines]:
                click.echo("\t".join(row))
            return
        table = Table(title=title, title_justify="left")
        for column in columns:
            table.add_column(column, justify="right" if column.startswith(("USD", "GB")) else "left")
        for line in lines:
            table.add_row(*line)
        # A column that is made to fit loses the end of ids, addresses and sums.
        unbounded = self._out.options.update(max_width=10_000)
        if self._out.measure(table, options=unbounded).maximum <= self._out.width:
            self._out.print(table)
            return
        self._out.print(title, markup=False)
        for first, *others in lines:
            self._out.print(first, style="bold", markup=False)
            for column, text in zip(columns[1:], others, strict=True):
                if text:
                    self._out.print(f"  {column}: {text}", markup=False)

    def plan(self, steps: Sequence[Step]) -> None:
        """Print a plan, one line for each step."""
        if self.as_json:
            self.result([{"verb": s.verb, "key": s.key, "region": s.region, "details": list(s.texts)} for s in steps])
            return
        for step in steps:
            details = f": {'; '.join(step.texts)}" if step.texts else ""
            self._out.print(
                f"{_SIGNS[step.verb]} {step.verb} {step.key} ({step.region}){details}",
                style=_COLOURS[step.verb],
                markup=False,
            )
        count = {verb: sum(step.verb == verb for step in steps) for verb in _SIGNS}
        told = ", ".join(f"{number} {_COUNTED.get(verb, f'to {verb}')}" for verb, number in count.items() if number)
        self._out.print(told or "nothing to do: everything is as the topology says", markup=False)

    @contextmanager
    def progress(self, title: str, total: int) -> Iterator[None]:
        """Show progress while the body runs; events come by :meth:`event`."""
        if not self._err.is_terminal:
            yield
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._err) as progress:
            self._progress, self._task = progress, progress.add_task(title, total=total)
            try:
                yield
            finally:
                self._progress = None

    def event(self, event: Event) -> None:
        """Tell one event; called from several threads."""
        if event.verb == "read":
            return
        line = f"{event.verb} {event.key} ({event.region}) {event.text}".rstrip()
        with self._lock:
            self._err.print(line, markup=False)
            if self._progress is not None and self._task is not None:
                self._progress.advance(self._task)
