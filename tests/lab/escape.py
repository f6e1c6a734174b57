"""Runs in a daemon's sandbox, and tries to leave it: one JSON object on standard output, a word for each attempt.

Plain standard library, because it runs under the host's own interpreter; see test_sandbox.py.
"""

import ctypes
import errno
import functools
import json
import mmap
import os
import pathlib
import socket
import subprocess
import sys
from collections.abc import Callable

CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x00020000
ADJ_OFFSET = 0x0001
LIBC = ctypes.CDLL(None, use_errno=True)
TIMEX_BYTES = 512


def attempt(action: Callable[[], object]) -> str:
    """Return ``done``, or the name of the error that stopped it."""
    try:
        action()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "done"


def call(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """Call a C function, and raise its error."""
    result: int = getattr(LIBC, name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def write(path: str) -> Callable[[], object]:
    """Try to make a file."""
    return lambda: pathlib.Path(path, "escape-attempt").write_text("x")


def make_socket(family: int, kind: int, protocol: int = 0) -> Callable[[], object]:
    """Try to make a socket."""
    return lambda: socket.socket(family, kind, protocol).close()


def execute_written(directory: str) -> None:
    """Try to run a program that we wrote ourselves."""
    program = pathlib.Path(directory, "escape-program")
    program.write_bytes(pathlib.Path("/bin/true").read_bytes())
    program.chmod(0o700)
    try:
        subprocess.run([program], check=True)
    finally:
        program.unlink()


def set_uid_bit(directory: str) -> None:
    """Try to leave a set-user-id program behind."""
    program = pathlib.Path(directory, "escape-suid")
    program.write_text("")
    try:
        program.chmod(0o4755)
    finally:
        program.unlink()


def set_clock() -> None:
    """Try to slew the clock."""
    timex = ctypes.create_string_buffer(TIMEX_BYTES)
    ctypes.c_uint.from_buffer(timex).value = ADJ_OFFSET
    call("adjtimex", timex)


def main() -> None:
    """Try everything."""
    state = os.environ.get("STATE_DIRECTORY")
    own = state or os.environ["RUNTIME_DIRECTORY"]
    places = [
        "/etc",
        "/etc/latency",
        "/usr/local/lib",
        "/opt/backbone-latency",
        "/var/lib",
        "/var/log",
        "/root",
        "/home",
        "/run",
        "/run/lock",
        "/dev/shm",
    ]
    if state is None:
        places.append("/var/lib/latency")
    runtime = os.environ.get("RUNTIME_DIRECTORY")
    places += [str(path) for path in pathlib.Path("/run").glob("latency-*") if str(path) != runtime]
    inet = socket.AF_INET
    result: dict[str, object] = {f"write {place}": attempt(write(place)) for place in places}
    result |= {
        "write own directory": attempt(write(own)),
        "read own configuration": attempt(lambda: pathlib.Path("/etc/latency/receiver.toml").read_text()),
        "read the key's file": attempt(lambda: pathlib.Path("/etc/latency/link.key").read_text()),
        **{
            f"run own program in {place}": attempt(functools.partial(execute_written, place))
            for place in (own, "/tmp", "/var/tmp", "/dev/shm", runtime or "/run/free")
        },
        "leave a set-user-id program": attempt(lambda: set_uid_bit(own)),
        "netlink socket": attempt(make_socket(socket.AF_NETLINK, socket.SOCK_RAW)),
        "packet socket": attempt(make_socket(socket.AF_PACKET, socket.SOCK_RAW)),
        "vsock socket": attempt(make_socket(socket.AF_VSOCK, socket.SOCK_STREAM)),
        "raw socket": attempt(make_socket(inet, socket.SOCK_RAW, socket.IPPROTO_ICMP)),
        "tcp socket": attempt(make_socket(inet, socket.SOCK_STREAM)),
        "udp socket": attempt(make_socket(inet, socket.SOCK_DGRAM)),
        "become root": attempt(lambda: os.setuid(0)),
        "change root": attempt(lambda: os.chroot("/")),
        "new user namespace": attempt(lambda: call("unshare", CLONE_NEWUSER)),
        "new mount namespace": attempt(lambda: call("unshare", CLONE_NEWNS)),
        "mount": attempt(lambda: call("mount", b"tmpfs", b"/mnt", b"tmpfs", 0, None)),
        "signal the first process": attempt(lambda: os.kill(1, 0)),
        "writable code": attempt(
            lambda: mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        ),
        "read the clock's state": attempt(lambda: call("adjtimex", ctypes.create_string_buffer(TIMEX_BYTES))),
        "set the clock": attempt(set_clock),
        "real-time scheduling": attempt(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))),
        "kernel settings": attempt(lambda: pathlib.Path("/proc/sys/kernel/hostname").write_text("x")),
        "processes seen": sorted(
            {path.name for path in pathlib.Path("/proc").glob("[0-9]*")} - {str(os.getpid()), str(os.getppid())}
        ),
        "devices seen": sorted(
            path.name for path in pathlib.Path("/dev").iterdir() if path.name in ("mem", "kmsg", "sda", "vda", "net")
        ),
        "capabilities": next(
            line.split()[1] for line in pathlib.Path("/proc/self/status").read_text().splitlines() if "CapEff" in line
        ),
        "no new privileges": "NoNewPrivs:\t1" in pathlib.Path("/proc/self/status").read_text(),
        "key by credential": attempt(lambda: pathlib.Path(os.environ["CREDENTIALS_DIRECTORY"], "link.key").read_text())
        if "CREDENTIALS_DIRECTORY" in os.environ
        else "none",
    }
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
