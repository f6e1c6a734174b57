"""Errors of provisioning, below the project's tree (``daemons.errors``).

::

    LatencyError
    └── ProvisionError            a deployment could not be read, changed or reached             exit code 6
        ├── AwsError              AWS refused a call: names the call, the resource, the region and the remedy
        │   └── CapacityError     no capacity for the type in this zone
        ├── UncertainError        a call's answer was lost: it may or may not have taken effect
        ├── PendingError          something did not become ready in the time allowed; run the command again
        ├── RemainsError          ``down`` ended and something is left                            exit code 7
        └── DeployError           new software did not become healthy, the old one was put back   exit code 8
"""

import re
from collections.abc import Sequence

from daemons.errors import LatencyError
from provisioning.patience import RATE_CODES
from provisioning.permissions import ALSO_CHECKED, permission

__all__ = [
    "AwsError",
    "CapacityError",
    "DeployError",
    "PendingError",
    "ProvisionError",
    "RemainsError",
    "UncertainError",
    "remedy",
]


class ProvisionError(LatencyError):
    """A deployment could not be read, changed or reached."""

    exit_code = 6


class AwsError(ProvisionError):
    """AWS refused a call.

    Args:
        operation: the API operation, as boto3 names it: ``create_vpc``.
        about: the resource's key in the topology: ``vpc/tokyo``.
        region: the region called.
        code: AWS's error code.
        message: AWS's sentence.
        service: boto3's name of the service; most operations are EC2's.
    """

    def __init__(
        self, operation: str, about: str, region: str, code: str, message: str, *, service: str = "ec2"
    ) -> None:
        told = _ENCODED.sub("", message).rstrip(" .")
        helps = remedy(code, message, operation, service)
        super().__init__(f"{about}: {operation} in {region}: {code}: {told}; {helps}")
        self.operation = operation
        self.about = about
        self.region = region
        self.code = code
        self.message = message

    @property
    def of_the_account(self) -> bool:
        """Whether every call would be answered so."""
        return self.code in _OF_THE_ACCOUNT

    @property
    def cause(self) -> str:
        """What is wrong, the same for every region that a wrong login, clock, rate or permission stopped."""
        if self.code in _DENIED:
            return f"{self.code} {self.operation}"
        return self.code if self.code in _OF_THE_ACCOUNT else str(self)


class CapacityError(AwsError):
    """The zone has no capacity for the instance type, or does not offer it."""

    def after(self, zones: Sequence[str], why: str) -> "CapacityError":
        """The same, with the zones that were tried and why no further one was."""
        told = f"{self.message.rstrip(' .')} (tried {', '.join(zones)}: {why})"
        return CapacityError(self.operation, self.about, self.region, self.code, told)


class UncertainError(ProvisionError):
    """The connection broke, or AWS failed, after a call was sent: it may have taken effect."""

    def __init__(self, operation: str, about: str, region: str, why: str) -> None:
        super().__init__(
            f"{about}: {operation} in {region}: no answer ({why}), it may have taken effect; "
            "check the network and run the command again"
        )


class PendingError(ProvisionError):
    """Something did not reach a state within the time allowed."""


class RemainsError(ProvisionError):
    """Resources are left after ``down``."""

    exit_code = 7


class DeployError(ProvisionError):
    """New software did not become healthy on a host."""

    exit_code = 8


_FREE_PLAN = (
    "this account's plan accepts few instance types: use --instance-type with t3.micro, t3.small, c7i-flex.large or "
    "m7i-flex.large"
)
_SAID = {
    "free tier": _FREE_PLAN,
    "free plan": _FREE_PLAN,
    "object lock": "its retention is not over: wait for that, or have the lock taken off, and run again",
    "accept terms": "accept the image's terms in the AWS Marketplace once, or use another --image",
}
"""Where AWS's sentence says more than its code, which is that of other things too."""

_ENCODED = re.compile(r"\s*Encoded authorization failure message: \S+")
"""Hundreds of characters that only `sts decode-authorization-message` can read; what it says, the rest says too."""

