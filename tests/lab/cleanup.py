"""Take away what labs left behind whose test run was killed: ``python -m tests.lab.cleanup``.

A lab does this by itself for its predecessors; this is for when there is no successor.
"""

import sys

from tests.lab.inventory import abandoned

__all__ = ["main"]


def main() -> None:
    """Clean every abandoned lab, and say which."""
    for inventory in abandoned():
        inventory.clean()
        sys.stdout.write(f"{inventory.directory.name}: cleaned\n")


if __name__ == "__main__":
    main()
