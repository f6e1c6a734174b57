import json
import subprocess
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from experiments.egress.audit import audit, warm_samples
from experiments.egress.raw import find_raw_runs, load_raw_run
from experiments.errors import InputError

HEADER = "time_namelookup,time_connect,time_appconnect,time_starttransfer,time_total"
FRESH = "0.001,0.011,0.041,0.081,0.090"
REUSED = "0.00002,0.00002,0.00002,0.040,0.050"


def write(folder: Path, **changes: str) -> Path:
    files = {
        "latencies.txt": "0.090\n0.090\n",
        "latencies_keepalive.txt": "0.090\n0.050\n",
        "latencies_breakdown.csv": f"{HEADER}\n{FRESH}\n{FRESH}\n",
        "latencies_keepalive_breakdown.csv": f"{HEADER}\n{FRESH}\n{REUSED}\n",
        "latency_stats.json": json.dumps({"count": 2, "median": 90.0}),
    }
    for name, content in (files | {key.replace("__", "."): value for key, value in changes.items()}).items():
        (folder / name).write_text(content)
    return folder


def test_phases_are_differences_of_cumulative_times(tmp_path: Path) -> None:
    run = load_raw_run(write(tmp_path))
    assert run.cold.connect_ms.tolist() == pytest.approx([10, 10])
    assert run.cold.tls_ms.tolist() == pytest.approx([30, 30])
    assert run.cold.processing_ms.tolist() == pytest.approx([40, 40])
    assert run.warm.connected.tolist() == [True, False]
    assert (run.overlay_rtt_ms, run.route, run.identity) == (None, [], None)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"latencies__txt": "0.090\nfast\n"}, "latencies.txt:2: 'fast' is not a number of seconds"),
        ({"latencies__txt": "0.090\n90000\n"}, "latencies.txt:2: 90000 is no plausible number of seconds"),
        ({"latencies__txt": ""}, "latencies.txt:1: no samples"),
        ({"latencies__txt": "0.09\n0.09\n0.09\n"}, "latencies_breakdown.csv:3: 2 requests where latencies.txt has 3"),
        ({"latencies__txt": "0.090\n0.091\n"}, "latencies_breakdown.csv:3: time_total 0.09 is 0.091"),
        ({"latencies_breakdown__csv": "a,b\n"}, "latencies_breakdown.csv:1: columns a,b"),
        ({"latencies_breakdown__csv": f"{HEADER}\n{FRESH}\n0.001,0.0\n"}, "latencies_breakdown.csv:3: 2 fields"),
        (
            {"latencies_breakdown__csv": f"{HEADER}\n{FRESH}\n0.5,0.011,0.041,0.081,0.090\n"},
            "latencies_breakdown.csv:3: curl's times are cumulative",
        ),
        ({"latency_stats__json": "{"}, "latency_stats.json:1: not what is expected"),
        ({"overlay_rtt__txt": "100% packet loss\n"}, "overlay_rtt.txt:1: no line `rtt"),
    ],
)
def test_broken_files_are_refused_with_their_line(tmp_path: Path, changes: dict[str, str], where: str) -> None:
    with pytest.raises(InputError) as caught:
        load_raw_run(write(tmp_path, **changes))
    assert where in str(caught.value)


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no latencies\.txt"):
        find_raw_runs(tmp_path)


def rows(*lines: str) -> str:
    return "\n".join([HEADER, *lines]) + "\n"


def totals(*lines: str) -> str:
    return "".join(line.rpartition(",")[2] + "\n" for line in lines)