_DENIED = {"UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "403"}
"""``403`` is all that S3 says to a HEAD."""
_DENYING = re.compile(r"(?:explicit deny in an?|because no) ((?:[\w-]+ )*(?:policy|boundary))")
"""The kind of policy that denies, where AWS says so; an identity's own is what a grant mends."""

_MAKES = ("Create", "Run", "Allocate", "Import")
"""What an organisation can demand tags of, in the very call (IAM guide, "Controlling access during AWS requests")."""

_NOT_OURS = re.compile(r"access the specified resource|does not belong to you")
"""What EC2 says of an address or interface that a load balancer or a gateway of AWS's holds."""

_CONFIGURATION = "~/.aws/config and the variables AWS_…"
_LOG_IN = "the login is over: log in again (`aws sso login`, or what gave the credentials)"
_CLOCK = "this machine's clock is wrong, or the request was held up: set the clock (`timedatectl`), then run it again"
_RATE = "AWS limits the rate of calls in this account, whoever makes them: wait a minute and run the command again"
_LOGIN_CODES = (
    "ExpiredToken",
    "ExpiredTokenException",
    "UnauthorizedSSOTokenError",
    "SSOTokenLoadError",
    "TokenRetrievalError",
    "SSOError",
    "LoginError",
    "LoginRefreshRequired",
    "LoginTokenLoadError",
    "LoginAuthorizationCodeError",
    "LoginInsufficientPermissions",
    "PendingAuthorizationExpiredError",
    "RefreshWithMFAUnsupportedError",
    "NoAuthTokenError",
)

_REMEDIES = {
    **dict.fromkeys(_LOGIN_CODES, _LOG_IN),
    **dict.fromkeys(RATE_CODES, _RATE),
    "RequestTimeTooSkewed": _CLOCK,
    "CredentialRetrievalError": "what gives the credentials failed: log in again, or run it by hand to see why",
    "AuthFailure": "check the access key, and that the region is enabled for the account; a session's credentials are "
    "valid in a region that was opted into only if it was begun at a regional endpoint "
    "(AWS_STS_REGIONAL_ENDPOINTS=regional)",
    "InvalidClientTokenId": "check the access key, and that the region is enabled for the account",
    "UnrecognizedClientException": "check the access key, and that the region is enabled for the account",
    "SignatureDoesNotMatch": "check the secret key",
    "RequestExpired": "the credentials expired, or this machine's clock is wrong: log in again, check the clock",
    "OptInRequired": "enable the region for the account, complete the account's sign-up, or use another region",
    "PendingVerification": "AWS looks at an account that is new in a region, for minutes mostly and up to four hours: "
    "run the command again then, or write to AWS's support",
    "Blocked": "AWS has blocked the account: its support knows why",
    "VpcLimitExceeded": "delete an unused VPC or ask for a higher quota `VPCs per Region` (5 by default)",
    "InternetGatewayLimitExceeded": "delete an unused internet gateway or ask for a higher quota (5 by default)",
    "AddressLimitExceeded": "release an unused one or ask for a higher quota `EC2-VPC Elastic IPs` (5 by default)",
    "VcpuLimitExceeded": "ask for a higher quota `Running On-Demand Standard instances`, or use a smaller type",
    "InstanceLimitExceeded": "ask for a higher instance quota, or use another type",
    "RulesPerSecurityGroupLimitExceeded": "use fewer ssh sources or targets (60 rules a group by default)",
    "SecurityGroupLimitExceeded": "delete unused security groups or ask for a higher quota",
    "TooManyBuckets": "delete an unused bucket or ask for a higher quota",
    "LimitExceeded": "delete unused roles or ask for a higher quota",
    "InsufficientInstanceCapacity": "use another --instance-type or run again later",
    "InsufficientHostCapacity": "use another --instance-type or run again later",
    "InsufficientAddressCapacity": "run again later",
    "Unsupported": "use another --instance-type: this one is not offered here",
    "InvalidAMIID.NotFound": "use another --image: the region has it not, or the account's Allowed AMIs hide it",
    "InvalidAMIID.Unavailable": "use another --image: this one was withdrawn",
    "OptInRequiredException": "enable the region for the account, or use another",
    "DependencyViolation": "something still uses it: remove by hand what this deployment did not make, wait for "
    "hosts that are shutting down, and run again",
    "Resource.AlreadyAssociated": "the address serves something else: it is not taken away from it",
    "TagPolicyViolation": "the organisation allows other values for that tag: correct --tag KEY=VALUE, or ask whoever "
    "keeps its tag policy",
    "OperationNotPermitted": "its protection against being stopped or terminated is on: switch that off by hand",
    "BucketNotEmpty": "something writes into it: stop that and run again",
    "DeleteConflict": "something attaches to it again: stop that and run again",
    "SSLError": "the certificate is none that this machine trusts (where a proxy opens TLS: AWS_CA_BUNDLE), or nothing "
    "there speaks TLS (AWS_ENDPOINT_URL)",
    "ProxyConnectionError": "check the proxy that HTTPS_PROXY or https_proxy names, or except AWS from it by NO_PROXY",
    "UnsendableRequest": "HTTPS_PROXY is no URL, or a credential has a stray character: correct it",
    "ConfigParseError": "correct the file, or name another by AWS_CONFIG_FILE",
    "NoCredentials": "configure credentials (`aws configure`, AWS_PROFILE, --profile)",
    "UnreachableEndpoint": "check the network, AWS_ENDPOINT_URL and the region's name",
}

_OF_THE_ACCOUNT = {
    *_LOGIN_CODES,
    *RATE_CODES,
    "RequestTimeTooSkewed",
    "CredentialRetrievalError",
    "RequestExpired",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "NoCredentials",
    "UnsendableRequest",
    "SSLError",
    "ProxyConnectionError",
    "Blocked",
}


def remedy(code: str, message: str, operation: str, service: str = "ec2") -> str:
    """What the operator can do about an AWS error.

    Args:
        code: AWS's error code.
        message: AWS's sentence; free-plan refusals are told from other bad parameters only by it.
        operation: the API operation.
        service: boto3's name of the service.
    """
    for said, helps in _SAID.items():
        if said in message.lower():
            return helps
    if code in _DENIED:
        return _grant(message, permission(service, operation))
    if code == "SignatureDoesNotMatch" and ("Signature expired" in message or "not yet current" in message):
        return _CLOCK
    if code == "AuthFailure" and _NOT_OURS.search(message):
        return "it belongs to another account, or a service of AWS manages it: let go of it there, and run again"
    if code in _REMEDIES:
        return _REMEDIES[code]
    if code.endswith("LimitExceeded"):
        return "ask for a higher quota or delete what is unused"
    if code.endswith(".NotFound"):
        return "it was removed meanwhile: run the command again"
    import botocore.exceptions  # noqa: PLC0415 - prices and targets are told without the library

    if hasattr(botocore.exceptions, code):
        return f"correct what configures it ({_CONFIGURATION}), or choose another --profile"
    return f"look the code up in the reference of {operation}, correct the cause and run the command again"


def _grant(message: str, asked: str) -> str:
    """Name the permission that is missing, and whose policy withholds it."""
    # Newer messages name the action, which may be another than the call's; older ones name none.
    named = re.search(r"not authorized to perform: ([\w-]+:\w+)", message)
    action = named[1] if named else asked
    denying = _DENYING.search(message)
    if denying and denying[1] != "identity-based policy":
        told = f"{action} is withheld by a {denying[1]}: ask whoever keeps it; `provision policy` prints what is needed"
        makes = asked.partition(":")[2].startswith(_MAKES)
        return f"{told}; where it demands tags, give them with --tag KEY=VALUE" if makes else told
    also = f" (and {', '.join(ALSO_CHECKED[action])} with it)" if action in ALSO_CHECKED else ""
    return f"grant the credentials the permission {action}{also}; `provision policy` prints all that is needed"
