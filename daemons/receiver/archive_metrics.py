"""The metrics of the archive, as its archiver tells them once a second."""

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from daemons.formats.archive.handover import ArchiverReport
from daemons.receiver.archive import Archive
from daemons.service.metrics.families import counter, each, each_of, gauge

__all__ = ["archive_families"]

PREFIX = "latency_receiver_archive"


def archive_families(archive: Archive | None) -> Iterator[Metric]:
    """Yield the metrics."""
    report = ArchiverReport() if archive is None else archive.report
    yield counter(f"{PREFIX}_rows", "Rows in files, or in journals of files to be.", ["path"], each(report.rows))
    yield counter(
        f"{PREFIX}_rows_lost",
        "Rows in no file: handed over too slowly, not taken by the disk, or not handed over before a kill.",
        ["path", "reason"],
        each_of(report.lost),
    )
    yield counter(
        f"{PREFIX}_unknown_ends",
        "Earlier lives of a receiver whose last moment nobody could count.",
        [],
        [([], report.unknown_ends)],
    )
    yield counter(
        f"{PREFIX}_errors",
        "Failures of disk or store, by what was to be done.",
        ["operation"],
        each(report.errors),
    )
    yield counter(
        f"{PREFIX}_restarts",
        "Times that the archiver had died.",
        [],
        [([], 0 if archive is None else archive.restarts)],
    )
    yield counter(f"{PREFIX}_finished_files", "Files made, by how their rows ended.", ["how"], each(report.files))
    yield counter(f"{PREFIX}_removed_files", "Files beyond a bound of the folder.", ["bound"], each(report.removed))
    yield counter(f"{PREFIX}_uploaded_files", "Files that the store has, proven.", [], [([], report.uploaded_files)])
    yield counter(f"{PREFIX}_uploaded_bytes", "Their size.", [], [([], report.uploaded_bytes)])
    yield gauge(
        f"{PREFIX}_upload_waiting_files", "Files that are to be uploaded, or proven.", [], [([], report.waiting_files)]
    )
    yield gauge(f"{PREFIX}_stored_files", "Finished files in the folder.", [], [([], report.stock_files)])
    yield gauge(f"{PREFIX}_stored_bytes", "Their size.", [], [([], report.stock_bytes)])
    yield gauge(
        f"{PREFIX}_oldest_timestamp_seconds",
        "Since when files reach back.",
        [],
        [] if report.oldest_ns is None else [([], report.oldest_ns / 1e9)],
    )
