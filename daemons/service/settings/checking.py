"""``--check-config``: the same words from every daemon, and what only the service manager can see told apart."""

from collections.abc import Callable
from typing import TypeVar

import click

from daemons.errors import LatencyError
from daemons.sections import Section
from daemons.service.console.exits import die
from daemons.service.settings.config import UnseenCredentialError

__all__ = ["loaded", "report_check", "with_credentials"]

SectionT = TypeVar("SectionT", bound=Section)
ConfigT = TypeVar("ConfigT")


def with_credentials(
    check: Callable[[SectionT], object],
    section: SectionT,
    without: Callable[[SectionT], SectionT] | None,
    unseen: list[str] | None,
) -> None:
    """Check a section whose key may be a credential of systemd.

    Args:
        check: raises an error for what is wrong.
        section: to check.
        without: makes the same section without the credential; None where the check looks at that last.
        unseen: takes a sentence for a credential that cannot be seen from here, and the rest is checked; None where
            an unseen credential is an error, because the program is about to run.

    Raises:
        LatencyError: something is wrong with it.
    """
    try:
        check(section)
    except UnseenCredentialError as error:
        if unseen is None:
            raise
        unseen.append(
            f"{error.where}: {error.why}, so the key itself was not looked at; "
            "to check it too, set CREDENTIALS_DIRECTORY to its folder: see docs/operations.md"
        )
        if without is not None:
            check(without(section))


def loaded(load: Callable[[list[str] | None], ConfigT], *, check_only: bool) -> ConfigT | None:
    """Load the configuration to run with; None where it was to be checked only, and is good.

    Args:
        load: loads and checks everything; is given the list for credentials that cannot be seen from here, or None
            where they must be.
        check_only: whether nothing is to be run.

    Raises:
        SystemExit: something is wrong with it, which has been told.
    """
    if check_only:
        report_check(load)
        return None
    try:
        return load(None)
    except LatencyError as error:
        die(error)


def report_check(load: Callable[[list[str]], object]) -> None:
    """Load a configuration, and say that it is good, or end with what is wrong.

    Args:
        load: checks everything; is given the list for credentials that cannot be seen from here.
    """
    unseen: list[str] = []
    try:
        load(unseen)
    except LatencyError as error:
        die(error)
    click.echo("the configuration is good")
    for sentence in unseen:
        click.echo(sentence)
