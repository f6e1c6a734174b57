"""Writes the dashboards' JSON, or checks that it is up to date: ``python -m grafana.generate [--check]``."""

import sys
from pathlib import Path

from grafana.board import json_of
from grafana.health import health
from grafana.latency import latency
from grafana.overview import overview
from grafana.probe import probe
from grafana.race import race

__all__ = ["FOLDER", "files", "main"]

FOLDER = Path(__file__).parent / "dashboards"


def files() -> dict[str, str]:
    """Return the text of every dashboard by the name of its file."""
    boards = (overview(), race(), latency(), probe(), health())
    return {f"{board.uid}.json": json_of(board.build()) for board in boards}


def main() -> int:
    """Write what has changed and delete what is no more; with ``--check``, only say so."""
    wanted = files()
    present = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    stale = sorted(name for name in wanted | present if wanted.get(name) != present.get(name))
    if "--check" in sys.argv[1:]:
        for name in stale:
            sys.stderr.write(f"{FOLDER / name}: differs from its Python source; run `make dashboards`\n")
        return 1 if stale else 0
    for name in stale:
        if name in wanted:
            (FOLDER / name).write_text(wanted[name], encoding="utf-8")
        else:
            (FOLDER / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
