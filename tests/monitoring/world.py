"""A desk for some ten minutes: what its three daemons did, event by event, and the pages that were scraped of it.

One receiver with a feed and a link, a forwarder, a probe. The receiver restarts, then much is wrong at once, and for a
while nobody scrapes.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from daemons.measurement.histogram import octaves, signed
from daemons.service.metrics.page import HistogramFamily
from tests.monitoring.history import START, History

__all__ = ["ALONE", "CALM", "GAP", "MOMENTS", "RESTARTED", "SECONDS", "TARGETS", "TROUBLE", "World", "desk"]

SECONDS = 700.0
SCRAPE = 5.0
CALM, RESTARTED, GAP, TROUBLE = 300.0, 430.0, 645.0, 690.0
MOMENTS = {"calm": CALM, "restarted": RESTARTED, "after a gap": GAP, "trouble": TROUBLE}
WRONG_SINCE = 450.0
RECEIVER_DOWN = (392.0, 400.0)
UNSCRAPED = (600.0, 640.0)
TARGETS = {
    role: {"role": role, "instance": f"{role}:1", "host": host, "job": "latency", "deployment": "world"}
    for role, host in (("receiver", "desk"), ("forwarder", "tokyo"), ("probe", "desk"))
}
STRAYS = {"osaka": ("forwarder", 350.0, SECONDS), "seoul": ("probe", SECONDS, 200.0)}
"""Targets of which one ends and one is taken away: role, and when, by host."""
ALONE = SECONDS + 400.0
"""When nobody has asked or evaluated anything for longer than Prometheus looks back."""
_BOUNDS = {"lead": signed(octaves(-16, 3))}
_DELAYS = octaves(-20, 4)
Row = tuple[float, float]


@dataclass(frozen=True)
class Family:
    """A metric: of a daemon, of a kind, with labels."""

    role: str
    kind: str
    labels: tuple[str, ...]


class World:
    """What happened at all daemons, by metric; and the pages.

    Attributes:
        families: by metric's name and role.
        histories: by role.
        strays: of targets of which nothing but their answers is known, by host.
    """

    def __init__(self) -> None:
        self.families: dict[tuple[str, str], Family] = {}
        self.histories = {role: History("world", SCRAPE) for role in TARGETS}
        self.strays = {host: History("world", SCRAPE) for host in STRAYS}
        self.rng = random.Random(7)

    def add(self, role: str, kind: str, name: str, labels: dict[str, str], rows: Sequence[Row]) -> None:
        """Write down when a series moved, by how much (counter, histogram), or to what (gauge)."""
        self.families[name, role] = Family(role, kind, tuple(labels))
        history = self.histories[role]
        if role == "receiver" and kind == "gauge":
            # A new life states it anew.
            before = [value for moment, value in sorted(rows) if moment <= RECEIVER_DOWN[1]]
            rows = [*rows, *[(RECEIVER_DOWN[1], value) for value in before[-1:]]]
        # That it exists is seen even when nothing happens.
        history.note(name, -1.0, -1, 0.0, *labels.values())
        for moment, value in sorted(rows):
            if not (role == "receiver" and kind != "gauge" and RECEIVER_DOWN[0] <= moment < RECEIVER_DOWN[1]):
                history.note(name, moment, self.life(role, moment), value, *labels.values())

    @staticmethod
    def life(role: str, moment: float) -> int:
        """Return the number of the daemon's life."""
        return int(role == "receiver" and moment >= RECEIVER_DOWN[1])

    def steady(self, rate: float, since: float = 0.0, until: float = SECONDS, value: float = 1.0) -> list[Row]:
        """Make events at random moments, so many a second."""
        count = round(rate * (until - since))
        return [(self.rng.uniform(since, until), value) for _each in range(count)]

    def spread(self, rate: float, low: float, high: float, since: float = 0.0, until: float = SECONDS) -> list[Row]:
        """Make observations between two values."""
        return [(moment, self.rng.uniform(low, high)) for moment, _one in self.steady(rate, since, until)]

    def scrape(self) -> None:
        """Write all pages."""
        for role, history in self.histories.items():
            pages = _Pages(self, role, history)
            for index in range(1, int(SECONDS / SCRAPE) + 1):
                moment = index * SCRAPE - 0.0625
                if UNSCRAPED[0] <= moment < UNSCRAPED[1]:
                    continue
                down = role == "receiver" and RECEIVER_DOWN[0] <= moment < RECEIVER_DOWN[1]
                labels = {key: TARGETS[role][key] for key in ("role", "instance", "host")}
                history.answers.append((moment, float(not down)))
                if down:
                    history.pages.append((START + moment, "up 0\n", labels))
                    continue
                history.pages.append((START + moment, pages.page(moment) + "up 1\n", labels))
                history.scrapes.add(moment, self.life(role, moment))
        for host, history in self.strays.items():
            role, down_since, removed = STRAYS[host]
            labels = {"role": role, "instance": f"{host}:1", "host": host}
            for index in range(1, int(min(SECONDS, removed) / SCRAPE) + 1):
                moment = index * SCRAPE - 0.0625
                answer = float(moment < down_since)
                history.answers.append((moment, answer))
                history.pages.append((START + moment, f"up {answer:g}\n", labels))

    def up(self, moment: float, seconds: float = 300.0) -> dict[tuple[str, str], list[float]]:
        """Return by role and host what the targets answered in the time before, oldest first."""
        known = {(role, TARGETS[role]["host"]): history for role, history in self.histories.items()}
        known |= {(STRAYS[host][0], host): history for host, history in self.strays.items()}
        recent = {
            key: [answer for time, answer in history.answers if moment - seconds < time <= moment]
            for key, history in known.items()
        }
        return {key: answers for key, answers in recent.items() if answers}


