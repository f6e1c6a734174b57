"""An emulated AWS account with images, and in it a shell, or the command given, for `provision` without an account.

Nothing of it reaches AWS: credentials are made up, and the account ends with the shell.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.provisioning.emulator import serve


def main(command: list[str]) -> int:
    """Run a command, or a shell, in which `provision` meets the emulator; returns its exit code."""
    # A profile of the user's would name a real account, to the emulator's own boto3 too.
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    server, endpoint = serve()
    variables = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
        # A proxy of the environment's would be asked for the emulator, which is on this machine's loopback.
        "no_proxy": ",".join(filter(None, (os.environ.get("no_proxy", os.environ.get("NO_PROXY")), "127.0.0.1"))),
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, **variables, "PATH": path}
    if not command:
        for name, value in variables.items():
            sys.stderr.write(f"export {name}={value}\n")
        sys.stderr.write("an emulated account, empty; hosts never boot in it. `exit` ends it.\n")
    try:
        shell = [os.environ.get("SHELL", "/bin/sh")]
        return subprocess.run(command or shell, env=environment, check=False).returncode
    finally:
        server.shutdown()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
