"""`provision` as a process of its own, with every call written down, and killed for real where a test says so.

RECORD names the file of calls; KILL_AT, if set, is "OPERATION REGION NUMBER" of the changing call to die at, and
KILL_WITH the signal; FAIL_AT is "OPERATION CODE" of a call that is always refused.
"""

import json
import os
import signal
from pathlib import Path
from typing import Any

from provisioning.cloud import Cloud
from provisioning.main import Settings, main
from tests.provisioning.aws import Aws, Call, Once, operation


def connect(profile: str | None) -> Cloud:
    aws = Aws(os.environ["AWS_ENDPOINT_URL"])
    record = Path(os.environ["RECORD"])

    def write(call: Call) -> None:
        names = {"Bucket", "Key", "Name", "Path", "RoleName", "InstanceProfileName"}
        params = {name: value for name, value in call.params.items() if name in names}
        line = {"operation": call.operation, "region": call.region, "changes": call.changes}
        line |= {"service": call.service, "params": params}
        with record.open("a") as out:
            out.write(json.dumps(line) + "\n")

    def die() -> Any:
        os.kill(os.getpid(), getattr(signal, os.environ.get("KILL_WITH", "SIGKILL")))

    aws.before.append(write)
    if where := os.environ.get("KILL_AT"):
        name, region, number = where.split()
        aws.after.append(Once(operation(name, region), die, int(number)))
    if refusal := os.environ.get("FAIL_AT"):
        refused, code = refusal.split()
        aws.before.append(lambda call: (code, "refused") if call.operation == refused else None)
    # The account is late by its own time, which moves only when its clock is slept by.
    return Cloud(aws.session, aws.world.clock)


if __name__ == "__main__":
    main(obj=Settings(connect=connect))