class _Pages:
    """One daemon's page, as it grows."""

    def __init__(self, world: World, role: str, history: History) -> None:
        self._world, self._role, self._history = world, role, history
        self._rows = sorted(
            (moment, name, labels, value)
            for name, own in world.families
            if own == role
            for labels in history.labels(name)
            for moment, _life, value in history.rows(name, labels)
            if moment >= 0
        )
        self._next = 0
        self._life = -1
        self._values: dict[tuple[str, tuple[str, ...]], float] = {}
        self._histograms: dict[str, HistogramFamily] = {}

    def page(self, moment: float) -> str:
        """Return the page at a moment; they ascend."""
        while self._next < len(self._rows) and self._rows[self._next][0] <= moment:
            at, name, labels, value = self._rows[self._next]
            self._next += 1
            self._live(self._world.life(self._role, at))
            kind = self._world.families[name, self._role].kind
            if kind == "histogram":
                self._histograms[name].labels(*labels).observe(round(value * 1e9))
            else:
                before = self._values[name, labels] if kind == "counter" else 0.0
                self._values[name, labels] = before + value
        self._live(self._world.life(self._role, moment))
        return "".join(self._text())

    def _live(self, life: int) -> None:
        if life == self._life:
            return
        self._life = life
        for (name, role), family in self._world.families.items():
            if role != self._role:
                continue
            if family.kind == "histogram":
                bounds = _BOUNDS["lead"] if "lead" in name else _DELAYS
                self._histograms[name] = made = HistogramFamily(name, "", family.labels, bounds)
                for labels in self._history.labels(name):
                    made.labels(*labels)
            elif family.kind == "counter":
                self._values |= {(name, labels): 0.0 for labels in self._history.labels(name)}

    def _text(self) -> Iterator[str]:
        for (name, labels), value in self._values.items():
            names = self._world.families[name, self._role].labels
            own = ",".join(f'{key}="{each}"' for key, each in zip(names, labels, strict=True))
            yield f"{name}{{{own}}} {value!r}\n" if own else f"{name} {value!r}\n"
        for family in self._histograms.values():
            yield from (piece.decode() for piece in family.render())


def desk() -> World:
    """Make the desk."""
    world = World()
    for fill in (_events, _troubles, _tails, _race, _clocks, _links, _tcp, _forwarder, _probe, _way_out, _daemons):
        fill(world)
    world.scrape()
    return world


PATHS = {"direct": (0.118, 0.130), "backbone": (0.100, 0.108)}
STREAMS = ("btcusdt@trade", "btcusdt@bookTicker")
_R = "latency_receiver"


