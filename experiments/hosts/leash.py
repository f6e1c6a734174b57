"""Keeps a program on another host from outliving the connection that started it.

``python -m experiments.hosts.leash COMMAND…`` runs a command; when standard input ends, because we closed it or
because the connection broke, the command gets SIGTERM, and after a while SIGKILL. It ends with the command's exit code.
sshd itself does neither for a command without a terminal.
"""

import os
import signal
import subprocess
import sys
import threading

__all__: list[str] = []

GRACE_SECONDS = 30.0


def main(command: list[str]) -> int:
    """Run the command on the leash; returns its exit code, 128 and more for a signal's."""
    for number in (signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:  # noqa: S603 - what it is given, as sshd would
        threading.Thread(target=_pull, args=(process,), daemon=True).start()
        code = process.wait()
    return 128 - code if code < 0 else code


def _pull(process: "subprocess.Popen[bytes]") -> None:
    while os.read(0, 4096):
        pass
    process.terminate()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
