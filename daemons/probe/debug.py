"""The /probe page: one attempt now, and everything that is known of it."""

import time
from collections.abc import Callable, Mapping

import msgspec

from daemons.probe.attempt import Attempt, Reason
from daemons.probe.prober import Prober
from daemons.probe.target import Target
from daemons.service.web.pages import Page, Request, text

__all__ = ["DebugPage", "described"]

MAX_AT_ONCE = 4
"""Attempts made for this page at a time: it must not become a load on the targets or on the schedule."""


class DebugPage:
    """Answers ``/probe?target=NAME``: JSON, or with ``debug=true`` text to read; never counted in the metrics.

    Args:
        targets: those of now, by name.
        prober: makes the attempts.
    """

    def __init__(self, targets: Callable[[], Mapping[str, Target]], prober: Prober) -> None:
        self._targets = targets
        self._prober = prober
        self._running = 0

    async def __call__(self, request: Request) -> Page:
        """Make an attempt, or with ``connection=warm`` a cold and a warm one on the same connection."""
        query = request.query
        name = query.get("target", "")
        targets = self._targets()
        target = targets.get(name)
        if target is None:
            known = ", ".join(sorted(targets)) or "none"
            return Page(text(f"{name!r}: no such target; there are: {known}\n"), status=404)
        if (kind := query.get("connection", "cold")) not in ("cold", "warm"):
            return Page(text(f"{kind!r}: no such connection; use cold or warm\n"), status=400)
        if self._running >= MAX_AT_ONCE:
            return Page(text(f"{self._running} attempts are being made for this page; try again\n"), status=503)
        self._running += 1
        try:
            attempts = await self._attempts(target, warm=kind == "warm")
        finally:
            self._running -= 1
        if query.get("debug") == "true":
            return Page(text("\n".join(described(target, attempt) for attempt in attempts)))
        return Page(
            text(msgspec.json.encode([_plain(target, one) for one in attempts]).decode() + "\n"), "application/json"
        )

    async def _attempts(self, target: Target, *, warm: bool) -> list[Attempt]:
        now_ns = self._prober.clock.monotonic_ns
        attempt, wire = await self._prober.attempt(target, now_ns(), keep=warm)
        attempts = [attempt]
        if attempt.reason is Reason.CERTIFICATE:
            attempt.certificate_expiry_seconds = await self._prober.inspect(target)
        if wire is not None:
            attempt, _wire = await self._prober.attempt(target, now_ns(), wire)
            attempts.append(attempt)
        elif warm:
            attempts[0].detail = attempts[0].detail or "the server does not keep the connection open"
        return attempts


def described(target: Target, attempt: Attempt) -> str:
    """Tell an attempt in lines for a person."""
    lines = [
        f"{target.request.method} {target.url}",
        f"connection    {attempt.connection}",
    ]
    lines += [
        f"{label:<13} {value}"
        for label, value in (
            ("server name", target.host),
            ("proxy", target.proxy.authority if target.proxy else ""),
            ("pinned to", str(target.pinned[1][0]) if target.pinned else ""),
            ("address", attempt.address),
            ("source", attempt.source),
            ("tls", " ".join(filter(None, (attempt.tls_version, attempt.cipher)))),
            ("http", attempt.http_version),
            ("certificate", f"expires {_date(attempt.certificate_expiry_seconds)}" if target.context else ""),
            ("status", attempt.status),
            ("body", f"{attempt.body_bytes} bytes" if attempt.status else ""),
        )
        if value
    ]
    lines.append("instants (ms after the start)")
    started = attempt.instants.start
    for field in msgspec.structs.fields(attempt.instants)[2:]:
        instant = getattr(attempt.instants, field.name)
        lines.append(f"  {field.name:<14} {_ms(None if instant is None else instant - started)}")
    if attempt.interim_responses:
        lines.append(f"interim       {attempt.interim_responses} responses before the final one")
    if attempt.retried:
        lines.append(f"made again    {', '.join(attempt.retried)}")
    lines.append("phases (ms)")
    lines += [f"  {phase:<14} {_ms(duration)}" for phase, duration in attempt.instants.phases()]
    lines.append(f"  {'total':<14} {_ms(attempt.instants.total_ns)}")
    lines.append(f"result        {f'failed: {attempt.reason}' if attempt.reason else 'success'}")
    if attempt.detail:
        lines.append(f"              {attempt.detail}")
    return "\n".join(lines) + "\n"


def _plain(target: Target, attempt: Attempt) -> dict[str, object]:
    return {
        "target": attempt.target,
        "connection": attempt.connection,
        "success": attempt.succeeded,
        "reason": attempt.reason,
        "detail": attempt.detail,
        "proxy": target.proxy.authority if target.proxy else None,
        "address": attempt.address,
        "source": attempt.source,
        "tls_version": attempt.tls_version,
        "cipher": attempt.cipher,
        "http_version": attempt.http_version,
        "certificate_expiry_timestamp_seconds": attempt.certificate_expiry_seconds,
        "status": attempt.status,
        "body_bytes": attempt.body_bytes,
        "interim_responses": attempt.interim_responses,
        "interim_ms": None if attempt.instants.interim_ns is None else attempt.instants.interim_ns / 1e6,
        "retried": attempt.retried,
        "phases_ms": {phase: duration / 1e6 for phase, duration in attempt.instants.phases()},
        "total_ms": None if attempt.instants.total_ns is None else attempt.instants.total_ns / 1e6,
    }


def _ms(duration_ns: int | None) -> str:
    return "not reached" if duration_ns is None else f"{duration_ns / 1e6:.3f}"


def _date(seconds: int | None) -> str:
    return "unknown" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
