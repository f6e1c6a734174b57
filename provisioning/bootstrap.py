"""Runs on a host at every boot: verify the tunnel, install the bundle, start the daemons, say so on the console.

This file travels in user data and runs under the image's own interpreter, so it uses the standard library alone.
Credentials come from the host's own role through IMDSv2; nothing secret is in user data.
"""

import base64
import contextlib
import datetime as dt
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

IMDS = os.environ.get("LATENCY_IMDS", "http://169.254.169.254")
ROOT = pathlib.Path(os.environ.get("LATENCY_ROOT", "/"))
CONFIG = ROOT / "etc/latency/bootstrap.json"
STATE = ROOT / "var/lib/latency-bootstrap"
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""For the metadata service, and for all else where a host has a way of its own."""


class Failed(Exception):  # noqa: N818  # the word of the console's line
    """A step did not succeed; systemd starts the whole again."""


def run(*command: str) -> str:
    """Run a command; its output, or Failed with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Failed(f"{' '.join(command)}: exit {done.returncode}: {said[-1] if said else 'no output'}")
    return done.stdout


def tell(text: str) -> None:
    """Write a line to the journal and to the console, where `provision status` reads it."""
    line = f"backbone-latency: {text}"
    print(line, flush=True)
    console = ROOT / "dev/console"
    if console.exists():
        with console.open("a") as out:
            out.write(f"\r\n{line}\r\n")


def imds(path: str) -> str:
    """Read from the metadata service, version 2 only."""
    want = urllib.request.Request(f"{IMDS}/latest/api/token", method="PUT")
    want.add_header("X-aws-ec2-metadata-token-ttl-seconds", "300")
    with DIRECT.open(want, timeout=5) as answer:
        token = answer.read().decode()
    ask = urllib.request.Request(f"{IMDS}/latest/meta-data/{path}", headers={"X-aws-ec2-metadata-token": token})
    with DIRECT.open(ask, timeout=5) as answer:
        return str(answer.read().decode())


def signed(url: str, region: str, keys: dict[str, Any], now: dt.datetime) -> urllib.request.Request:
    """A GET of an S3 object, signed with Signature Version 4 (S3 API reference, "Authenticating requests")."""
    parts = urllib.parse.urlsplit(url)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    empty = hashlib.sha256(b"").hexdigest()
    headers = {"host": parts.netloc, "x-amz-content-sha256": empty, "x-amz-date": stamp}
    if keys.get("Token"):
        headers["x-amz-security-token"] = keys["Token"]
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        ["GET", urllib.parse.quote(parts.path), "", *(f"{k}:{headers[k]}" for k in sorted(headers)), "", names, empty]
    )
    scope = f"{day}/{region}/s3/aws4_request"
    told = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{keys['SecretAccessKey']}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, told.encode(), hashlib.sha256).hexdigest()
    credential = f"{keys['AccessKeyId']}/{scope}"
    authorization = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    del headers["host"]
    return urllib.request.Request(url, headers={**headers, "Authorization": authorization})


def fetch(config: dict[str, Any], name: str) -> bytes:
    """Fetch one of the host's objects and check it against the digest stored beside it."""
    profile = imds("iam/security-credentials/").split()[0]
    keys = json.loads(imds(f"iam/security-credentials/{profile}"))
    region, bucket = config["bucket_region"], config["bucket"]
    base = config["endpoint"] and f"{config['endpoint']}/{bucket}"
    url = f"{base or f'https://{bucket}.s3.{region}.amazonaws.com'}/{name}"
    request = signed(url, region, keys, dt.datetime.now(dt.UTC))
    try:
        with opener(config).open(request, timeout=60) as answer:
            content = bytes(answer.read())
            digest = answer.headers.get("x-amz-meta-sha256")
    except OSError as error:
        raise Failed(f"{url}: {error}") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise Failed(f"{url}: {len(content)} bytes do not match their digest {digest}")
    return content


def opener(config: dict[str, Any]) -> urllib.request.OpenerDirector:
    """What fetches from outside: by the proxy where that is the only way."""
    if not config["proxy"]:
        return DIRECT
    return urllib.request.build_opener(urllib.request.ProxyHandler(dict.fromkeys(("http", "https"), config["proxy"])))


def asked_for_tunnel(proxy: str, authority: str) -> int:
    """Ask a proxy for a tunnel and return the status of its answer (RFC 9110, section 9.3.6)."""
    parts = urllib.parse.urlsplit(proxy)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    try:
        connection.request("CONNECT", authority)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"{proxy}: {error!r}") from error
    finally:
        connection.close()


