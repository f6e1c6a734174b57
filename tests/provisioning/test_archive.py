"""Archives of hosts' receivers: configuration, role, life-cycle rule and cost; and ``down`` does not delete rows."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from daemons.configuration.receiver import load_receiver, upload_of
from daemons.errors import ConfigError
from provisioning.cost import Traffic, estimate
from provisioning.desired import desired
from provisioning.drawing import drawing
from provisioning.errors import RemainsError
from provisioning.loading import load_topology
from provisioning.model import Deployment
from provisioning.roleconfig import role_files
from provisioning.topology import Archiving, Topology
from tests.provisioning.aws import Operator, client

HOME, THERE = "ap-northeast-1", "eu-central-1"
OTHERS = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "x/"}, "Expiration": {"Days": 7}}


def backbone(**archive: Any) -> Topology:
    return msgspec.structs.replace(load_topology("backbone"), archive=Archiving(**archive))


@pytest.mark.parametrize(
    ("archive", "bucket", "prefix", "region"),
    [
        (Archiving(), "own", "archive/receiver/", HOME),
        (Archiving(upload="s3://desk", upload_region=THERE), "desk", "receiver/", THERE),
        (Archiving(upload="s3://desk/a/b/", upload_region=THERE), "desk", "a/b/receiver/", THERE),
    ],
)
def test_a_receiver_uploads_where_its_role_may_write(
    tmp_path: Path, archive: Archiving, bucket: str, prefix: str, region: str
) -> None:
    topology = msgspec.structs.replace(load_topology("backbone"), archive=archive)
    ((_, _, text),) = role_files(topology, topology.named_host("receiver"), "desk", store=("own", HOME))
    file = tmp_path / "receiver.toml"
    file.write_text(text.replace('"credential:link.key"', '"/dev/null"'))
    section = load_receiver(file, {}, None, {}, {}).archive
    upload = upload_of(section)
    assert upload is not None
    assert (upload.bucket, upload.prefix, upload.region, upload.endpoint) == (bucket, prefix, region, None)
    assert section.retention_gigabytes == archive.host_gigabytes
    nodes = desired(topology, Deployment("desk"), "123456789012", lambda: b"")
    assert nodes["identity/receiver"].spec.archive == archive
    assert nodes["identity/forwarder"].spec.archive is None
    assert nodes["bucket"].spec.archive_days == (None if archive.upload else 90)


@pytest.mark.parametrize(
    ("topology", "archive", "why"),
    [
        ("egress", "", "archive: no host is a receiver"),
        ("backbone", "bucket_days = 0", "archive.bucket_days: 0 is no number of days"),
        ("backbone", "host_gigabytes = 0.0", "host_gigabytes"),
        ("backbone", "host_gigabytes = 5.0", "archive.host_gigabytes: 5 are not within half of receiver's disk of 8"),
        ("backbone", 'upload = "s3://x-y"', "archive.upload_region: is missing"),
        ("backbone", 'upload_region = "x"', "archive.upload_region: the deployment's own bucket has its region"),
        ("backbone", 'upload = "https://x"\nupload_region = "x"', "is no bucket; write s3://BUCKET"),
    ],
)
def test_what_cannot_be_is_refused_before_the_first_call(tmp_path: Path, topology: str, archive: str, why: str) -> None:
    text = (Path(__file__).parents[2] / f"provisioning/topologies/{topology}.toml").read_text()
    file = tmp_path / "mine.toml"
    file.write_text(f"{text}\n[archive]\n{archive}\n")
    with pytest.raises(ConfigError) as refused:
        load_topology(str(file))
    assert why in str(refused.value)


def test_an_archive_costs_its_way_and_its_days() -> None:
    items = {item.what: item for item in estimate(backbone(bucket_days=60), Traffic(archive_gb=10)).items}
    # From Frankfurt to the bucket in Tokyo, and two months of it there at Tokyo's rate.
    assert items[f"archive of receiver: {THERE} to {HOME}"].per_30_days == pytest.approx(10 * 0.02)
    assert items["archive of receiver: 60 days"].per_30_days == pytest.approx(10 * 0.025 * 2)
    # Two paths, a file in a quarter of an hour each.
    assert items["archive of receiver: writing files"].per_30_days == pytest.approx(2 * 4 * 720 * 0.0047 / 1000)
    elsewhere = estimate(backbone(upload="s3://desk", upload_region=THERE), Traffic(archive_gb=10))
    assert [item.what for item in elsewhere.items if item.what.startswith("archive")] == []
    assert "  receiver --archive--> the deployment's bucket (ap-northeast-1), kept 60 days, 0.0700 USD/GB *" in drawing(
        backbone(bucket_days=60)
    )


def rules(endpoint: str, bucket: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client(endpoint, "s3", HOME).get_bucket_lifecycle_configuration(Bucket=bucket)[
        "Rules"
    ]
    return found


@pytest.mark.process
def test_rows_have_a_role_and_a_rule_and_outlive_the_network(endpoint: str) -> None:
    topology = backbone(bucket_days=30)
    Operator(endpoint, topology).up()
    s3 = client(endpoint, "s3", HOME)
    (bucket,) = (item["Name"] for item in s3.list_buckets()["Buckets"])
    (rule,) = rules(endpoint, bucket)
    assert (rule["Filter"]["Prefix"], rule["Expiration"]["Days"]) == ("archive/", 30)
    assert rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] == 7
    iam = client(endpoint, "iam", HOME)
    policies = {}
    for role in iam.list_roles(PathPrefix="/backbone-latency/")["Roles"]:
        (name,) = iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]
        document = iam.get_role_policy(RoleName=role["RoleName"], PolicyName=name)["PolicyDocument"]
        policies[role["RoleName"].rpartition(".")[2]] = json.dumps(document)
    assert f"arn:aws:s3:::{bucket}/archive/receiver/*" in policies["receiver"]
    assert "PutObject" not in policies["forwarder"]
    # A rule of others stays, and ours comes back beside it with the days of today.
    s3.put_bucket_lifecycle_configuration(
        Bucket=bucket, LifecycleConfiguration={"Rules": [OTHERS, {**rule, "Expiration": {"Days": 1}}]}
    )
    Operator(endpoint, topology).up()
    assert {one["ID"]: one["Expiration"]["Days"] for one in rules(endpoint, bucket)} == {"theirs": 7, rule["ID"]: 30}
    # What receivers have brought is nobody's surplus, and goes by its rule alone.
    key = "archive/receiver/date=2026-11-29/path=direct/1415-1430-5f3a9c0144d2.parquet"
    s3.put_object(Bucket=bucket, Key=key, Body=b"rows")
    assert Operator(endpoint, topology).up().aws.changing() == []
    with pytest.raises(RemainsError) as left:
        Operator(endpoint, topology).down()
    assert f"aws s3 sync s3://{bucket}/archive/ FOLDER" in "\n".join(left.value.__notes__)
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    s3.delete_object(Bucket=bucket, Key=key)
    Operator(endpoint, topology).down()
    assert s3.list_buckets()["Buckets"] == []
