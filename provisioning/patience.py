"""Which of AWS's refusals will pass, and for how long they are waited out.

AWS answers late: what was made is not known everywhere at once, what was ended is not gone at once. One table says, for
a code and a call, how long a refusal may only mean that; what is not in it is final.
"""

from dataclasses import dataclass
from typing import Protocol

__all__ = ["RATE_CODES", "SERVER_FAULTS", "Clock", "Patience", "in_use", "is_change", "patience_seconds"]

_READS = ("describe_", "get_", "list_", "head_", "search_")
_REMOVALS = ("delete_", "release_", "terminate_", "detach_", "disassociate_", "remove_")
_TRANSIT = tuple(
    f"{verb}_transit_gateway" for verb in ("create", "delete", "modify", "replace", "associate", "disassociate")
)
_PROFILE_USERS = ("run_instances", "associate_iam_instance_profile", "replace_iam_instance_profile_association")

_IN_USE = frozenset(
    {
        "DependencyViolation",
        "InvalidIPAddress.InUse",
        "InvalidGroup.InUse",
        "InvalidPlacementGroup.InUse",
        "DeleteConflict",
        "BucketNotEmpty",
        "ResourceInUse",
    }
)
"""A removal is refused because something still uses the thing: it may be going, or stay for good."""

SERVER_FAULTS = frozenset(
    {"InternalError", "InternalFailure", "ServiceUnavailable", "Unavailable", "ServiceFailure", "500", "503"}
)
"""AWS failed, and the call may have taken effect."""

RATE_CODES = (
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "EC2ThrottledException",
    "SlowDown",
)
"""The account has called too often, whoever did it."""

_PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)


class Clock(Protocol):
    """The time that waits and retries are measured by."""

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class _Rule:
    """``codes`` end an error code, ``operations`` begin a call (none: all), ``said`` is part of AWS's sentence."""

    codes: tuple[str, ...]
    within_seconds: float
    operations: tuple[str, ...] = ()
    but_not: tuple[str, ...] = ()
    said: str = ""

    def holds(self, code: str, operation: str, message: str) -> bool:
        return (
            code.endswith(self.codes)
            and (not self.operations or operation.startswith(self.operations))
            and not operation.startswith(self.but_not)
            and self.said in message
        )


_RULES = (
    # A rate is the account's, whoever uses it up; a conflict is another change that is still under way.
    _Rule(
        (
            *RATE_CODES,
            "PriorRequestNotComplete",
            "ConcurrentModification",
            "EntityTemporarilyUnmodifiable",
            "OperationAborted",
            "ConditionalRequestConflict",
        ),
        60.0,
    ),
    _Rule((*SERVER_FAULTS,), 30.0),
    _Rule(("UnreachableEndpoint",), 30.0),
    # An image was not made just now: it is not there.
    _Rule(("InvalidAMIID.NotFound",), 0.0),
    # IAM tells EC2 of a profile late; two minutes were seen.
    _Rule(("InvalidParameterValue",), 180.0, _PROFILE_USERS, said="IAM Instance Profile"),
    # AWS looks at an account that is new in a region, "normally within minutes" by its own words.
    _Rule(("PendingVerification",), 300.0),
    # The interface of the host that had the address goes after its host.
    _Rule(("InvalidIPAddress.InUse",), 180.0, ("run_instances",)),
    # A cluster stands in one zone: hosts of it that are ending in another have to be gone first.
    _Rule(("InvalidPlacementGroup.InUse",), 180.0, ("run_instances",)),
    _Rule(("IncorrectInstanceState",), 60.0),
    # The same of an address that is associated, told by another code (public reports).
    _Rule(("InvalidInstanceID",), 60.0, ("associate_address",), said="not in a valid state"),
    # Of a transit gateway's parts: another one is still changing. What is known to be going was waited for before; the
    # gateway itself was seen to be refused for two minutes after its last attachment was gone.
    _Rule(("IncorrectState",), 300.0, _TRANSIT),
    # Of an accelerator: another change is under way, or what was ended just now is not gone everywhere.
    _Rule(
        (
            "TransactionInProgressException",
            "AcceleratorNotDisabledException",
            "AssociatedListenerFoundException",
            "AssociatedEndpointGroupFoundException",
        ),
        300.0,
    ),
    # What was just made is not known everywhere.
    _Rule(("AcceleratorNotFoundException", "ListenerNotFoundException"), 60.0, ("create_", "update_", "tag_")),
    # A VPC is attached, and the routes of its tables may not know the gateway yet.
    _Rule(("InvalidTransitGatewayID.NotFound",), 180.0, ("create_route", "replace_route")),
    # These two read by an id what no list tells, and what is asked about may have been made a moment ago.
    _Rule((".NotFound",), 60.0, ("get_transit_gateway", "search_transit_gateway")),
    # What was just made is not known everywhere (EC2 API, "Eventual consistency"; IAM guide, "Troubleshoot IAM").
    _Rule((".NotFound", "NoSuchEntity", "NoSuchBucket", "InvalidPlacementGroup.Unknown"), 60.0, but_not=_READS),
    _Rule((*_IN_USE,), 120.0, _REMOVALS),
)


def patience_seconds(code: str, operation: str, message: str = "") -> float:
    """How long a refusal is waited out; 0 where it is final.

    Args:
        code: AWS's error code.
        operation: boto3's name of the method.
        message: AWS's sentence, which alone tells some errors apart.
    """
    return next((rule.within_seconds for rule in _RULES if rule.holds(code, operation, message)), 0.0)


def in_use(code: str, operation: str) -> bool:
    """Whether a removal was refused for what still uses the thing: who that is has to be looked up before another."""
    return code in _IN_USE and operation.startswith(_REMOVALS)


def is_change(operation: str) -> bool:
    """Whether a boto3 method can change anything in the account."""
    return not operation.startswith(_READS)


class Patience:
    """The pauses between the attempts at one thing, for each reason from its first refusal on; made before the first.

    Not from its first attempt on: an answer that was waited for in vain, until the connection's own limit, would leave
    no time to ask again. Nor from another reason's: an answer that is lost after a minute of "no such entity" is the
    first that is lost. And the last attempt begins when the time is over: one that took long, or a process that was
    stopped meanwhile, says nothing of what is so now.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began: dict[str, float] = {}
        self._attempts = 0
        self._asked = clock.monotonic()

    def again(self, within_seconds: float, reason: str = "") -> bool:
        """Sleep until the next attempt; False, at once, where the last one began that late that it was the last."""
        end = self._began.setdefault(reason, self._clock.monotonic()) + within_seconds
        if within_seconds <= 0 or self._asked >= end:
            return False
        pause = _PAUSES_SECONDS[min(self._attempts, len(_PAUSES_SECONDS) - 1)]
        self._clock.sleep(max(0.0, min(pause, end - self._clock.monotonic())))
        self._attempts += 1
        self._asked = self._clock.monotonic()
        return True
