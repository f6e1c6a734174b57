"""A real squid in the foreground, with a test's own rules, for as long as a block lasts."""

import contextlib
import os
import pwd
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.processes import until
from tests.programs import free_port
from tests.tools import required

SQUID = "squid"


@contextlib.contextmanager
def squid(folder: Path, rules: str) -> Iterator[str]:
    """Run squid with these rules on a port of the loopback; give its URL."""
    required(SQUID)
    port = free_port()
    place = folder / "squid"
    place.mkdir(mode=0o755)
    if os.geteuid() == 0:
        # Squid gives up root for this user, who must be able to write and to walk there.
        os.chown(place, pwd.getpwnam("proxy").pw_uid, -1)
    (place / "squid.conf").write_text(
        f"http_port 127.0.0.1:{port}\npid_filename {place}/pid\naccess_log none\ncache_log {place}/cache.log\n"
        f"cache deny all\ncoredump_dir {place}\nshutdown_lifetime 0 seconds\nvisible_hostname squid.example\n"
        f"cache_effective_user proxy\npinger_enable off\nnetdb_filename none\n{rules}\n"
    )
    command = [SQUID, "-N", "-n", f"test{port}", "-f", str(place / "squid.conf")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=place) as process:
        try:
            until(lambda: _listens(port) or process.poll() is not None, "squid listens")
            assert process.poll() is None, process.stderr.read().decode() if process.stderr else ""
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
