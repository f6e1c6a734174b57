"""latency-probe as a process: metrics, debug page, reload, and the measurement with an end."""

import base64
import csv
import json
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.daemons.probe.proxy import proxying
from tests.daemons.probe.server import Authority, Behaviour, serving
from tests.processes import Program, running, until
from tests.schemas import conforming

pytestmark = pytest.mark.process

MODULE = "daemons.probe.main"


def fetched(program: Program, path: str) -> str:
    with urllib.request.urlopen(f"http://{program.ready['metrics']}{path}", timeout=300) as answer:
        return str(answer.read().decode())


def metrics(program: Program) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(fetched(program, "/metrics"))
        for sample in family.samples
    }


def value(program: Program, name: str, **labels: str) -> float | None:
    return metrics(program).get((name, frozenset(labels.items())))


def config(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "probe.toml"
    file.write_text('[metrics]\nlisten = "127.0.0.1:0"\n' + text)
    return file


def target(name: str, port: int, authority: Authority, more: str = "", timeout_seconds: float = 10.0) -> str:
    return (
        f'[[target]]\nname = "{name}"\nurl = "https://localhost:{port}/"\nca_file = "{authority.file}"\n'
        f"interval_seconds = 0.1\ntimeout_seconds = {timeout_seconds}\n{more}\n"
    )


def test_the_daemon_probes_and_tells(authority: Authority, tmp_path: Path) -> None:
    with serving(authority.context()) as server:
        text = target("good", server.port, authority) + target(
            "bad", server.port, authority, 'connections = "cold"\nexpect = {regex = "nowhere"}'
        )
        with running(MODULE, "--config", str(config(tmp_path, text))) as program:
            assert program.ready["targets"] == ["bad", "good"]
            until(lambda: (value(program, "latency_probe_successes_total", target="good") or 0) >= 10, "ten successes")
            warm = {"target": "good", "connection": "warm"}
            until(lambda: (value(program, "latency_probe_total_seconds_count", **warm) or 0) > 0, "a warm one")
            failed = {"target": "bad", "reason": "body"}
            until(lambda: (value(program, "latency_probe_failures_total", **failed) or 0) > 0, "a failure")
            seen = metrics(program)

            def get(name: str, **labels: str) -> float:
                return seen[name, frozenset(labels.items())]

            for kind in ("cold", "warm"):
                labels = {"target": "good", "connection": kind}
                assert get("latency_probe_slots_total", **labels) == get(
                    "latency_probe_attempts_total", **labels
                ) + get("latency_probe_missed_slots_total", **labels)
                assert get("latency_probe_total_seconds_count", **labels) > 0
                assert get("latency_probe_scheduled_total_seconds_count", **labels) > 0
                assert get("latency_probe_phase_seconds_count", phase="processing", **labels) > 0
            assert get("latency_probe_phase_seconds_count", target="good", connection="cold", phase="tls") > 0
            assert (
                "latency_probe_phase_seconds_count",
                frozenset({("target", "good"), ("connection", "warm"), ("phase", "tls")}),
            ) not in seen
            assert get("latency_probe_success", target="good") == 1
            assert get("latency_probe_success", target="bad") == 0
            assert get("latency_probe_failures_total", target="bad", reason="body") > 0
            assert get("latency_probe_failures_total", target="good", reason="connect_timeout") == 0
            assert get("latency_probe_total_seconds_count", target="bad", connection="cold") == 0
            assert get("latency_probe_reconnects_total", target="good", reason="failed") == 0
            assert get("latency_probe_certificate_expiry_timestamp_seconds", target="good") > 1.7e9
            assert get("latency_probe_schedule_lag_seconds_count") > 0
            assert get("latency_probe_config_last_reload_successful") == 1
            info = [dict(labels) for name, labels in seen if name == "latency_probe_target_info"]
            assert {(one["target"], one["address"], one["tls_version"]) for one in info} == {
                ("good", "127.0.0.1", "TLSv1.3"),
                ("bad", "127.0.0.1", "TLSv1.3"),
            }
            assert "1 of 2 targets" in fetched(program, "/health")
            assert "# HELP latency_probe_phase_seconds " in fetched(program, "/metrics")


def test_the_debug_page_makes_an_attempt_and_explains_it(authority: Authority, tmp_path: Path) -> None:
    with serving(authority.context()) as server:
        text = target("api", server.port, authority) + target("hasty", server.port, authority, timeout_seconds=1.0)
        text = text.replace("interval_seconds = 0.1", "interval_seconds = 3600")
        with running(MODULE, "--config", str(config(tmp_path, text))) as program:
            until(lambda: len(server.seen.requests) >= 1, "the first slot")
            page = fetched(program, "/probe?target=api&debug=true")
            for expected in ("GET https://localhost", "tls_done", "processing", "total", "success", "TLSv1.3"):
                assert expected in page
            both = json.loads(fetched(program, "/probe?target=api&connection=warm"))
            assert [one["connection"] for one in both] == ["cold", "warm"]
            assert set(both[0]["phases_ms"]) == {"dns", "connect", "tls", "processing", "transfer"}
            assert set(both[1]["phases_ms"]) == {"processing", "transfer"}
            server.behaviour = Behaviour(hang="response")
            pages: list[str] = []

            def timed_out() -> bool:
                pages.append(fetched(program, "/probe?target=hasty&debug=true"))
                return "failed: timeout" in pages[-1]

            # On a machine that stands still it may be the handshake that takes too long.
            until(timed_out, "an answer that does not come")
            assert "not reached" in pages[-1]
            with pytest.raises(HTTPError) as caught:
                fetched(program, "/probe?target=nosuch")
            assert caught.value.code == 404
            assert "there are: api" in caught.value.read().decode()
            assert value(program, "latency_probe_attempts_total", target="api", connection="cold") == 1


def test_a_reload_keeps_what_did_not_change_and_refuses_what_is_wrong(authority: Authority, tmp_path: Path) -> None:
    with serving(authority.context()) as server:
        one, two, three = (target(name, server.port, authority) for name in ("one", "two", "three"))
        file = config(tmp_path, one + two)
        with running(MODULE, "--config", str(file)) as program:
            until(lambda: (value(program, "latency_probe_successes_total", target="one") or 0) >= 4, "successes")
            config(tmp_path, one + three)
            program.send_signal(signal.SIGHUP)
            until(lambda: (value(program, "latency_probe_successes_total", target="three") or 0) >= 1, "the new target")
            assert (value(program, "latency_probe_successes_total", target="one") or 0) >= 4
            assert not [labels for _name, labels in metrics(program) if ("target", "two") in labels]
            config(tmp_path, one + "[[target]]\nulr = 3\n")
            program.send_signal(signal.SIGHUP)
            until(lambda: value(program, "latency_probe_config_last_reload_successful") == 0, "the refusal")
            assert "did you mean `url`" in program.wait_for_log("reload refused")
            before = value(program, "latency_probe_successes_total", target="three") or 0
            until(lambda: (value(program, "latency_probe_successes_total", target="three") or 0) > before, "it goes on")


def test_a_reload_reads_the_files_behind_unchanged_sections(authority: Authority, tmp_path: Path) -> None:
    with (
        serving(authority.context()) as server,
        proxying(authorization=b"Basic " + base64.b64encode(b"measure:new")) as proxy,
    ):
        password, authorities = tmp_path / "proxy", tmp_path / "ca.pem"
        password.touch(mode=0o600)
        password.write_text("measure:old\n")
        authorities.write_bytes(authority.file.read_bytes())
        others = tmp_path / "other"
        others.mkdir()
        text = target("kept", server.port, authority) + (
            f'[[target]]\nname = "proxied"\nurl = "https://127.0.0.1:{server.port}/"\nca_file = "{authorities}"\n'
            f'proxy = "{proxy.url}"\nproxy_credentials_file = "{password}"\ninterval_seconds = 0.1\n'
        )

        def failures(reason: str) -> float:
            return value(program, "latency_probe_failures_total", target="proxied", reason=reason) or 0

        with running(MODULE, "--config", str(config(tmp_path, text))) as program:
            until(lambda: failures("proxy_authentication") >= 2, "refusals")
            until(lambda: (value(program, "latency_probe_successes_total", target="kept") or 0) >= 4, "successes")
            password.write_text("measure:new\n")
            program.send_signal(signal.SIGHUP)
            until(
                lambda: (value(program, "latency_probe_successes_total", target="proxied") or 0) >= 2,
                "the new password",
            )
            authorities.write_bytes(Authority(others).file.read_bytes())
            program.send_signal(signal.SIGHUP)
            until(lambda: failures("certificate") >= 1, "the new authorities")
            assert (value(program, "latency_probe_successes_total", target="kept") or 0) >= 4


def body(address: str, city: str) -> Behaviour:
    return Behaviour(body=json.dumps({"ip": address, "city": city, "country": "JP"}).encode())


def test_the_egress_identity_is_watched(authority: Authority, tmp_path: Path) -> None:
    with serving(authority.context()) as server:
        text = (
            f'[egress]\nurl = "https://localhost:{server.port}/json"\nca_file = "{authority.file}"\n'
            'interval_seconds = 0.1\nexpected_address = "35.76.36.216"\nexpected_city = "Tokyo"\n'
        )
        server.behaviour = body("35.76.36.216", "Tokyo")
        with running(MODULE, "--config", str(config(tmp_path, text))) as program:
            until(lambda: value(program, "latency_probe_egress_match", target="egress") == 1, "a match")
            assert value(program, "latency_probe_egress_changes_total", target="egress") == 0
            server.behaviour = body("54.254.160.207", "Singapore")
            until(lambda: value(program, "latency_probe_egress_match", target="egress") == 0, "a mismatch")
            assert value(program, "latency_probe_egress_changes_total", target="egress") == 1
            place = {"ip": "54.254.160.207", "city": "Singapore", "country": "JP"}
            assert value(program, "latency_probe_egress_info", target="egress", **place) == 1
            assert "address is 54.254.160.207 instead of 35.76.36.216" in program.wait_for_log("not the expected one")
            # An endpoint that fails is a failed attempt; what was last seen stays.
            server.behaviour = Behaviour(body=b"<html>")
            until(
                lambda: (value(program, "latency_probe_failures_total", target="egress", reason="body") or 0) > 0,
                "a failed check",
            )
            assert value(program, "latency_probe_egress_match", target="egress") == 0
            server.behaviour = body("35.76.36.216", "Tokyo")
            until(lambda: value(program, "latency_probe_egress_match", target="egress") == 1, "a match again")
            assert value(program, "latency_probe_egress_changes_total", target="egress") == 2


def once(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", MODULE, "--once", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_hundred_cold_and_a_hundred_warm(authority: Authority, tmp_path: Path) -> None:
    result_file, rows_file = tmp_path / "out.json", tmp_path / "out.csv"
    with serving(authority.context()) as server:
        done = once(
            "--target", f"https://localhost:{server.port}/", "--ca-file", str(authority.file),
            "--count", "100", "--interval", "0.03", "--timeout", "60",
            "--json", str(result_file), "--csv", str(rows_file),
        )  # fmt: skip
        assert server.seen.connections == 100
        assert len(server.seen.requests) == 200
    assert done.returncode == 0, done.stderr
    title, header, _rule, cold_row, warm_row, *rest = done.stdout.splitlines()
    assert title.startswith("localhost, ms")
    assert header.split()[:5] == ["requests", "of", "ok", "failed", "dns"]
    assert cold_row.split()[:4] == ["cold", "100", "100", "0"]
    assert warm_row.split()[:7] == ["warm", "100", "100", "0", "–", "–", "–"]
    assert rest == []

    found: dict[str, Any] = conforming(result_file.read_bytes(), "latency-probe-once")["targets"]["localhost"]
    cold, warm = found["connections"]["cold"], found["connections"]["warm"]
    assert (cold["attempts"], cold["total"]["sample_count"]) == (100, 100)
    assert (warm["attempts"], warm["total"]["sample_count"]) == (100, 100)
    assert set(cold["phases"]) == {"dns", "connect", "tls", "processing", "transfer"}
    assert set(warm["phases"]) == {"processing", "transfer"}
    assert warm["total"]["median_ms"] < cold["total"]["median_ms"]
    # daemons.measurement.percentile: a hundred are enough for the one and too few for the other.
    assert warm["total"]["p95_ms"] is not None
    assert warm["total"]["p99_ms"] is None
    assert found["reconnects"] == 0
    for slots in found["slots"].values():
        assert slots["expected"] == slots["sent"] + slots["missed"]

    with rows_file.open() as file:
        table = list(csv.DictReader(file))
    assert [row["connection"] for row in table].count("cold") == 100
    warm_rows = [row for row in table if row["connection"] == "warm"]
    assert len(warm_rows) == 100
    assert {(row["dns_ms"], row["connect_ms"], row["tls_ms"]) for row in warm_rows} == {("", "", "")}
    totals = sorted(float(row["total_ms"]) for row in warm_rows)
    assert warm["total"]["min_ms"] == pytest.approx(totals[0])
    assert warm["total"]["max_ms"] == pytest.approx(totals[-1])


def test_each_target_of_the_command_line_is_measured(authority: Authority, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    with serving(authority.context("localhost", "other.example")) as server:
        done = once(
            "--target", f"https://localhost:{server.port}/", "--target", f"https://other.example:{server.port}/",
            "--resolve", "other.example=127.0.0.1", "--ca-file", str(authority.file), "--connections", "cold",
            "--count", "2", "--interval", "0.01", "--json", str(file),
        )  # fmt: skip
        assert sorted(server.seen.hosts) == sorted([f"localhost:{server.port}", f"other.example:{server.port}"] * 2)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(file.read_text())["targets"]) == {"localhost", "other.example"}


def test_a_measurement_without_a_success_says_why_and_fails(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    done = once("--target", "https://127.0.0.1:1/", "--count", "2", "--interval", "0.05", "--json", str(file))
    assert done.returncode == 1
    assert "connect_refused: 127.0.0.1 (127.0.0.1:1)" in done.stdout
    connections = conforming(file.read_bytes(), "latency-probe-once")["targets"]["127.0.0.1"]["connections"]
    # Two of each were asked for: a warm request that finds no connection and can make none has failed.
    assert list(connections) == ["cold", "warm"]
    for one in connections.values():
        assert (one["attempts"], one["failures"], one["phases"]) == (2, {"connect_refused": 2}, {})
        assert one["total"]["avg_ms"] is None


def test_an_interrupted_measurement_keeps_what_was_measured(authority: Authority, tmp_path: Path) -> None:
    file, rows = tmp_path / "out.json", tmp_path / "out.csv"
    with serving(authority.context()) as server:
        asked = ("--target", f"https://localhost:{server.port}/", "--ca-file", str(authority.file))
        arguments = (*asked, "--interval", "0.05", "--count", "1000", "--json", str(file), "--csv", str(rows))
        with running(MODULE, "--once", *arguments, ready=None) as program:
            until(lambda: rows.exists() and rows.read_bytes().count(b"\n") > 5, "five answers")
            assert program.terminate() == 0
    kept = json.loads(file.read_text())["targets"]["localhost"]["connections"]["cold"]["total"]["sample_count"]
    assert kept == rows.read_bytes().count(b"\n") - 1 >= 5


def test_once_also_looks_at_the_egress_identity_and_the_route(authority: Authority, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    with serving(authority.context()) as server:
        server.behaviour = body("35.76.36.216", "Tokyo")
        text = (
            f'[egress]\nurl = "https://localhost:{server.port}/"\nca_file = "{authority.file}"\n'
            'expected_address = "35.76.36.217"\n[route]\ntarget = "127.0.0.1"\ncycles = 1\n'
        )
        done = once("--config", str(config(tmp_path, text)), "--json", str(file))
    assert done.returncode == 0, done.stderr
    found = conforming(file.read_bytes(), "latency-probe-once")
    assert found["targets"] == {}
    assert (found["egress"]["address"], found["egress"]["city"]) == ("35.76.36.216", "Tokyo")
    assert found["egress"]["mismatches"] == ["address is 35.76.36.216 instead of 35.76.36.217"]
    assert [hop["address"] for hop in found["route"]["hops"]] == ["127.0.0.1"]
    assert found["route"]["failure_details"] == {}
    said = " ".join(done.stdout.split())
    assert "egress: 35.76.36.216, Tokyo, JP, NOT as expected: address is 35.76.36.216 instead of 35.76.36.217" in said
    assert "route to 127.0.0.1, ms" in said
    assert "{" not in said


def test_once_without_an_identity_fails_and_says_why(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    text = '[egress]\nurl = "https://127.0.0.1:1/"\n[route]\ntarget = "127.0.0.1"\ncommand = "no-such-mtr"\n'
    done = once("--config", str(config(tmp_path, text)), "--json", str(file))
    assert done.returncode == 1
    found = conforming(file.read_bytes(), "latency-probe-once")
    assert found["egress"]["address"] is None
    assert set(found["egress"]["failure_details"]) == {"connect_refused"}
    assert found["route"]["hops"] == []
    assert found["route"]["failure_details"]["missing"].startswith("no-such-mtr: cannot be run")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "target: nothing to probe; add a [[target]], or give --target URL"),
        (("--interval", "1"), "--interval: there is no --target that it could belong to; write it into the file"),
        (("--resolve", "a=1.2.3.4"), "--resolve: there is no --target that it could belong to; write it into the file"),
        (
            ("--target", "https://a/", "--target", "https://b/", "--resolve", "c=1.2.3.4"),
            "target[0].resolve: 'c' is not the URL's host; pin 'a', or remove it",
        ),
        (
            ("--target", "https://a/1", "--target", "https://a/2"),
            "target.name: 'a' names 2 targets; give each a name of its own, in a file",
        ),
        (
            ("--target", "https://[a/", "--resolve", "a=1.2.3.4"),
            "--target: 'https://[a/' is not a URL: Invalid IPv6 URL; write https://HOST/PATH",
        ),
        (("--target", "https://a/", "--resolve", "a"), "--resolve: 'a' is no pin; write HOST=ADDRESS"),
        (("--target", "https://a/", "--json", "x"), "--json: a daemon has no end at which to write it; add --once"),
    ],
)
def test_impossible_flags_are_refused(arguments: tuple[str, ...], message: str) -> None:
    done = subprocess.run([sys.executable, "-m", MODULE, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, f"error: {message}\n")


def test_a_results_file_that_cannot_be_written_is_known_before_the_measurement(tmp_path: Path) -> None:
    done = once("--target", "https://127.0.0.1:1/", "--json", str(tmp_path / "no" / "such.json"))
    assert done.returncode == 5
    assert "cannot be written" in done.stderr


def test_a_disk_that_fills_up_during_the_measurement_is_told_at_its_end(authority: Authority, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    with serving(authority.context()) as server:
        command = [sys.executable, "-m", MODULE, "--once", "--target", f"https://localhost:{server.port}/"]
        command += ["--ca-file", str(authority.file), "--count", "5", "--interval", "0.01", "--csv", str(file)]
        # Room for the heading and a row or two.
        shell = f"ulimit -f 1; exec {shlex.join(command)}"
        done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 5, done.stderr
    assert f"{file}: cannot be written: File too large" in done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith(("cold", "warm"))]
    assert [row[:4] for row in rows] == [["cold", "5", "5", "0"], ["warm", "5", "5", "0"]]


def test_a_full_disk_is_told_before_the_measurement() -> None:
    done = once("--target", "https://127.0.0.1:1/", "--csv", "/dev/full")
    assert done.returncode == 5
    assert "/dev/full: cannot be written: No space left on device" in done.stderr


def test_check_config(authority: Authority, tmp_path: Path) -> None:
    file = config(tmp_path, target("a", 1, authority))
    command = [sys.executable, "-m", MODULE, "--check-config", "--config", str(file)]
    good = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (good.returncode, good.stdout) == (0, "the configuration is good\n")
    config(tmp_path, '[[target]]\nurl = "https://a/"\nca_file = "/nosuch.pem"\n')
    bad = subprocess.run(command, capture_output=True, text=True, check=False)
    assert bad.returncode == 2
    assert "/nosuch.pem: is missing" in bad.stderr
