"""What the operator sees: live progress and tables on a terminal, plain lines when piped, JSON when asked for."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

import click
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from daemons.service.console.screen import Grid, screen, sentence
from provisioning.documents import PlannedStep
from provisioning.steps import Event, Step

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
        self._out = screen()
        self._err = screen(errors=True)
        self._lock = Lock()
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def result(self, data: Any) -> None:
        """Print data as JSON."""
        click.echo(json.dumps(data, indent=2))

    def say(self, text: str) -> None:
        """Print a sentence, unless the output is JSON."""
        if self.as_json:
            return
        # On one terminal a line and the progress below it have to know of each other.
        moving = self._progress is not None and self._out.is_terminal
        sentence(self._err if moving else self._out, text)

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table on a terminal; tab-separated lines into a pipe."""
        lines = [tuple(row) for row in rows]
        if not self._out.is_terminal:
            for row in [columns, *lines]:
                click.echo("\t".join(row))
            return
        words = [column for column in columns if not column.startswith(("USD", "GB"))]
        grid = Grid(title, columns, words)
        for line in lines:
            grid.add(*line)
        self._out.print(grid)

    def plan(self, steps: Sequence[Step]) -> None:
        """Print a plan, one line for each step."""
        if self.as_json:
            planned: list[PlannedStep] = [
                {"verb": s.verb, "key": s.key, "region": s.region, "details": list(s.texts)} for s in steps
            ]
            self.result(planned)
            return
        for step in steps:
            details = f": {'; '.join(step.texts)}" if step.texts else ""
            text = f"{_SIGNS[step.verb]} {step.verb} {step.key} ({step.region}){details}"
            sentence(self._out, text, style=_COLOURS[step.verb])
        count = {verb: sum(step.verb == verb for step in steps) for verb in _SIGNS}
        told = ", ".join(f"{number} {_COUNTED.get(verb, f'to {verb}')}" for verb, number in count.items() if number)
        self.say(told or "nothing to do: everything is as the topology says")

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
            sentence(self._err, line)
            if self._progress is not None and self._task is not None:
                self._progress.advance(self._task)
