"""Every refusal tells its cause and what to do about that cause, not about another."""

import botocore.exceptions
import pytest
from botocore.exceptions import BotoCoreError

from provisioning.errors import AwsError


def told(code: str, message: str = "no", operation: str = "describe_vpcs") -> str:
    return str(AwsError(operation, "vpc/tokyo", "ap-northeast-1", code, message))


@pytest.mark.parametrize("code", ["RequestLimitExceeded", "Throttling", "EC2ThrottledException", "SlowDown"])
def test_a_rate_is_no_quota(code: str) -> None:
    assert "wait a minute" in told(code)
    assert "quota" not in told(code)


@pytest.mark.parametrize(
    "code", ["ExpiredToken", "UnauthorizedSSOTokenError", "SSOTokenLoadError", "TokenRetrievalError"]
)
def test_a_login_that_is_over_is_told(code: str) -> None:
    assert "log in again" in told(code)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("RequestTimeTooSkewed", "The difference between the request time and the current time is too large."),
        ("SignatureDoesNotMatch", "Signature expired: 20261127T100000Z is now earlier than 20261127T101500Z"),
        ("SignatureDoesNotMatch", "Signature not yet current: 20261127T120000Z is still later than 20261127T101500Z"),
    ],
)
def test_a_wrong_clock_is_no_wrong_key(code: str, message: str) -> None:
    assert "set the clock" in told(code, message)
    assert "secret key" not in told(code, message)


def test_a_wrong_key_is_no_wrong_clock() -> None:
    assert "check the secret key" in told("SignatureDoesNotMatch", "The request signature we calculated does not match")


def test_the_missing_permission_is_named_without_the_blob() -> None:
    message = (
        "You are not authorized to perform this operation. User: arn:aws:iam::123456789012:user/desk is not authorized "
        "to perform: ec2:RunInstances on resource: arn:aws:ec2:eu-central-1:123456789012:instance/*. "
        "Encoded authorization failure message: Ab_9-XyZ"
    )
    text = told("UnauthorizedOperation", message, "run_instances")
    assert text.endswith(
        "grant the credentials the permission ec2:RunInstances (and iam:PassRole, ec2:CreateTags with it); "
        "`provision policy` prints all that is needed"
    )
    assert "Ab_9" not in text
    assert "the permission ec2:CreateVpc;" in told("UnauthorizedOperation", "no", "create_vpc")


def test_the_permission_is_the_services_own() -> None:
    def asked(service: str, operation: str, code: str = "AccessDenied") -> str:
        return str(AwsError(operation, "bucket", "eu-central-1", code, "Access Denied", service=service))

    assert "permission iam:CreateRole (and iam:TagRole with it);" in asked("iam", "create_role")
    assert "permission s3:ListBucket;" in asked("s3", "list_objects_v2")
    assert "permission s3:PutBucketPublicAccessBlock;" in asked("s3", "put_public_access_block")
    # A HEAD has no body, so S3 gives no code but the status.
    assert "permission s3:ListBucket; " in asked("s3", "head_bucket", "403")


def test_a_permission_that_is_needed_along_with_the_call_is_named() -> None:
    message = (
        "User: arn:aws:iam::123456789012:user/desk is not authorized to perform: iam:PassRole on resource: "
        "arn:aws:iam::123456789012:role/backbone-latency/x/y because no identity-based policy allows the iam:PassRole "
        "action"
    )
    assert "the permission iam:PassRole;" in told("UnauthorizedOperation", message, "run_instances")


@pytest.mark.parametrize(
    ("reason", "policy"),
    [
        ("with an explicit deny in a service control policy", "service control policy"),
        ("with an explicit deny in a permissions boundary", "permissions boundary"),
        ("because no permissions boundary allows the ec2:CreateVpc action", "permissions boundary"),
        ("with an explicit deny in a resource-based policy", "resource-based policy"),
        ("because no service control policy allows the ec2:CreateVpc action", "service control policy"),
    ],
)
def test_what_a_grant_cannot_mend_is_told_otherwise(reason: str, policy: str) -> None:
    message = f"User: arn:aws:iam::123456789012:user/desk is not authorized to perform: ec2:CreateVpc {reason}"
    text = told("UnauthorizedOperation", message, "create_vpc")
    assert f"ec2:CreateVpc is withheld by a {policy}: ask whoever keeps it" in text
    assert "grant the credentials" not in text


def test_what_the_whole_account_suffers_is_one_cause() -> None:
    def cause(code: str, region: str) -> str:
        return AwsError("describe_vpcs", "vpc", region, code, "no").cause

    assert cause("ExpiredToken", "eu-central-1") == cause("ExpiredToken", "ap-northeast-1")
    assert cause("VpcLimitExceeded", "eu-central-1") != cause("VpcLimitExceeded", "ap-northeast-1")


def test_of_botocores_own_errors_none_is_to_be_looked_up_in_the_reference_of_a_call() -> None:
    """By botocore's own list; those about a session say to log in again, and are one cause for the whole account."""
    names = [name for name, kind in vars(botocore.exceptions).items() if isinstance(kind, type)]
    errors = [name for name in names if issubclass(getattr(botocore.exceptions, name), BotoCoreError)]
    assert len(errors) > 60
    for name in errors:
        text = told(name, "no", "describe_vpcs")
        assert "look the code up" not in text, name
    for name in ("RefreshWithMFAUnsupportedError", "LoginRefreshRequired", "SSOError", "LoginTokenLoadError"):
        assert "log in again" in told(name, "no", "describe_vpcs")
        assert AwsError("describe_vpcs", "vpc", "eu-west-1", name, "no").of_the_account


def test_what_a_service_manages_is_no_matter_of_the_access_key() -> None:
    text = told("AuthFailure", "You do not have permission to access the specified resource.", "disassociate_address")
    assert "a service of AWS manages it" in text
    assert "access key" not in text
    assert "check the access key" in told(
        "AuthFailure", "AWS was not able to validate the credentials", "describe_vpcs"
    )


@pytest.mark.parametrize(
    ("code", "message", "says"),
    [
        ("PendingVerification", "Your request for accessing resources in this region is being validated", "four hours"),
        ("Blocked", "This account is currently blocked", "its support knows why"),
        ("OptInRequired", "You are not subscribed to this service.", "complete the account's sign-up"),
        (
            "OptInRequired",
            "In order to use this AWS Marketplace product you need to accept terms",
            "accept the image's",
        ),
        ("TagPolicyViolation", "The tag policy does not allow the specified value", "correct --tag KEY=VALUE"),
        ("InvalidAMIID.NotFound", "The image id does not exist", "Allowed AMIs hide it"),
    ],
)
def test_what_public_reports_met_on_accounts_is_told_with_a_way_out(code: str, message: str, says: str) -> None:
    assert says in told(code, message, "run_instances")