def check_way_out(config: dict[str, Any]) -> None:
    """Whether the proxy, where it is the only way, leads to the bucket."""
    if not config["proxy"] or config["endpoint"].startswith("http:"):
        return
    host = config["endpoint"].partition("//")[2] or f"{config['bucket']}.s3.{config['bucket_region']}.amazonaws.com"
    authority = host if ":" in host else f"{host}:443"
    status = asked_for_tunnel(config["proxy"], authority)
    if not 200 <= status < 300:
        raise Failed(f"{config['proxy']}: answers CONNECT {authority} with {status}")


def check_refusal(config: dict[str, Any]) -> None:
    """Whether the proxy on this host answers, and refuses whoever is not the client: this host is not."""
    if config["serves"]:
        status = asked_for_tunnel(config["serves"]["proxy"], config["serves"]["authority"])
        if status != 403:
            raise Failed(f"{config['serves']['proxy']}: answers a stranger with {status}, not 403")


def write(path: pathlib.Path, content: bytes, mode: int) -> None:
    """Put a file in place whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    new.replace(path)


def active(unit: str) -> bool:
    """Whether systemd says that a unit is active."""
    return subprocess.run(["systemctl", "is-active", "--quiet", unit], check=False).returncode == 0


def x25519(private: bytes | None = None) -> bytes:
    """A new private key, or the public half of one: the last 32 bytes of its DER (RFC 8410 section 7).

    By openssl(1), which the image has; wg(8) it has not, and the client could not fetch it before its tunnel is up.
    """
    if private is None:
        command, given = ["genpkey", "-algorithm", "X25519"], b""
    else:
        command, given = (
            ["pkey", "-inform", "DER", "-pubout"],
            bytes.fromhex("302e020100300506032b656e04220420") + private,
        )
    done = subprocess.run(["openssl", *command, "-outform", "DER"], input=given, capture_output=True, check=False)
    if done.returncode:
        raise Failed(f"openssl {command[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout[-32:]


def wireguard(overlay: dict[str, Any]) -> None:
    """Make this host's key, tell the public half, and build the interface when the peer's is known."""
    key = ROOT / "etc/latency/wireguard.key"
    if not key.exists():
        write(key, base64.b64encode(x25519()) + b"\n", 0o640)
        shutil.chown(key, "root", "systemd-network")
    tell(f"wireguard-key {base64.b64encode(x25519(base64.b64decode(key.read_text()))).decode()}")
    try:
        peer = imds("tags/instance/latency:peer-key").strip()
    except urllib.error.HTTPError as error:
        raise Failed(f"the peer's WireGuard key is not known yet ({error.code}): `provision up` sets it") from error
    interface = pathlib.Path(f"/sys/class/net/{overlay['interface']}")
    netdev = ROOT / "etc/systemd/network/50-latency-tunnel.netdev"
    text = (ROOT / "etc/latency/wireguard.netdev.in").read_text().replace("@PEER_KEY@", peer)
    if not netdev.exists() or netdev.read_text() != text:
        write(netdev, text.encode(), 0o644)
        if interface.exists():
            run("networkctl", "delete", overlay["interface"])
    elif interface.exists():
        return
    run("networkctl", "reload")


def verify(config: dict[str, Any]) -> None:
    """Check a tunnel's interface, rules and forwarding, and that a packet comes back from the other end."""
    overlay = config["overlay"]
    if overlay["kind"] == "wireguard":
        wireguard(overlay)
    try:
        await_tunnel(overlay, 15)
    except Failed:
        # networkd leaves a link alone for ever when one step of its configuration has failed.
        with contextlib.suppress(Failed):
            if overlay["interface"]:
                run("networkctl", "reconfigure", overlay["interface"])
        await_tunnel(overlay, 45)