def _events(world: World) -> None:
    for path, (low, high) in PATHS.items():
        for stream in STREAMS:
            labels = {"path": path, "stream": stream}
            # The link is cut for a while.
            spans = [(0.0, 450.0), (500.0, SECONDS)] if path == "backbone" else [(0.0, SECONDS)]
            rows = [row for since, until in spans for row in world.spread(6, low, high, since, until)]
            world.add("receiver", "counter", f"{_R}_events_total", labels, [(moment, 1.0) for moment, _value in rows])
            world.add("receiver", "histogram", f"{_R}_end_to_end_seconds", labels, rows)
            if path == "backbone":
                inner = [(moment, value - 0.001) for moment, value in rows]
                world.add("receiver", "histogram", f"{_R}_backbone_seconds", labels, inner)
            high_jitter = 0.009 if path == "direct" else 0.001
            jitter = [
                (moment, world.rng.uniform(0.0006, 0.001) if moment < WRONG_SINCE else high_jitter)
                for moment in range(1, int(SECONDS), 3)
            ]
            world.add("receiver", "gauge", f"{_R}_jitter_seconds", labels, jitter)
        world.add("receiver", "histogram", f"{_R}_host_delay_seconds", {"path": path}, world.spread(9, 20e-6, 900e-6))
        ends = [450.0, 500.0] if path == "backbone" else []
        seen = [float(moment) for moment in range(1, int(SECONDS)) if not (ends and ends[0] <= moment < ends[1])]
        world.add(
            "receiver",
            "gauge",
            "latency_last_event_timestamp_seconds",
            {"path": path},
            [(moment, START + moment) for moment in seen],
        )


def _troubles(world: World) -> None:
    wrong = WRONG_SINCE
    for path in PATHS:
        for name, rate in (
            ("sequence_gap_events", 0.2),
            ("late_events", 0.05),
            ("given_up_events", 0.1),
            ("stale_events", 0.03),
            ("sequence_leaps", 0.01),
            ("delayed_events", 0.3),
            ("duplicate_events", 0.2),
            ("reordered_events", 0.4),
            ("socket_dropped_datagrams", 0.1),
            ("unpaired_events", 0.5),
        ):
            rows = world.steady(rate, wrong) if path == "backbone" else []
            world.add("receiver", "counter", f"{_R}_{name}_total", {"path": path}, rows)
        for reason, rate in (("negative_backbone", 0.2), ("malformed", 0.1)):
            rows = world.steady(rate, wrong) if path == "backbone" else []
            world.add("receiver", "counter", f"{_R}_invalid_events_total", {"path": path, "reason": reason}, rows)
        for kind, rate in (("kernel", 10.0), ("shared", 2.0)):
            world.add("receiver", "counter", f"{_R}_stamps_total", {"path": path, "kind": kind}, world.steady(rate))
        for reason, rate in (("key", 0.1), ("source", 0.3)):
            rows = world.steady(rate, wrong) if path == "backbone" else []
            world.add("receiver", "counter", f"{_R}_link_refusals_total", {"path": path, "reason": reason}, rows)
        for reason in ("age", "notice"):
            rows = world.steady(0.02, wrong) if (path, reason) == ("direct", "notice") else []
            world.add("receiver", "counter", "latency_feed_replacements_total", {"path": path, "reason": reason}, rows)
        world.add("receiver", "counter", "latency_feed_notices_total", {"path": path}, world.steady(0.02, wrong))
        for stream in STREAMS:
            labels = {"path": path, "stream": stream}
            world.add("receiver", "counter", "latency_feed_id_resets_total", labels, world.steady(0.01, wrong))
        silent = [(0.0, 0.0), (wrong, 1.0)] if path == "direct" else [(0.0, 0.0)]
        world.add("receiver", "gauge", "latency_feed_silent_streams", {"path": path}, silent)
    for side in ("direct", "backbone"):
        rows = world.steady(0.02, wrong)
        world.add("receiver", "counter", f"{_R}_reconnects_total", {"side": side, "reason": "closed"}, rows)
    world.add("receiver", "counter", f"{_R}_result_write_errors_total", {}, world.steady(0.1, wrong))
    for operation in ("journal", "finish"):
        rows = world.steady(0.1, wrong) if operation == "journal" else []
        world.add("receiver", "counter", f"{_R}_archive_errors_total", {"operation": operation}, rows)


def _tails(world: World) -> None:
    for path in PATHS:
        for cause, rows in (("receiver_busy", []), ("network", world.steady(0.05))):
            labels = {"path": path, "cause": cause}
            world.add("receiver", "counter", f"{_R}_tail_events_total", labels, rows)