@pytest.mark.parametrize("refused", ["0,0,0,0,0.000487", "0.000016,0,0,0,0.001", "0.001,0.011,0,0,10.0", "0,0,0,0,0"])
def test_a_failed_request_is_counted_and_no_sample(tmp_path: Path, refused: str) -> None:
    lines = [FRESH, refused, REUSED, refused]
    run = load_raw_run(
        write(tmp_path, latencies_keepalive__txt=totals(*lines), latencies_keepalive_breakdown__csv=rows(*lines))
    )
    assert run.warm.failures == 2
    assert run.warm.answered.tolist() == [True, False, True, False]
    assert warm_samples(run).tolist() == pytest.approx([50])
    remarks = [remark.text for remark in audit(run).remarks]
    assert remarks[0].startswith("warm requests: 2 of 4 failed")


def test_sixty_failures_of_a_hundred_do_not_move_the_median(tmp_path: Path) -> None:
    lines = ["0,0,0,0,0.000487"] * 60 + ["0.00002,0.00002,0.00002,0.040,0.05585"] * 40
    changes = {"latencies_keepalive__txt": totals(*lines), "latencies_keepalive_breakdown__csv": rows(*lines)}
    published = json.dumps({"count": 100, "median": 0.49})
    audited = audit(load_raw_run(write(tmp_path, latency_stats_keepalive__json=published, **changes)))
    assert audited.warm.count == 40
    assert audited.warm.median == pytest.approx(55.85)
    (figure,) = [one for one in audited.figures if one.connection == "warm"]
    assert figure.reasons[0] == (
        "failed requests among the samples: 60 of 100 lines of latencies_keepalive.txt have no first byte, "
        "the first of them line 1"
    )


@pytest.mark.parametrize(
    ("line", "connected", "tls"),
    [
        ("0.000014,0.000000,0.000000,0.000167,0.000183", False, False),  # kept, as Debian 12's curl writes it
        ("0.000021,0.000021,0.000021,0.000167,0.000183", False, False),  # kept, as later ones do
        ("0.000014,0.000061,0.000000,0.000167,0.000183", True, False),  # new, plain http, over loopback
        ("0.000014,0.000061,0.001061,0.001167,0.001183", True, True),
    ],
)
def test_a_zero_is_a_phase_that_did_not_happen(tmp_path: Path, line: str, *, connected: bool, tls: bool) -> None:
    run = load_raw_run(
        write(tmp_path, latencies_keepalive__txt=totals(line), latencies_keepalive_breakdown__csv=rows(line))
    )
    assert run.warm.connected.tolist() == [connected]
    assert np.isnan(run.warm.connect_ms).tolist() == [not connected]
    assert np.isnan(run.warm.tls_ms).tolist() == [not tls]
    assert 0 < run.warm.processing_ms[0] < 0.2


def test_a_run_without_an_answer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="all 2 requests failed"):
        load_raw_run(
            write(tmp_path, latencies__txt="0.1\n0.2\n", latencies_breakdown__csv=rows("0,0,0,0,0.1", "0,0,0,0,0.2"))
        )


@pytest.mark.process
def test_what_curl_writes_of_new_and_kept_connections_is_understood(tmp_path: Path) -> None:
    """Ask the curl of this machine, the judge of its own zeros, for a new connection, a kept one, and a refused one."""
    file = tmp_path / "answer"
    file.write_text("hello")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}/answer"
    template = ",".join(f"%{{{column}}}" for column in HEADER.split(",")) + "\\n"
    curl = ["curl", "--silent", "--http1.1", "--output", "/dev/null", "--write-out", template]
    try:
        found = subprocess.run([*curl, url, "--output", "/dev/null", url], check=True, capture_output=True, text=True)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    refused = subprocess.run([*curl, url], check=False, capture_output=True, text=True)
    assert refused.returncode == 7
    lines = [*found.stdout.split(), *refused.stdout.split()]
    changes = {"latencies_keepalive__txt": totals(*lines), "latencies_keepalive_breakdown__csv": rows(*lines)}
    run = load_raw_run(write(tmp_path, **changes))
    assert run.warm.connected.tolist() == [True, False, False]
    assert run.warm.answered.tolist() == [True, True, False]
    assert np.isnan(run.warm.tls_ms).all()


class _Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: requests are what the test makes."""
