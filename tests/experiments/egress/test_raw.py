import json
from pathlib import Path

import pytest

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
