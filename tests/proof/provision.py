"""`provision` with everything that AWS is asked and answers written down.

PROOF_RECORD names the file, PROOF_ACCOUNT the account's id and PROOF_SECRETS, as JSON, what else may not stand there.
"""

import json
import os
from pathlib import Path

from provisioning.cloud import Cloud
from provisioning.main import Settings, main
from tests.proof.recording import Recorder
from tests.proof.redaction import Redaction


def connect(profile: str | None) -> Cloud:
    cloud = Cloud.connect(profile)
    redaction = Redaction(os.environ["PROOF_ACCOUNT"], json.loads(os.environ["PROOF_SECRETS"]))
    Recorder(Path(os.environ["PROOF_RECORD"]), redaction).attach(cloud._session.events)
    return cloud


if __name__ == "__main__":
    main(obj=Settings(connect=connect))
