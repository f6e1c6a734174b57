"""Delete resources in the order in which they stand in each other's way, for as long as that promises something.

What AWS does not delete is not the end of it: the rest goes, and what is left is told with the reason.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provisioning.errors import AwsError, PendingError, ProvisionError
from provisioning.hindrance import in_the_way
from provisioning.model import Ec2Kind, Found, Kind, View
from provisioning.patience import Patience, in_use, patience_seconds

__all__ = ["Left", "Removal"]

_STAGES = (
    ("listener",),
    ("accelerator",),
    ("instance",),
    ("accelerator-group",),
    ("elastic-ip", "volume", "network-interface"),
    ("route-table",),
    ("transit-table",),
    ("peering", "transit-peering"),
    ("transit-attachment",),
    ("transit-gateway",),
    ("security-group",),
    ("internet-gateway",),
    ("subnet",),
    ("vpc",),
    ("key-pair", "placement-group", "object"),
    ("bucket", "identity"),
)
"""What a stage's resources stand in the way of comes later. Within a stage everything goes at once."""

_WITHIN_SECONDS = 100.0
"""So long after a removal began what is in use is tried again: with the looks at its end that is two minutes. Hosts and
peerings that are going count, for mostly it is they that use the rest."""
_LEAST_SECONDS = 30.0
"""So long it is tried again however late it is, unless something else has been waited for in vain: what a host or a
peering used is free a little after that is gone."""


@dataclass(frozen=True, slots=True)
class Left:
    """A resource that did not go, what it was refused with, and what is in its way."""

    found: Found
    error: ProvisionError
    why: str = ""

    def __str__(self) -> str:
        return f"{self.found.id}: {self.error}{self.why and f'; {self.why}'}"


class Removal:
    """Deletes, once or again and again; what has been waited for in vain is tried, but not waited for again.

    Args:
        view: where to.
        kinds: how each kind is deleted.
        parallel: does a piece of work for each of several resources at once.
        removed: is told each resource that is gone.
    """

    def __init__(
        self,
        view: View,
        kinds: Mapping[str, Kind],
        parallel: Callable[[Callable[[Found], Any], Sequence[Found]], list[Any]],
        removed: Callable[[Found], None],
    ) -> None:
        self._view, self._kinds, self._parallel, self._removed = view, kinds, parallel, removed
        self._until = view.cloud.clock.monotonic() + _WITHIN_SECONDS
        self._least_seconds = _LEAST_SECONDS

    def delete(self, resources: Sequence[Found]) -> list[Left]:
        """Delete what can be deleted; returns what cannot.

        Raises:
            AwsError: the login is over, or the like: nothing can be deleted.
        """
        left: list[Left] = []
        for stage in _STAGES:
            if batch := [found for found in resources if found.kind in stage]:
                refused = [item for item in self._parallel(self._delete_one, batch) if item is not None]
                if any(item.why for item in refused):
                    self._least_seconds = 0.0
                left += refused
        return left

    def _delete_one(self, found: Found) -> Left | None:
        clock = self._view.cloud.clock
        patience = Patience(clock)
        within_seconds = None
        kind = self._kinds[found.kind]
        while True:
            try:
                kind.delete(self._view, found)
            except AwsError as error:
                if error.of_the_account:
                    raise
                if not in_use(error.code, error.operation):
                    # The call itself was repeated for as long as that promises something.
                    held = error.code == "IncorrectState"
                    return Left(found, error, in_the_way(self._view, found) if held else "")
                if within_seconds is None:
                    within_seconds = max(self._until - clock.monotonic(), self._least_seconds)
                if not patience.again(min(patience_seconds(error.code, error.operation), within_seconds)):
                    return Left(found, error, in_the_way(self._view, found))
                # Interfaces of terminated instances detach late, and role changes reach S3 and EC2 late.
                current = kind.find(self._view, found.region, found.key)
                found = next((item for item in current if item.id == found.id), found)
            except PendingError as error:
                return Left(found, error)
            else:
                # A name, unlike an id, can come again; and what AWS did not know may have been made a moment ago, by a
                # run that was killed: whether it stands, the next look tells.
                known = (found.region, found.key) not in self._view.cloud.unknown
                if known and isinstance(kind, Ec2Kind) and kind.id_key.endswith("Id"):
                    self._view.ended.add(found.id)
                self._removed(found)
                return None
