"""The entry point of ``provision``: says what is missing where the extra ``aws`` is not installed."""

import importlib.util
import sys

from daemons.service.distribution import remedy_for

__all__ = ["main"]


def main() -> None:
    """Run the command; without the extra, end with code 2 and the remedy."""
    if importlib.util.find_spec("boto3") is None:
        sys.stderr.write(f"error: boto3 not installed: AWS is asked through it; {remedy_for('aws')}\n")
        sys.exit(2)
    from provisioning.main import main as command  # noqa: PLC0415 - boto3 belongs to the extra

    command()