def _race(world: World) -> None:
    rows = [(moment, 0.018 if world.rng.random() < 0.4 else -0.006) for moment, _one in world.steady(6)]
    for path, reference, sign in (("backbone", "direct", 1), ("direct", "backbone", -1)):
        labels = {"path": path, "reference": reference}
        won = [(moment, abs(value)) for moment, value in rows if value * sign > 0]
        world.add("receiver", "counter", f"{_R}_path_wins_total", labels, [(moment, 1.0) for moment, _lead in won])
        world.add("receiver", "counter", f"{_R}_path_ahead_seconds_total", labels, won)
    pair = {"path": "backbone", "reference": "direct"}
    world.add("receiver", "histogram", f"{_R}_path_lead_seconds", pair, rows)
    world.add("receiver", "counter", f"{_R}_race_excluded_events_total", pair, world.steady(0.2, WRONG_SINCE))


def _clocks(world: World) -> None:
    for role, bound in (("receiver", 0.0002), ("forwarder", 0.0003)):
        prefix = f"latency_{role}"
        later = (WRONG_SINCE, 0.02) if role == "receiver" else (WRONG_SINCE, 0.0003)
        world.add(role, "gauge", f"{prefix}_clock_error_bound_seconds", {}, [(0.0, bound), later])
        world.add(role, "gauge", f"{prefix}_clock_offset_seconds", {}, [(0.0, 3e-5), (WRONG_SINCE, -4e-5)])
        kept = [(0.0, 1.0), (WRONG_SINCE, 0.0)] if role == "forwarder" else [(0.0, 1.0)]
        world.add(role, "gauge", f"{prefix}_clock_synchronized", {}, kept)
        world.add(role, "counter", f"{prefix}_clock_steps_total", {}, world.steady(0.03, WRONG_SINCE))
    link = {"path": "backbone"}
    world.add("receiver", "gauge", f"{_R}_peer_clock_error_bound_seconds", link, [(0.0, 0.0003)])
    world.add("receiver", "gauge", f"{_R}_peer_clock_synchronized", link, [(0.0, 1.0), (WRONG_SINCE, 0.0)])
    world.add("receiver", "gauge", f"{_R}_clock_suspect", link, [(0.0, 0.0), (WRONG_SINCE, 1.0)])
    world.add("receiver", "gauge", f"{_R}_link_clock_offset_seconds", link, [(0.0, 2e-5), (500.0, 9e-5)])
    world.add("receiver", "gauge", f"{_R}_link_clock_offset_error_seconds", link, [(0.0, 0.101), (500.0, 0.102)])
    world.add("receiver", "histogram", f"{_R}_link_rtt_seconds", link, world.spread(1, 0.2, 0.22))


def _links(world: World) -> None:
    world.add("receiver", "gauge", f"{_R}_feed_connected", {"path": "direct"}, [(0.0, 1.0), (660.0, 0.0)])
    rows = [(0.0, 1.0), (450.0, 0.0), (500.0, 1.0), (670.0, 0.0), (675.0, 0.0)]
    world.add("receiver", "gauge", f"{_R}_link_connected", {"path": "backbone"}, rows)


def _tcp(world: World) -> None:
    for role, side in (("receiver", "direct"), ("forwarder", "feed"), ("forwarder", "192.0.2.1:1")):
        own = {"side": side}
        world.add(role, "gauge", "latency_tcp_rtt_seconds", own, [(0.0, 0.21), (500.0, 0.23)])
        world.add(role, "gauge", "latency_tcp_least_rtt_seconds", own, [(0.0, 0.2)])
        world.add(role, "gauge", "latency_tcp_send_queue_bytes", own, [(0.0, 0.0), (WRONG_SINCE, 30_000.0)])
        for name in ("retransmitted_segments", "out_of_order_segments", "reorderings"):
            world.add(role, "counter", f"latency_tcp_{name}_total", own, world.steady(0.1, WRONG_SINCE))


