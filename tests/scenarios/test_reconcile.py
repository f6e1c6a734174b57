"""Whatever dies, every event is delivered, dropped for a reason, or missing in its session: the sums are exact."""

import itertools
import json
import signal
import time
from pathlib import Path

import pytest

from tests.processes import Program, until
from tests.programs import Metrics, address_of, forwarder, free_port, receiver, rows_of, scrape, settled, simulator
from tests.stretches import stretches

pytestmark = pytest.mark.process

TCP, UDP = "tcp", "udp"


def config(tmp_path: Path, url: str, *destinations: tuple[int, str], more: str = "") -> tuple[str, ...]:
    """Write a forwarder's configuration that reconnects soon."""
    file = tmp_path / "forwarder.toml"
    text = f'[feed]\nurl = "ws://{url}"\n'
    for port, transport in destinations:
        text += (
            f'[[destination]]\naddress = "127.0.0.1:{port}"\ntransport = "{transport}"\n'
            f"reconnect_max_seconds = 0.2\n{more}"
        )
    file.write_text(text)
    return ("--config", str(file))


def assert_balanced(page: Metrics, port: int, total: int, *, dropped: int | None = 0) -> None:
    """See that the forwarder's books balance, with nothing left in the buffer."""
    link = f"127.0.0.1:{port}"
    assert page.sum("latency_forwarder_events_received_total") == total
    forwarded = page.sum("latency_forwarder_events_forwarded_total", link=link)
    given_up = page.sum("latency_forwarder_events_dropped_total", link=link)
    assert page.sum("latency_forwarder_buffer_events", link=link) == 0
    assert forwarded + given_up == total
    if dropped is not None:
        assert given_up == dropped


def through(page: Metrics, port: int) -> float:
    """Return how many events a link has done with: forwarded or given up."""
    link = f"127.0.0.1:{port}"
    return page.sum("latency_forwarder_events_forwarded_total", link=link) + page.sum(
        "latency_forwarder_events_dropped_total", link=link
    )


def flowing(program: Program) -> None:
    """Wait until events arrive at a receiver."""
    until(lambda: bool(scrape(program).by("latency_receiver_events_total", "stream")), "events flow")


def more(program: Program, count: int) -> None:
    """Wait until a forwarder has got so many events more."""
    name = "latency_forwarder_events_received_total"
    goal = scrape(program).sum(name) + count
    until(lambda: scrape(program).sum(name) >= goal, f"{count} more events")


def written(tmp_path: Path, number: int) -> None:
    """Wait until a life's rows reach the disk, over each transport."""
    for transport in (TCP, UDP):
        file = tmp_path / f"{transport}-{number}.csv"
        until(lambda file=file: file.read_text().count("\n") > 1, f"rows in {file}")  # type: ignore[misc]


def cut_off(file: Path) -> None:
    """Take away the half row that a write may have left which a kill broke off."""
    text = file.read_bytes()
    file.write_bytes(text[: text.rfind(b"\n") + 1])


def done(program: Program, port: int, total: int) -> None:
    """Wait until a link has done with all events."""
    until(lambda: through(scrape(program), port) == total, f"all {total} events are delivered or given up")


def life(tmp_path: Path, transport: str, port: int, number: int) -> tuple[str, ...]:
    name = tmp_path / f"{transport}-{number}"
    return (
        *("--mode", "aws-backbone", "--transport", transport, "--listen", f"127.0.0.1:{port}"),
        *("--output", f"{name}.json", "--csv-output", f"{name}.csv"),
    )


