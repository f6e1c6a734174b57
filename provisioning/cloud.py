"""The one place that talks to AWS: calls with retries, and errors that say what to do.

botocore's own retries are switched off. They repeat a request whose answer was lost, and for the EC2 calls that take
no client token (``CreateVpc``, ``AllocateAddress``…) a repeated request is a second resource. Here a call whose
outcome is not known raises :class:`UncertainError`, and :meth:`Cloud.create_once` looks before it asks again.
"""

import re
import time
from collections.abc import Callable, Collection, Sequence
from threading import Event, Lock
from typing import Any, TypeVar, cast

import boto3
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    InvalidRegionError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.parsers import ResponseParserError

from provisioning.errors import AwsError, CapacityError, PendingError, ProvisionError, UncertainError, remedy
from provisioning.patience import SERVER_FAULTS, Clock, Patience, in_use, patience_seconds

__all__ = ["Cloud", "RealClock"]

T = TypeVar("T")

_CAPACITY = {"InsufficientInstanceCapacity", "InsufficientHostCapacity", "Unsupported"}
_REMOVALS = ("delete_", "release_", "terminate_")
_NOT_REPEATABLE = {
    "create_vpc",
    "create_subnet",
    "create_internet_gateway",
    "create_route_table",
    "create_security_group",
    "create_vpc_peering_connection",
    "create_accelerator",
    "create_listener",
    "create_transit_gateway",
    "create_transit_gateway_vpc_attachment",
    "create_transit_gateway_peering_attachment",
    "create_transit_gateway_route_table",
    "allocate_address",
    "run_instances",
}
_VISIBLE_WITHIN_SECONDS = 60.0
_LOST_SECONDS = 30.0
_FALLBACK_REGION = "us-east-1"
"""Enabled in every account."""


class RealClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class Cloud:
    """AWS, as seen with one set of credentials.

    Args:
        session: credentials, profile and event hooks.
        clock: for waits and retries.
    """

    def __init__(self, session: boto3.Session, clock: Clock) -> None:
        self.clock = clock
        self.stopping = Event()
        """Set when the program is interrupted: no thread makes a further call."""
        self.unknown: set[tuple[str, str]] = set()
        """Region and key of what a removal was told not to be there: it is gone, or was made a moment ago."""
        self._session = session
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = Lock()

    @classmethod
    def connect(cls, profile: str | None = None) -> "Cloud":
        """Use the credentials and the endpoint that boto3 finds.

        Raises:
            ProvisionError: there is no such profile, a configuration file cannot be read, or what it says gives no
                credentials.
        """
        try:
            session = boto3.Session(profile_name=profile)
            # Here, and not with the first client: there a bad endpoint is a ValueError too.
            _check_characters(session.get_credentials())
        except ProfileNotFound as error:
            raise ProvisionError(f"{error}; name a profile of ~/.aws/config") from error
        except BotoCoreError as error:
            kind = type(error).__name__
            raise ProvisionError(f"credentials: {error}; {remedy(kind, str(error), 'credentials')}") from error
        except (OSError, ValueError, KeyError) as error:
            # botocore lets through what running a credential_process and reading its JSON can raise.
            raise ProvisionError(
                f"credentials: credential_process gave none ({error}); it must run and print JSON: "
                "correct it in ~/.aws/config, or choose another --profile"
            ) from error
        return cls(session, RealClock())

    @property
    def home(self) -> str:
        """The region of the user's configuration: through it the account is asked where no topology names another."""
        return self._session.region_name or _FALLBACK_REGION

    def known_regions(self, like: str) -> list[str]:
        """Every region that botocore knows in the partition of one."""
        partition = self._session.get_partition_for_region(like)
        return list(self._session.get_available_regions("ec2", partition))

    def account(self, region: str) -> str:
        """The account's id; also the cheapest proof that the credentials work."""
        return cast("str", self.call(region, "sts", "get_caller_identity", "credentials")["Account"])

    def call(
        self, region: str, service: str, operation: str, about: str, *, tolerate: Collection[str] = (), **params: Any
    ) -> dict[str, Any]:
        """Make one call, and repeat it while repeating is safe and promises something.

        What promises something, and for how long, is :func:`patience_seconds`'s to say. Calls whose answer was lost are
        repeated unless the repetition would make a second resource. A deletion of what is not there is done. What is
        in use is told at once: before another attempt the caller has to look who uses it now.

        Args:
            region: the region called; for IAM any.
            service: boto3's name of the service.
            operation: boto3's name of the method.
            about: the resource's key, for messages.
            tolerate: error codes that mean "it is so already"; they yield an empty answer.
            **params: the call's parameters.

        Returns:
            The answer.

        Raises:
            AwsError: AWS refused; :class:`CapacityError` where another zone may help.
            UncertainError: the answer was lost and the call cannot be repeated blindly.
        """
        patience = Patience(self.clock)
        while True:
            if self.stopping.is_set():
                raise ProvisionError(
                    f"{about}: {operation} in {region}: not called, interrupted; run the command again"
                )
            try:
                return self._attempt(region, service, operation, about, tolerate, params)
            except _RepeatError as again:
                reason = again.error.code if isinstance(again.error, AwsError) else type(again.error).__name__
                if not patience.again(again.within_seconds, reason):
                    raise again.error from again

    def _attempt(
        self,
        region: str,
        service: str,
        operation: str,
        about: str,
        tolerate: Collection[str],
        params: dict[str, Any],
    ) -> dict[str, Any]:
        """Make a call once; :class:`_RepeatError` says that it may be made again."""
        try:
            return cast("dict[str, Any]", getattr(self._client(service, region), operation)(**params))
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in tolerate or (operation.startswith(_REMOVALS) and _absent(code)):
                self.unknown |= {(region, about)} if _absent(code) else set()
                return {}
            if code in SERVER_FAULTS and operation in _NOT_REPEATABLE:
                raise UncertainError(operation, about, region, code) from error
            refusal = _refusal(error, code, service, operation, about, region)
            seconds = patience_seconds(code, operation, str(error))
            if seconds and not in_use(code, operation):
                raise _RepeatError(refusal, seconds) from error
            raise refusal from error
        except (ConnectTimeoutError, EndpointConnectionError) as error:
            unreachable = AwsError(operation, about, region, "UnreachableEndpoint", str(error))
            raise _RepeatError(unreachable, patience_seconds(unreachable.code, operation)) from error
        except (HTTPClientError, ResponseParserError) as error:
            if isinstance(error, HTTPClientError) and isinstance(error.kwargs.get("error"), ValueError):
                # Its words are not told: they are the header, and may be a session's token.
                raise AwsError(operation, about, region, "UnsendableRequest", "it could not be written") from None
            lost = UncertainError(operation, about, region, type(error).__name__)
            raise (lost if operation in _NOT_REPEATABLE else _RepeatError(lost, _LOST_SECONDS)) from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise AwsError(operation, about, region, "NoCredentials", str(error)) from error
        except BotoCoreError as error:
            raise AwsError(operation, about, region, type(error).__name__, str(error)) from error

    def pages(
        self, region: str, service: str, operation: str, key: str, about: str, **params: Any
    ) -> list[dict[str, Any]]:
        """Make a describing call and follow its pages.

        Args:
            region: the region called.
            service: boto3's name of the service.
            operation: boto3's name of the method.
            key: the answer's list.
            about: the resource's key, for messages.
            **params: the call's parameters.
        """
        found: list[dict[str, Any]] = []
        while True:
            answer = self.call(region, service, operation, about, **params)
            found += answer.get(key, [])
            token = answer.get("NextToken")
            if not token:
                return found
            params["NextToken"] = token

    def create_once(self, about: str, find: Callable[[], Sequence[T]], create: Callable[[], object]) -> T:
        """Make a resource unless it exists, and wait until it can be seen.

        The look comes before every attempt, so a request whose answer was lost is not made again; and after it, so
        that when two operators made the same thing at the same time both settle for the same one (the first found,
        in an order that does not depend on the finder). The other is removed by the next pass as a duplicate.

        Args:
            about: the resource's key, for messages.
            find: what exists under the key, best first.
            create: the creating call.

        Returns:
            The resource to use.

        Raises:
            PendingError: it was made and cannot be seen.
        """
        attempts = 0
        while True:
            if found := find():
                return found[0]
            try:
                create()
            except UncertainError:
                attempts += 1
                if attempts >= 3:
                    raise
            else:
                return self.wait(about, "visible", lambda: next(iter(find()), None), _VISIBLE_WITHIN_SECONDS)
            try:
                return self.wait(about, "visible", lambda: next(iter(find()), None), 10.0)
            except PendingError:
                continue

    def wait(
        self, about: str, state: str, probe: Callable[[], T | None], within_seconds: float, pause: float = 0.5
    ) -> T:
        """Ask until there is an answer; the last question is asked when the time is over.

        Args:
            about: the resource's key, for the message.
            state: what is waited for, for the message.
            probe: returns None while it is not so.
            within_seconds: how long to ask.
            pause: between the first two questions, in seconds; doubles up to 5, and stays where it begins beyond.

        Raises:
            PendingError: it did not become so in time.
        """
        deadline = self.clock.monotonic() + within_seconds
        longest = max(5.0, pause)
        while True:
            asked = self.clock.monotonic()
            if (answer := probe()) is not None:
                return answer
            if asked >= deadline:
                raise PendingError(
                    f"{about}: not {state} after {within_seconds:.0f} s; AWS may be slow: run the command again"
                )
            self.clock.sleep(pause)
            pause = min(pause * 2, longest)

    def _client(self, service: str, region: str) -> Any:
        with self._lock:
            if (service, region) not in self._clients:
                config = Config(
                    retries={"total_max_attempts": 1},
                    connect_timeout=10,
                    read_timeout=60,
                )
                factory = cast("Any", self._session.client)
                try:
                    self._clients[service, region] = factory(service, region_name=region, config=config)
                except InvalidRegionError as error:
                    raise ProvisionError(f"{error}; correct the region (AWS_DEFAULT_REGION, ~/.aws/config)") from error
                except ValueError as error:
                    raise ProvisionError(
                        f"{service} in {region}: {error}; an endpoint (AWS_ENDPOINT_URL, endpoint_url) "
                        "begins with https:// or http://"
                    ) from error
            return self._clients[service, region]


