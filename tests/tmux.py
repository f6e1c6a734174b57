"""A command in tmux: what a person sees while its window changes its size, and finds in the scrollback afterwards."""

import os
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.processes import until
from tests.tools import required

__all__ = ["Window", "in_tmux"]

_END = "ended with code "


class Window:
    """A window in which a command runs.

    Args:
        tmux: the command line that reaches the server.
    """

    def __init__(self, tmux: Sequence[str]) -> None:
        self._tmux = tuple(tmux)

    def seen(self) -> list[str]:
        """Give the lines of the window that are not blank."""
        return _filled(self._ask("capture-pane", "-p"))

    def kept(self) -> list[str]:
        """Give the lines of the scrollback and of the window; one that the window has broken is whole."""
        return _filled(self._ask("capture-pane", "-p", "-J", "-S", "-"))

    def wait_for(self, text: str) -> list[str]:
        """Wait until a line of the window has this; give all of them as they are then."""
        seen: list[str] = []

        def has_it() -> bool:
            seen[:] = self.seen()
            return any(text in line for line in seen)

        until(has_it, f"{text!r} is seen", every_seconds=0.05)
        return seen

    def cursor_is_seen(self) -> bool:
        """Whether the cursor is shown."""
        return self._ask("display-message", "-p", "#{cursor_flag}").strip() == "1"

    def resize(self, columns: int, lines: int) -> None:
        """Give the window another size."""
        self._ask("resize-window", "-x", str(columns), "-y", str(lines))

    def press(self, key: str) -> None:
        """Press a key, such as ``C-c``."""
        self._ask("send-keys", key)

    def end(self) -> list[str]:
        """Wait until the command has ended; give what it leaves, the scrollback too."""
        self.wait_for(_END)
        return [line for line in self.kept() if _END not in line]

    def _ask(self, *command: str) -> str:
        return subprocess.run((*self._tmux, *command), check=True, capture_output=True, text=True, timeout=300).stdout


def _filled(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]


@contextmanager
def in_tmux(folder: Path, command: Sequence[str], columns: int = 100, lines: int = 40) -> Iterator[Window]:
    """Run a command in a window of tmux, which breaks lines as most terminals do when it becomes narrower."""
    tmux = (required("tmux"), "-S", str(folder / "tmux"), "-f", "/dev/null")
    # The shell outlives the Ctrl-C that ends the command.
    script = f"trap : INT; {shlex.join(command)}; echo {_END}$?; read -r _end"
    size = ("-x", str(columns), "-y", str(lines))
    environment = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "LINES", "TMUX"}}
    subprocess.run((*tmux, "new-session", "-d", *size, "sh", "-c", script), check=True, timeout=300, env=environment)
    window = Window(tmux)
    try:
        yield window
    finally:
        subprocess.run((*tmux, "kill-server"), check=False, timeout=300)
