"""What a deployment is told to be after a command failed, and when it should have ended."""

import datetime as dt
from collections.abc import Iterable

from provisioning.cost import hour_of
from provisioning.engine import Engine
from provisioning.errors import ProvisionError
from provisioning.model import STOP_AFTER_TAG, Found, tags_of
from provisioning.topology import Topology
from provisioning.validation import expiry

__all__ = ["NOTHING_STANDS", "expires_at", "standing", "stop_after", "stops_at"]

NOTHING_STANDS = "nothing stands"

EXPIRES_TAG = "latency:expires"


def expires_at(resources: Iterable[Found]) -> dt.datetime | None:
    """When the deployment shall end by the tags of what stands: the latest of them, None where there is none.

    Raises:
        ConfigError: a tag that is neither a date nor a moment.
    """
    texts = {tags_of(found.facts).get(EXPIRES_TAG, "") for found in resources} - {""}
    return max(map(expiry, texts), default=None)


def stop_after(topology: Topology) -> str:
    """The tag by which hosts know when to power themselves off: a moment, ``never``, or empty without an expiry."""
    if not topology.expires:
        return ""
    return expiry(topology.expires).astimezone(dt.UTC).isoformat() if topology.stop_at_expiry else "never"


def stops_at(resources: Iterable[Found]) -> dt.datetime | None:
    """When the first of the standing hosts powers itself off; None where none does."""
    hosts = (found for found in resources if found.kind == "instance")
    texts = {tags_of(found.facts).get(STOP_AFTER_TAG, "never") for found in hosts} - {"never"}
    return min(map(expiry, texts), default=None)


def standing(engine: Engine) -> list[str]:
    """Look again after a failure: what stands now, and what it costs an hour.

    Args:
        engine: of the command that failed.
    """
    try:
        engine.read(everything=True)
    except ProvisionError:
        # What stopped the command mostly stops the look too: its message is told already.
        return ["what stands now could not be looked up; what was made stays and costs"]
    found = [*engine.view.found.values(), *engine.view.surplus]
    if not found:
        return [NOTHING_STANDS]
    hosts = sum(item.kind == "instance" for item in found)
    try:
        cost = f"about {hour_of(found):.4f} USD an hour without traffic"
    except ProvisionError as error:
        cost = f"cost unknown ({error})"
    return [f"{len(found)} resources stand, {hosts} of them hosts: {cost}"]
