"""`provision` against a port that nobody listens on, without waiting between attempts."""

import boto3

from provisioning.cloud import Cloud
from provisioning.main import Settings, main
from tests.provisioning.world import Clock


def connect(profile: str | None) -> Cloud:
    session = boto3.Session()
    session.events.register("before-send.*", lambda request, **_: setattr(request, "url", "http://127.0.0.1:9/"))
    return Cloud(session, Clock())


if __name__ == "__main__":
    main(obj=Settings(connect=connect))
