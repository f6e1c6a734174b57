"""Replays what others recorded of an exchange through the decoder and the accounts, and tells what they make of it.

``python -m tests.replay FILE…``: one message a line, bare or after a time; a line with the URL of the connection gives
the streams of a raw one. That is how the cryptofeed recorder writes (``sample_data`` of its repository), and other
recorders' files are easily brought to it. Captures are other people's: none is in this repository.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from daemons.feed.binance import Decoder, Invalid, Notice, Reply
from daemons.feed.endpoints import is_raw, streams_in
from daemons.feed.streams import identity_of
from daemons.measurement.account import PathAccount
from daemons.measurement.figures import Instruments
from daemons.measurement.histogram import BucketHistogram, octaves
from daemons.records import FeedEvent, Stamp, StampKind

__all__ = ["Replayed", "replay"]

_MESSAGE = re.compile(r"(?:\S+ )?(?P<message>[\[{].*)")
_URL = re.compile(r"wss?://\S+")
STEP_NS = 1_000_000


@dataclass
class Replayed:
    """What a capture came to.

    Attributes:
        invalid: messages that were no events, by reason.
        replies: answers and notices.
        accounts: by kind of event.
    """

    invalid: Counter[str] = field(default_factory=Counter)
    replies: int = 0
    accounts: dict[str, PathAccount] = field(default_factory=dict)

    def total(self, attribute: str) -> int:
        """Sum a counter over all kinds."""
        return sum(account.total(attribute) for account in self.accounts.values())

    def table(self) -> str:
        """Return the counts by kind."""
        lines = [f"{'kind':<16}{'events':>9}{'lost':>9}{'gaps':>7}{'again':>7}{'resets':>8}{'absurd':>8}"]
        for kind, account in sorted(self.accounts.items()):
            lost, gaps = account.total("missing"), account.total("gaps")
            resets, absurd = sum(account.id_resets.values()), account.invalid["absurd_sequence"]
            lines.append(
                f"{kind:<16}{account.events:>9}{lost:>9}{gaps:>7}{account.duplicates:>7}{resets:>8}{absurd:>8}"
            )
        return "\n".join([*lines, f"no events: {dict(self.invalid)}, answers: {self.replies}"])


def replay(lines: Iterable[str]) -> Replayed:
    """Replay a capture."""
    done = Replayed()
    decode = Decoder().decode
    now_ns = 0
    for line in lines:
        if (url := _URL.match(line)) is not None:
            decode = Decoder(streams_in(url[0]) if is_raw(url[0]) else ()).decode
        if (match := _MESSAGE.fullmatch(line.rstrip("\n"))) is None:
            continue
        now_ns += STEP_NS
        match decode(match["message"].encode()):
            case FeedEvent() as event:
                account = done.accounts.get(event.kind.name) or _account(event.kind.name, done)
                account.observe_feed([event], Stamp(now_ns, StampKind.KERNEL, now_ns, now_ns))
            case Invalid() as reason:
                done.invalid[reason.value] += 1
            case Reply() | Notice():
                done.replies += 1
    for account in done.accounts.values():
        account.finish()
    return done


def _account(kind: str, done: Replayed) -> PathAccount:
    sink = BucketHistogram(octaves(-16, 4))
    instruments = Instruments(lambda _stream: sink, lambda _stream: sink, delayed=sink, host_delay=sink)
    made = done.accounts[kind] = PathAccount(kind, 0, link=False, instruments=instruments, identify=identity_of)
    return made


def main(files: list[str]) -> int:
    """Print a table for each file; the exit code is 1 if anything was lost or was no event."""
    clean = True
    for file in files:
        with Path(file).open(encoding="utf-8") as lines:
            done = replay(lines)
        sys.stdout.write(f"{file}\n{done.table()}\n\n")
        clean = clean and not done.total("missing") and not done.invalid
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
