"""Keys of links in real processes: changed while events come, one for each path, and what two forwarders are told."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.processes import Program, until
from tests.programs import (
    delivered,
    forwarder,
    free_port,
    log_lines,
    receiver,
    rows_of,
    scrape,
    settled,
    silences,
    simulator,
)
from tests.scenarios.test_intruders import refusals

pytestmark = pytest.mark.process

OLD, NEW = "the key of last year, worn out", "the key of this year, unworn"


def keep(file: Path, text: str) -> Path:
    file.write_text(text)
    file.chmod(0o600)
    return file


def reload(program: Program) -> None:
    done = len(log_lines(program, "reloaded"))
    os.kill(program.pid, signal.SIGHUP)
    until(lambda: len(log_lines(program, "reloaded")) > done, "the reload")


def destination(port: int, key: Path, **more: str) -> str:
    fields = {"address": f"127.0.0.1:{port}", "key_file": str(key), "reconnect_max_seconds": 0.1, **more}
    return "[[destination]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in fields.items())


def path(name: str, port: int, *keys: Path, transport: str = "tcp") -> str:
    files = [str(key) for key in keys]
    return (
        f'[[path]]\nname = "{name}"\nkind = "link"\nlisten = "127.0.0.1:{port}"\n'
        f'transport = "{transport}"\nkey_file = {json.dumps(files)}\n'
    )


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_key_is_changed_on_both_sides_by_reloads_and_no_event_is_lost(tmp_path: Path, transport: str) -> None:
    old, new = keep(tmp_path / "old.key", OLD), keep(tmp_path / "new.key", NEW)
    here, there, rows = tmp_path / "receiver.toml", tmp_path / "forwarder.toml", tmp_path / "rows.csv"
    port = free_port()
    here.write_text(path("backbone", port, old, transport=transport))
    there.write_text(destination(port, old, transport=transport))
    with (
        simulator("--rate", "500", "--wait-for-clients", "1") as exchange,
        receiver("--config", str(here), "--csv-output", str(rows)) as program,
        forwarder("--feed-url", f"ws://{exchange.ready['near']}", "--config", str(there)) as sender,
    ):

        def connections() -> float:
            return scrape(program).sum("latency_receiver_link_connections_total")

        def flows() -> None:
            before = sum(scrape(program).matching("latency_receiver_events_total"))
            until(lambda: sum(scrape(program).matching("latency_receiver_events_total")) > before + 100, "events")

        flows()
        here.write_text(path("backbone", port, new, old, transport=transport))
        reload(program)
        flows()
        # The old connection fits one of the two keys, and stays.
        assert connections() - 1 <= silences(program, sender)
        there.write_text(destination(port, new, transport=transport))
        before = connections()
        reload(sender)
        until(lambda: connections() > before, "it comes with the new key")
        flows()
        here.write_text(path("backbone", port, new, transport=transport))
        reload(program)
        flows()
        assert connections() - 2 <= silences(program, sender)
        assert refusals(program) == {}
        # Whoever still has the old one stays outside.
        with forwarder(
            *("--feed-url", "ws://127.0.0.1:1", "--destination", f"127.0.0.1:{port}"),
            *("--transport", transport, "--key-file", str(old)),
        ) as late:
            late.wait_for_log('"reason": "key"')
        exchange.terminate()
        settled(sender, "latency_forwarder_feed_connected", 0)
        received = scrape(sender).sum("latency_forwarder_events_received_total")
        assert sum(scrape(sender).matching("latency_forwarder_events_dropped_total")) == 0
        got = delivered(program, received)
        program.terminate()
        assert OLD not in program.log + sender.log
        assert NEW not in program.log + sender.log
    numbers = [int(row["sequence_id"]) for row in rows_of(rows)]
    assert len(numbers) == len(set(numbers)) == got
    assert set(numbers) <= set(range(1, int(received) + 1))


def test_each_path_has_a_key_of_its_own_which_opens_no_other(tmp_path: Path) -> None:
    keys = {"one": keep(tmp_path / "one.key", OLD), "two": keep(tmp_path / "two.key", NEW)}
    ports = {name: free_port() for name in keys}
    config = tmp_path / "receiver.toml"
    config.write_text("".join(path(name, ports[name], key) for name, key in keys.items()))
    with receiver("--config", str(config)) as program:

        def connected(name: str) -> bool:
            return scrape(program).sum("latency_receiver_link_connected", path=name) == 1

        for name, other in (("one", "two"), ("two", "one")):
            to = ("--feed-url", "ws://127.0.0.1:1", "--destination", f"127.0.0.1:{ports[name]}")
            with forwarder(*to, "--key-file", str(keys[other])) as wrong:
                wrong.wait_for_log('"reason": "key"')
                assert not connected(name)
            with forwarder(*to, "--key-file", str(keys[name])):
                until(lambda name=name: connected(name), f"{name} is connected")  # type: ignore[misc]
            assert scrape(program).sum("latency_receiver_link_refusals_total", path=name, reason="key") >= 1


def test_two_forwarders_of_one_path_are_told_so_and_the_receiver_too(tmp_path: Path) -> None:
    key = keep(tmp_path / "link.key", OLD)
    port = free_port()
    config = tmp_path / "receiver.toml"
    config.write_text(path("backbone", port, key))
    to = ("--feed-url", "ws://127.0.0.1:1", "--destination", f"127.0.0.1:{port}", "--path-name", "backbone")
    with receiver("--config", str(config)) as program, forwarder(*to, "--key-file", str(key)) as first:
        first.wait_for_log('"event": "link connected"')
        assert scrape(first).sum("latency_forwarder_link_shared_total") == 0
        with forwarder(*to, "--key-file", str(key)) as second:
            for one in (first, second):
                line = json.loads(one.wait_for_log('"event": "other forwarders serve this path'))
                assert line["others"] == 1
                assert "give each link a path of its own" in line["remedy"]
                settled(one, "latency_forwarder_link_shared_total", 1)
            program.wait_for_log('"event": "several forwarders serve this path')
