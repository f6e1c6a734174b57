import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daemons.configuration.probe import RouteSection
from daemons.probe.checks.route import Hop, RouteError, RouteTracer, arguments, changed, hops
from tests.daemons.probe.probing import run


def hub(count: int, host: str, loss: Any = 0.0, average: Any = 1.5, worst: Any = 2.5) -> dict[str, Any]:
    return {"count": count, "host": host, "Loss%": loss, "Snt": 10, "Last": 1.0, "Avg": average, "Best": 1.0, "Wrst": worst, "StDev": 0.1}  # fmt: skip  # noqa: E501


def report(*hubs: dict[str, Any]) -> bytes:
    return json.dumps({"report": {"mtr": {"src": "vm", "dst": "10.1.1.10", "tests": 10}, "hubs": hubs}}).encode()


def test_a_report_is_read() -> None:
    found = hops(report(hub(1, "10.0.0.1"), hub(2, "???", 100.0, 0.0, 0.0), hub(3, "10.1.1.10", 20.0)), 30)
    assert found == (
        Hop(1, "10.0.0.1", 0.0, 1_500_000, 2_500_000),
        Hop(2, None, 1.0, None, None),
        Hop(3, "10.1.1.10", 0.2, 1_500_000, 2_500_000),
    )


def test_numbers_may_be_written_as_text() -> None:
    assert hops(report(hub(1, "a", "0.00", "1.50", "2.50")), 30)[0].average_ns == 1_500_000


def test_hops_are_bounded() -> None:
    assert len(hops(report(*(hub(count, "a") for count in range(1, 200))), 30)) == 30


@given(st.binary(max_size=200) | st.text().map(str.encode))
@example(b'{"report":' * 100_000)
@example(report(hub(1, "a", "0.00", "inf")))
@example(report(hub(1, "a", "0.00", "1e300")))
@example(report(hub(1, "a", "0.00", 1, "Infinity")))
@example(report(hub(1, "a", 100.1)))
@example(report(hub(1, "a\xe3")).decode("latin-1").encode("latin-1").replace(b"\\u00e3", b"\xe3"))
def test_other_output_is_refused(output: bytes) -> None:
    with pytest.raises(RouteError) as caught:
        hops(output, 30)
    assert caught.value.reason == "output"


def test_a_change_is_a_different_router_and_not_a_silent_one() -> None:
    one, two, other, silent = (
        Hop(1, "10.0.0.1", 0.0, 1, 1),
        Hop(2, "10.0.0.2", 0.0, 1, 1),
        Hop(2, "10.0.0.9", 0.0, 1, 1),
        Hop(2, None, 1.0, None, None),
    )
    assert not changed((one, two), (one, two))
    assert not changed((one, two), (one, silent))
    assert not changed((one, silent), (one, two))
    assert changed((one, two), (one, other))
    assert changed((one, two), (one,))


def test_the_command_line() -> None:
    section = RouteSection(target="10.1.1.10", cycles=5, protocol="tcp", source_address="10.0.0.2", interface="tun0")
    assert arguments(section) == [
        "mtr", "--json", "--no-dns", "--report-cycles", "5", "--max-ttl", "30", "--tcp", "--port", "443",
        "--address", "10.0.0.2", "--interface", "tun0", "10.1.1.10",
    ]  # fmt: skip


@pytest.mark.process
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (None, "missing"),
        ("#!/bin/sh\necho 'mtr: cannot' >&2; exit 1\n", "refused"),
        ("#!/bin/sh\necho '{}'\n", "output"),
    ],
)
def test_a_trace_that_fails_is_counted_and_hurts_nothing(tmp_path: Any, script: str | None, reason: str) -> None:
    command = tmp_path / "mtr"
    if script is not None:
        command.write_text(script)
        command.chmod(0o755)

    async def main() -> RouteTracer:
        tracer = RouteTracer(RouteSection(target="127.0.0.1", command=str(command)))
        tracer.slot(0, 0)
        tracer.slot(0, 2)
        await tracer.idle()
        await tracer.close()
        return tracer

    tracer = run(main)
    assert {key: count for key, count in tracer.failures.items() if count} == {reason: 1}
    assert (tracer.hops, tracer.traces, tracer.missed) == ((), 0, 3)