def await_tunnel(overlay: dict[str, Any], seconds: float) -> None:
    """Look until everything holds; Failed says which did not in that time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            check_tunnel(overlay)
        except Failed:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
        else:
            return


def check_tunnel(overlay: dict[str, Any]) -> None:
    """One look at everything that must hold; Failed says which does not."""
    name = overlay["interface"]
    if name:
        link = json.loads(run("ip", "-json", "link", "show", "dev", name))[0]
        if link["mtu"] != overlay["mtu"]:
            raise Failed(f"{name}: mtu {link['mtu']}, not {overlay['mtu']}")
    if not overlay["client"]:
        check_gateway()
    elif name:
        check_client(name)
    elif "--dport 53 -j REJECT" not in run("iptables", "-S", "OUTPUT"):
        raise Failed("the rule against this site's resolver is missing")
    run("ping", "-n", "-q", "-c", "1", "-W", "2", *(("-I", name) if name else ()), overlay["peer"])


def check_client(name: str) -> None:
    """Whether everything leads into the tunnel, and nothing past it."""
    for command in ("iptables", "ip6tables"):
        if "-A OUTPUT -j REJECT" not in run(command, "-S", "OUTPUT"):
            raise Failed(f"the kill switch's rule is missing ({command})")
    routes = json.loads(run("ip", "-4", "-json", "route", "show", "table", "4242", "default"))
    if not any(route.get("dev") == name for route in routes):
        raise Failed(f"no default route through {name}")
    if not any(route.get("type") == "unreachable" for route in routes):
        raise Failed("no unreachable route behind the tunnel's")
    rules = json.loads(run("ip", "-4", "-json", "rule", "show"))
    if not any(rule.get("table") == "4242" and rule.get("src") == "all" and "dst" not in rule for rule in rules):
        raise Failed("no rule that leads to the tunnel's table")


def check_gateway() -> None:
    """Whether what comes by the tunnel is forwarded under this host's address, and nothing else is."""
    if "-j MASQUERADE" not in run("iptables", "-t", "nat", "-S", "POSTROUTING"):
        raise Failed("the masquerade rule is missing")
    if "-P FORWARD DROP" not in run("iptables", "-S", "FORWARD"):
        raise Failed("forwarding is not denied by default")
    if pathlib.Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() != "1":
        raise Failed("forwarding is off")


def unpack(content: bytes) -> pathlib.Path:
    """Unpack a bundle beside the others and return its directory."""
    digest = hashlib.sha256(content).hexdigest()
    place = STATE / "bundles" / digest[:16]
    if not (place / ".complete").exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        archive = STATE / "bundle.tar.gz"
        write(archive, content, 0o600)
        with tarfile.open(archive) as tar:
            tar.extractall(place, filter="data") if hasattr(tarfile, "data_filter") else tar.extractall(place)
        archive.unlink()
        (place / ".complete").touch()
    return place


def installer(place: pathlib.Path, *arguments: str) -> None:
    """Run a bundle's own installer."""
    run(str(place / "systemd/install"), *arguments, *(["--root", str(ROOT)] if str(ROOT) != "/" else []))


def install(config: dict[str, Any], place: pathlib.Path) -> None:
    """Install a bundle, with what the role needs beside the daemons."""
    installer(place, "--wheelhouse", str(place / "wheelhouse"), "--role", config["role"])
    complete(config, place)


def complete(config: dict[str, Any], place: pathlib.Path) -> None:
    """Put in place what the role needs beside the daemons, and remember whose it is."""
    for name, (target, mode) in config["extra"].items():
        write(ROOT / target.lstrip("/"), (place / name).read_bytes(), mode)
    run("systemctl", "daemon-reload")
    point("current", place)


def release() -> str:
    """The release that the installer says is current; empty before the first."""
    link = ROOT / "opt/backbone-latency/current"
    return str(link.readlink()) if link.is_symlink() else ""


def put_back(config: dict[str, Any], place: pathlib.Path, wanted: str) -> None:
    """Go back to a bundle and its release: by the installer's rollback, or anew if that leads elsewhere."""
    if release() != wanted:
        installer(place, "--rollback")
    if release() == wanted:
        complete(config, place)
    else:
        install(config, place)


def point(name: str, place: pathlib.Path) -> None:
    """Make a link name a bundle's directory, in one step."""
    link = STATE / f"{name}.new"
    link.unlink(missing_ok=True)
    link.symlink_to(place)
    link.replace(STATE / name)


def start(config: dict[str, Any], *, again: bool) -> None:
    """Start the role's units and wait until each has said that it serves."""
    for unit in config["units"]:
        run("systemctl", "enable", unit)
        run("systemctl", "restart" if again else "start", unit)
    settle = time.monotonic() + config.get("settle_seconds", 5)
    while True:
        late = time.monotonic() >= settle
        for unit in config["units"]:
            if not active(unit):
                raise Failed(f"{unit} is not active: see journalctl -u {unit}")
        if late:
            check_refusal(config)
            return
        time.sleep(0.5)