def _forwarder(world: World) -> None:
    f = "latency_forwarder"
    for stream in STREAMS:
        world.add("forwarder", "counter", f"{f}_events_received_total", {"stream": stream}, world.steady(6))
    for link in ("192.0.2.1:1", "192.0.2.2:1"):
        own = {"link": link}
        full = link == "192.0.2.2:1"
        world.add("forwarder", "counter", f"{f}_events_forwarded_total", own, world.steady(5))
        for reason in ("full", "old"):
            rows = world.steady(0.2, WRONG_SINCE) if full else []
            world.add("forwarder", "counter", f"{f}_events_dropped_total", {**own, "reason": reason}, rows)
        rows = world.steady(0.05, WRONG_SINCE)
        world.add("forwarder", "counter", f"{f}_reconnects_total", {"side": link, "reason": "lost"}, rows)
        world.add("forwarder", "counter", f"{f}_datagrams_refused_total", own, rows)
        world.add("forwarder", "counter", f"{f}_link_shared_total", own, world.steady(0.02, WRONG_SINCE))
        world.add("forwarder", "histogram", f"{f}_hold_seconds", own, world.spread(5, 30e-6, 400e-6))
        world.add("forwarder", "gauge", f"{f}_buffer_capacity_events", own, [(0.0, 1000.0)])
        filling = [(0.0, 3.0), (WRONG_SINCE, 400.0)] if full else [(0.0, 3.0)]
        world.add("forwarder", "gauge", f"{f}_buffer_events", own, filling)
        world.add("forwarder", "gauge", f"{f}_link_connected", own, [(0.0, 1.0), (WRONG_SINCE, 0.0 if full else 1.0)])
    for name, reason in (("events_invalid", "malformed"), ("invalid_delays", "negative")):
        rows = world.steady(0.1, WRONG_SINCE)
        world.add("forwarder", "counter", f"{f}_{name}_total", {"reason": reason}, rows)
    world.add("forwarder", "gauge", f"{f}_feed_connected", {}, [(0.0, 1.0), (660.0, 0.0)])
    stopped = [(float(moment), START + moment) for moment in range(1, 620)]
    world.add("forwarder", "gauge", "latency_last_event_timestamp_seconds", {"path": "feed"}, stopped)
    world.add("forwarder", "counter", "latency_feed_replacements_total", {"path": "feed", "reason": "age"}, [])
    world.add("forwarder", "counter", "latency_feed_notices_total", {"path": "feed"}, [])
    world.add("forwarder", "gauge", "latency_feed_silent_streams", {"path": "feed"}, [(0.0, 0.0)])


def _probe(world: World) -> None:
    p = "latency_probe"
    target = {"target": "api"}
    for connection, low, high in (("cold", 0.10, 0.12), ("warm", 0.035, 0.038)):
        own = {**target, "connection": connection}
        world.add("probe", "histogram", f"{p}_total_seconds", own, world.spread(1, low, high))
        phases = ("processing", "transfer") if connection == "warm" else ("dns", "connect", "tls", "processing")
        for index, phase in enumerate(phases):
            rows = world.spread(1, 0.01 * (index + 1), 0.011 * (index + 1))
            world.add("probe", "histogram", f"{p}_phase_seconds", {**own, "phase": phase}, rows)
        world.add("probe", "counter", f"{p}_slots_total", own, world.steady(1))
        rows = world.steady(0.9, WRONG_SINCE) if connection == "cold" else []
        world.add("probe", "counter", f"{p}_missed_slots_total", own, rows)
    for reason in ("timeout", "status"):
        rows = world.steady(0.5, WRONG_SINCE) if reason == "status" else []
        world.add("probe", "counter", f"{p}_failures_total", {**target, "reason": reason}, rows)
        rows = world.steady(0.1, WRONG_SINCE) if reason == "status" else []
        world.add("probe", "counter", f"{p}_reconnects_total", {**target, "reason": reason}, rows)
    world.add("probe", "counter", f"{p}_successes_total", target, world.steady(1))
    world.add("probe", "counter", f"{p}_interim_responses_total", target, world.steady(0.1))
    world.add("probe", "gauge", f"{p}_success", target, [(0.0, 1.0), (WRONG_SINCE, 0.0)])
    expiry = [(0.0, START + 30 * 86400.0), (WRONG_SINCE, START + 5 * 86400.0)]
    world.add("probe", "gauge", f"{p}_certificate_expiry_timestamp_seconds", target, expiry)
    info = {**target, "address": "192.0.2.9", "proxy": "", "http_version": "1.1", "tls_version": "TLSv1.3"}
    world.add("probe", "gauge", f"{p}_target_info", info, [(0.0, 1.0)])
    world.add("probe", "histogram", f"{p}_schedule_lag_seconds", {}, world.spread(2, 0.001, 0.003))
    world.add("probe", "histogram", f"{p}_host_delay_seconds", {}, world.spread(2, 0.0001, 0.0005))