def test_kill_the_receiver_three_times(tmp_path: Path) -> None:
    """At 1,000 events a second, over TCP and UDP at once; each time it stays away for 3 s."""
    ports = {TCP: free_port(), UDP: free_port()}
    with (
        simulator("--rate", "1000", "--wait-for-clients", "1") as exchange,
        forwarder(
            *config(tmp_path, exchange.ready["near"], (ports[TCP], TCP), (ports[UDP], UDP)),
        ) as program,
    ):
        waiting = 0.0
        for number in range(3):
            with (
                receiver(*life(tmp_path, TCP, ports[TCP], number)) as over_tcp,
                receiver(*life(tmp_path, UDP, ports[UDP], number)) as over_udp,
            ):
                flowing(over_tcp)
                flowing(over_udp)
                more(program, 500)
                written(tmp_path, number)
                over_tcp.kill()
                over_udp.kill()
            for transport in (TCP, UDP):
                cut_off(tmp_path / f"{transport}-{number}.csv")
            settled(program, "latency_forwarder_link_connected", 0)
            waiting = scrape(program).sum("latency_forwarder_events_received_total")
            # The outage is the subject here and no synchronisation.
            time.sleep(3)
            waiting = scrape(program).sum("latency_forwarder_events_received_total") - waiting
        with (
            receiver(*life(tmp_path, TCP, ports[TCP], 3)) as over_tcp,
            receiver(*life(tmp_path, UDP, ports[UDP], 3)) as over_udp,
        ):
            flowing(over_tcp)
            flowing(over_udp)
            exchange.terminate()
            total = exchange.last_json()["near"]["messages_sent"]
            settled(program, "latency_forwarder_events_received_total", total)
            for port in ports.values():
                done(program, port, total)
                assert_balanced(scrape(program), port, total)
            # Its last word is how far it got, so that what is missing at the end is seen over UDP too.
            program.terminate()
            for one in (over_tcp, over_udp):
                one.wait_for_log("forwarder disconnected")
                one.terminate()
    for transport in (TCP, UDP):
        path = json.loads((tmp_path / f"{transport}-3.json").read_text())["paths"]["backbone"]
        lives = [
            [int(row["sequence_id"]) for row in rows_of(tmp_path / f"{transport}-{number}.csv")] for number in range(4)
        ]
        # The last life's own book: what it began after, what came, what is missing, add up to all there was.
        base = total - path["unique"] - path["events_lost"]
        assert path["unique"] == len(set(lives[3]))
        assert min(lives[3]) > base
        if transport == TCP:
            assert path["events_lost"] == 0
            for numbers in lives:
                assert stretches(numbers) == [(numbers[0], numbers[-1])]
            # Each life began where the one before had acknowledged, or before: what is in no file was processed by a
            # life whose last rows had not reached the disk, for the next one was told to begin after it.
            unwritten = set(range(1, total + 1)).difference(*lives)
            tails = [range(old[-1] + 1, new[0]) for old, new in itertools.pairwise(lives)]
            assert unwritten == set().union(*tails)
        else:
            # Sent to a receiver that was already dead: missing in the session, and nowhere else.
            assert path["events_lost"] == len(set(range(base + 1, total + 1)) - set(lives[3]))
        delayed = [row for row in rows_of(tmp_path / f"{transport}-3.csv") if row["delayed"] == "1"]
        # All that came in the last outage waited: about 3 s of 1,000 a second.
        assert len(delayed) >= waiting > 0
        assert path["delayed"] == len(delayed)


@pytest.mark.parametrize("transport", [TCP, UDP])
def test_a_link_down_for_longer_than_the_buffer(tmp_path: Path, transport: str) -> None:
    total, port = 6_000, free_port()
    with (
        simulator("--rate", "2000", "--wait-for-clients", "1", "--stop-after-events", str(total)) as exchange,
        forwarder(
            *config(tmp_path, exchange.ready["near"], (port, transport), more="buffer_events = 700\n"),
        ) as program,
    ):
        settled(program, "latency_forwarder_events_received_total", total)
        page = scrape(program)
        assert page.by("latency_forwarder_events_dropped_total", "reason") == {"count": total - 700}
        with receiver(*life(tmp_path, transport, port, 0)) as late:
            done(program, port, total)
            assert_balanced(scrape(program), port, total, dropped=total - 700)
            # Over UDP it is told by number, over TCP whatever is missing can be nothing else.
            settled(late, "latency_receiver_events_total", 700)
            settled(late, "latency_receiver_given_up_events_total", total - 700)
            assert scrape(late).sum("latency_receiver_sequence_gap_events_total") == 0
            late.terminate()
    path = json.loads((tmp_path / f"{transport}-0.json").read_text())["paths"]["backbone"]
    # What the forwarder gave up is told to the number, and is no loss of the way.
    assert (path["unique"], path["events_lost"], path["delayed"]) == (700, 0, 700)
    assert path["given_up_by_forwarder"] == total - 700
    assert path["link"]["peer_drops"] == {"count": total - 700}


@pytest.mark.parametrize("transport", [TCP, UDP])
def test_a_timed_run_beside_a_forwarder_long_up_loses_nothing_of_before(tmp_path: Path, transport: str) -> None:
    """Whatever the forwarder gave up before the run began is told apart, by number, and is no loss of the way."""
    total, port = 12_000, free_port()
    with (
        simulator("--rate", "1000", "--wait-for-clients", "1", "--stop-after-events", str(total)) as exchange,
        forwarder(
            *config(tmp_path, exchange.ready["near"], (port, transport), more="buffer_events = 300\n"),
        ) as program,
    ):
        more(program, 1_500)
        with receiver(*life(tmp_path, transport, port, 0), "--duration", "4s") as timed:
            assert timed.wait(300) == 0
    path = json.loads((tmp_path / f"{transport}-0.json").read_text())["paths"]["backbone"]
    assert path["unique"] > 0
    assert (path["events_lost"], path["duplicates"], path["sessions"]) == (0, 0, 1)
    assert path["given_up_by_forwarder"] >= 1_500 - 300