def package(config: dict[str, Any], program: str, name: str) -> None:
    """Have a package of the distribution that the image lacks."""
    if shutil.which(program, path="/usr/sbin:/usr/bin"):
        return
    options = ["-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=2", "-o", "Acquire::https::Timeout=20"]
    if config["proxy"]:
        for kind in ("http", "https"):
            options += ["-o", f"Acquire::{kind}::Proxy={config['proxy']}"]
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    run("apt-get", *options, "update")
    run("apt-get", *options, "install", "--yes", "--no-install-recommends", name)


def boot(config: dict[str, Any]) -> None:
    """Everything, in order; each step is skipped when it is done."""
    if config["overlay"] and not active("latency-overlay.service"):
        raise Failed("the tunnel is not verified yet")
    if config["ptp"] and not pathlib.Path("/dev/ptp_ena").exists():
        raise Failed("/dev/ptp_ena is missing: the host is not in a precision-time placement group")
    check_way_out(config)
    for program, name in config["packages"].items():
        package(config, program, name)
    current = STATE / "current"
    for name in config["objects"]:
        if name.endswith(".key") and not (ROOT / "etc/latency" / name).exists():
            write(ROOT / "etc/latency" / name, fetch(config, name), 0o600)
    fresh = not current.exists()
    if fresh:
        install(config, unpack(fetch(config, "bundle.tar.gz")))
    start(config, again=fresh)
    ready(config)
    for program, name in config["packages_wished"].items():
        try:
            package(config, program, name)
        except Failed as failure:
            print(f"{name} stays missing: {failure}", flush=True)
        else:
            ready(config)


def ready(config: dict[str, Any]) -> None:
    """Tell the console the SSH host keys and that the host is ready, with which bundle."""
    for file in sorted((ROOT / "etc/ssh").glob("ssh_host_*_key.pub")):
        kind, key = file.read_text().split()[:2]
        tell(f"host-key {kind} {key}")
    clock = next((name for name in ("chrony", "systemd-timesyncd") if active(f"{name}.service")), "none")
    tell(f"ready host={config['host']} bundle={(STATE / 'current').resolve().name} clock={clock}")


def deploy(config: dict[str, Any], archive: pathlib.Path) -> None:
    """Install another bundle and start it; put the old one back when it does not become healthy."""
    before = (STATE / "current").resolve() if (STATE / "current").exists() else None
    release_before = release()
    after = unpack(archive.read_bytes())
    try:
        install(config, after)
        start(config, again=True)
    except Failed as failure:
        if before is None or before == after:
            raise
        put_back(config, before, release_before)
        start(config, again=True)
        raise Failed(f"{failure}; {before.name} was put back and is healthy") from failure
    if before and before != after:
        point("previous", before)
    for old in (STATE / "bundles").iterdir():
        if old not in (before, after):
            shutil.rmtree(old)
    ready(config)


def rollback(config: dict[str, Any]) -> None:
    """Put the bundle back that the last deployment replaced."""
    if not (STATE / "previous").exists():
        raise Failed("there is no earlier bundle on this host")
    install(config, (STATE / "previous").resolve())
    start(config, again=True)
    ready(config)


def expire() -> None:
    """Power the host off when the moment in its tag is past; the tag follows `provision up`, the files here do not."""
    try:
        moment = imds("tags/instance/latency:stop-after").strip()
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        return
    # A clock that nothing keeps may be years ahead.
    if moment == "never" or run("timedatectl", "show", "--property=NTPSynchronized", "--value").strip() != "yes":
        return
    if dt.datetime.now(dt.UTC) >= dt.datetime.fromisoformat(moment):
        tell(f"expired {moment}: powering off")
        run("systemctl", "poweroff")


def main() -> None:
    """Entry point: `run`, `verify`, `expire`, `deploy FILE` or `rollback`."""
    config = json.loads(CONFIG.read_text())
    verb = sys.argv[1] if len(sys.argv) > 1 else "run"
    try:
        if verb == "run":
            boot(config)
        elif verb == "verify":
            verify(config)
        elif verb == "expire":
            expire()
        elif verb == "rollback":
            rollback(config)
        elif verb == "deploy" and len(sys.argv) == 3 and re.fullmatch(r"[\w./-]+", sys.argv[2]):
            deploy(config, pathlib.Path(sys.argv[2]))
        else:
            sys.exit(f"usage: {sys.argv[0]} run | verify | expire | deploy FILE | rollback")
    except (Failed, OSError, ValueError, KeyError, tarfile.TarError) as error:
        tell(f"failed {verb}: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()