def _way_out(world: World) -> None:
    p = "latency_probe"
    peer = {"peer": "10.0.0.1"}
    lost = world.steady(1.5, WRONG_SINCE)
    answered = world.steady(5)
    world.add("probe", "counter", f"{p}_overlay_sent_total", peer, lost + answered)
    world.add("probe", "counter", f"{p}_overlay_lost_total", peer, lost)
    world.add("probe", "counter", f"{p}_overlay_received_total", peer, answered)
    missed = world.steady(0.5)
    world.add("probe", "counter", f"{p}_overlay_missed_slots_total", peer, missed)
    world.add("probe", "counter", f"{p}_overlay_slots_total", peer, lost + answered + missed)
    world.add(
        "probe",
        "histogram",
        f"{p}_overlay_rtt_seconds",
        peer,
        [(moment, world.rng.uniform(0.2, 0.21)) for moment, _one in answered],
    )
    for name in ("late", "duplicates", "send_errors"):
        world.add("probe", "counter", f"{p}_overlay_{name}_total", peer, world.steady(0.05, WRONG_SINCE))
    world.add("probe", "gauge", f"{p}_overlay_jitter_seconds", peer, [(0.0, 0.001), (400.0, 0.002)])
    world.add("probe", "gauge", f"{p}_overlay_socket_open", peer, [(0.0, 1.0)])
    egress = {"target": "egress"}
    world.add("probe", "gauge", f"{p}_egress_match", egress, [(0.0, 1.0), (WRONG_SINCE, 0.0)])
    world.add("probe", "counter", f"{p}_egress_changes_total", egress, [(WRONG_SINCE + 1, 1.0)])
    info = {**egress, "ip": "203.0.113.1", "city": "Tokyo", "country": "JP"}
    world.add("probe", "gauge", f"{p}_egress_info", info, [(0.0, 1.0)])
    route = {"target": "203.0.113.7"}
    for hop, rtt in (("1", 0.0005), ("2", 0.2)):
        own = {**route, "hop": hop}
        world.add("probe", "gauge", f"{p}_route_hop_info", {**own, "address": f"10.0.0.{hop}"}, [(0.0, 1.0)])
        world.add("probe", "gauge", f"{p}_route_hop_rtt_seconds", own, [(0.0, rtt)])
        world.add("probe", "gauge", f"{p}_route_hop_rtt_worst_seconds", own, [(0.0, rtt * 2)])
        world.add("probe", "gauge", f"{p}_route_hop_loss_ratio", own, [(0.0, 0.1)])
    rows = world.steady(0.05, WRONG_SINCE)
    world.add("probe", "counter", f"{p}_route_failures_total", {**route, "reason": "timeout"}, rows)
    world.add("probe", "counter", f"{p}_route_changes_total", route, world.steady(0.05, WRONG_SINCE))


def _daemons(world: World) -> None:
    for role in TARGETS:
        own = {"daemon": role}
        slow = world.spread(1, 0.1, 0.2, WRONG_SINCE) if role == "probe" else []
        world.add(role, "histogram", "latency_event_loop_lag_seconds", own, [*world.spread(1, 0.0005, 0.002), *slow])
        starts = [(0.0, START - 100.0), *([(RECEIVER_DOWN[1], START + 400.0)] if role == "receiver" else [])]
        if role == "forwarder":
            starts += [(500.0, START + 500.0), (520.0, START + 520.0), (540.0, START + 540.0)]
        world.add(role, "gauge", "latency_start_timestamp_seconds", own, starts)
        world.add(role, "gauge", "latency_build_info", {**own, "version": "1", "python": "3"}, [(0.0, 1.0)])
        world.add(role, "counter", "latency_unexpected_errors_total", own, world.steady(0.05, WRONG_SINCE))
        rows = world.steady(0.2, WRONG_SINCE)
        world.add(role, "counter", "latency_log_lines_dropped_total", {**own, "reason": "limited"}, rows)
        rows = world.steady(0.1, WRONG_SINCE)
        world.add(role, "counter", "latency_page_refusals_total", {**own, "reason": "credentials"}, rows)
        world.add(role, "counter", "process_cpu_seconds_total", {}, world.steady(2, value=0.01))
        world.add(role, "gauge", "process_resident_memory_bytes", {}, [(0.0, 4e7), (500.0, 5e7)])
        world.add(role, "gauge", "process_open_fds", {}, [(0.0, 20.0), (500.0, 30.0)])
        taken = [(0.0, 1.0), *([(WRONG_SINCE, 0.0)] if role == "probe" else [])]
        world.add(role, "gauge", f"latency_{role}_config_last_reload_successful", {}, taken)
