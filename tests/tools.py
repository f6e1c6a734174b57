"""Programs of other packages that tests ask: without one a test is skipped, which CI takes for a failure."""

import os
import shutil

import pytest

__all__ = ["is_missing", "needs", "required"]


def is_missing(error: BaseException | None) -> str:
    """Return the name of the program that was to be started and is not installed; empty for any other error."""
    name = os.fsdecode(error.filename or "") if isinstance(error, FileNotFoundError) else ""
    return name if name and "/" not in name and shutil.which(name) is None else ""


def needs(name: str) -> pytest.MarkDecorator:
    """Mark tests that need a program."""
    return pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed")


def required(*names: str) -> str:
    """Return the path of the first of these programs that is there; daemons' folders are looked into as well."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    for name in names:
        if (found := shutil.which(name, path=path)) is not None:
            return found
    pytest.skip(f"{names[0]} is not installed")