def _check_characters(credentials: Any) -> None:
    """Refuse keys with characters that none has: files and secrets of CI systems end with line breaks.

    What is asked of a service anew is left alone: looking would ask.
    """
    if type(credentials) is not Credentials:
        return
    for name in ("access_key", "secret_key", "token"):
        if re.search(r"[^!-~]", getattr(credentials, name) or ""):
            raise ProvisionError(
                f"credentials: the {name.replace('_', ' ')} of {credentials.method} has a line break, a space or "
                "another character that none has; set it again without"
            )


class _RepeatError(Exception):
    """A call failed in a way that repeating may cure, for so long after the first attempt."""

    def __init__(self, error: ProvisionError, within_seconds: float) -> None:
        super().__init__(str(error))
        self.error = error
        self.within_seconds = within_seconds


def _refusal(error: ClientError, code: str, service: str, operation: str, about: str, region: str) -> AwsError:
    message = str(error.response.get("Error", {}).get("Message", ""))
    kind = CapacityError if code in _CAPACITY and operation == "run_instances" else AwsError
    return kind(operation, about, region, code, message, service=service)


def _absent(code: str) -> bool:
    return code.endswith((".NotFound", "NotFoundException", "NoSuchEntity", ".Unknown")) or code in (
        "NoSuchBucket",
        "NoSuchKey",
        "NoSuchEntity",
        "404",
    )