def test_events_too_old_are_given_up_by_age(tmp_path: Path) -> None:
    total, port = 1_000, free_port()
    with (
        simulator("--rate", "1000", "--wait-for-clients", "1", "--stop-after-events", str(total)) as exchange,
        forwarder(
            *config(tmp_path, exchange.ready["near"], (port, TCP), more="buffer_seconds = 0.5\n"),
        ) as program,
    ):
        settled(program, "latency_forwarder_events_dropped_total", total, reason="age")
        assert_balanced(scrape(program), port, total, dropped=total)


def test_a_receiver_that_hangs_loses_nothing(tmp_path: Path) -> None:
    """Stopped, not killed: the link swallows events until the forwarder gives it up as silent."""
    total, port = 10_000, free_port()
    with (
        simulator("--rate", "1000", "--wait-for-clients", "1", "--stop-after-events", str(total)) as exchange,
        receiver(*life(tmp_path, TCP, port, 0)) as hanging,
        forwarder(*config(tmp_path, exchange.ready["near"], (port, TCP))) as program,
    ):
        flowing(hanging)
        hanging.send_signal(signal.SIGSTOP)
        try:
            program.wait_for_log('"reason": "silent"')
        finally:
            hanging.send_signal(signal.SIGCONT)
        done(program, port, total)
        assert_balanced(scrape(program), port, total)
        hanging.terminate()
    path = json.loads((tmp_path / "tcp-0.json").read_text())["paths"]["backbone"]
    assert (path["unique"], path["events_lost"], path["sessions"]) == (total, 0, 1)
    assert path["events"] == total + path["duplicates"]


def test_kill_the_forwarder(tmp_path: Path) -> None:
    """Each of its lives is a session: the end of one is no gap in the next."""
    port = free_port()
    before = 0.0
    with receiver(*life(tmp_path, TCP, port, 0)) as program:
        for total, kill in ((5_000, True), (1_000, False)):
            with (
                simulator("--rate", "2000", "--wait-for-clients", "1", "--stop-after-events", str(total)) as exchange,
                forwarder(*config(tmp_path, exchange.ready["near"], (port, TCP))) as sender,
            ):
                if kill:
                    flowing(program)
                    sender.kill()
                    # The end of a connection is seen after all that came before it.
                    settled(program, "latency_receiver_link_connected", 0)
                    before = scrape(program).sum("latency_receiver_events_total")
                else:
                    settled(program, "latency_receiver_events_total", before + 1_000)
                    settled(sender, "latency_forwarder_events_forwarded_total", 1_000)
        program.terminate()
    path = json.loads((tmp_path / "tcp-0.json").read_text())["paths"]["backbone"]
    assert (path["sessions"], path["events_lost"], path["duplicates"]) == (2, 0, 0)
    assert path["unique"] == path["events"] == before + 1_000


def test_only_book_tickers(tmp_path: Path) -> None:
    """Spot @bookTicker has no event time: everything but end-to-end latency is measured all the same."""
    total, output = 2_000, tmp_path / "race.json"
    with (
        simulator(
            *("--stream", "btcusdt@bookTicker", "--rate", "1000", "--wait-for-clients", "2"),
            *("--stop-after-events", str(total)),
        ) as exchange,
        receiver(
            *("--mode", "race", "--feed-url", f"ws://{exchange.ready['near']}", "--stream", "btcusdt@bookTicker"),
            *("--output", str(output)),
        ) as program,
        forwarder(
            *("--feed-url", f"ws://{exchange.ready['near']}", "--stream", "btcusdt@bookTicker"),
            *("--destination", address_of(program), "--path-name", "backbone"),
        ),
    ):
        for path in ("direct", "backbone"):
            settled(program, "latency_receiver_events_total", total, path=path)
        program.terminate()
    summary = json.loads(output.read_text())
    assert (summary["sample_count"], summary["avg_latency_ms"], summary["jitter_stddev_ms"]) == (0, None, None)
    assert summary["backbone_median_latency_ms"] > 0
    for path in summary["paths"].values():
        assert path["without_event_time"] == total
        assert (path["unique"] if path["kind"] == "link" else path["events"]) == total
        assert path["events_lost"] == 0
    (race,) = summary["race"]
    assert (race["path"], race["reference"]) == ("backbone", "direct")
    assert race["pairs"] + race["excluded"] == total
    assert race["wins"] + race["reference_wins"] + race["ties"] == race["pairs"]
    assert (race["only_path"], race["only_reference"]) == (0, 0)
    assert race["lead_ms"]["median"] is not None
