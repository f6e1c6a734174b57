import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemons.timing.vmclock import VmClock, read_device

HEADER = (
    # The fields of ``struct vmclock_abi`` (include/uapi/linux/vmclock-abi.h) up to those that are used, in its order.
    ("magic", 4),
    ("size", 4),
    ("version", 2),
    ("counter_id", 1),
    ("time_type", 1),
    ("seq_count", 4),
    ("disruption_marker", 8),
    ("flags", 8),
    ("pad", 2),
    ("clock_status", 1),
)


def page(**values: int) -> bytes:
    """Make a page field by field, with all that follows them in the kernel's header."""
    known = {
        "magic": 0x4B4C4356,
        "size": 4096,
        "version": 1,
        "counter_id": 1,
        "seq_count": 2,
        "clock_status": 2,
    } | values
    return b"".join(known.get(name, 0).to_bytes(width, "little") for name, width in HEADER) + bytes(77)


class Script:
    """Gives one page after the other, and the last for ever; an exception in their place is raised."""

    def __init__(self, *pages: bytes | OSError) -> None:
        self.left = list(pages)
        self.reads = 0

    def __call__(self) -> bytes:
        self.reads += 1
        found = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        if isinstance(found, OSError):
            raise found
        return found


def test_the_header_is_where_the_kernel_has_it() -> None:
    # Said by the layout of C: no field of the header needs padding before it.
    assert [sum(width for _name, width in HEADER[:index]) for index in (5, 6, 7, 9)] == [12, 16, 24, 34]
    assert page()[:4] == b"VCLK"


def test_another_marker_is_a_disruption_and_the_same_is_none() -> None:
    script = Script(page(disruption_marker=7))
    device = VmClock(script)
    assert [device.look() for _time in range(3)] == [False] * 3
    assert (device.present, device.trouble, device.disruptions) == (True, "", 0)
    script.left = [page(disruption_marker=3, seq_count=4)]
    assert [device.look() for _time in range(3)] == [True, False, False]
    assert device.disruptions == 1


def test_new_times_without_a_new_marker_are_none() -> None:
    # Firecracker and EC2 rewrite the page whenever they know the time better.
    script = Script(*(page(disruption_marker=7, seq_count=2 * count, clock_status=count % 5) for count in range(20)))
    device = VmClock(script)
    assert not any(device.look() for _time in range(10))


def test_a_page_that_is_being_written_is_read_again() -> None:
    torn = page(disruption_marker=9, seq_count=3)
    changed = (page(disruption_marker=9, seq_count=4), page(disruption_marker=8, seq_count=6))
    script = Script(page(disruption_marker=7))
    device = VmClock(script)
    assert not device.look()
    script.left = [torn, torn, *changed, torn, page(disruption_marker=7, seq_count=8)]
    assert not device.look()
    assert (device.disruptions, device.trouble) == (0, "")


def test_a_page_that_is_written_all_the_time_is_given_up_and_not_believed() -> None:
    script = Script(page(disruption_marker=7))
    device = VmClock(script)
    assert not device.look()
    script.left, script.reads = [page(disruption_marker=9, seq_count=5)], 0
    assert not device.look()
    assert script.reads <= 8
    assert (device.present, device.disruptions) == (False, 0)
    assert "being written" in device.trouble
    # What was known before still holds.
    script.left = [page(disruption_marker=9, seq_count=6)]
    assert device.look()


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (page(magic=0x56434C4B), "it begins with"),
        (page(version=2), "it begins with"),
        (page(size=34), "it begins with"),
        (page()[:34], "34 bytes"),
        (b"", "0 bytes"),
        (PermissionError(13, "Permission denied"), "may not be read"),
        (OSError(110, "Connection timed out"), "Connection timed out"),
        (OSError(6, "No such device or address"), "No such device"),
    ],
)
def test_what_cannot_be_used_says_why_and_disrupts_nothing(bad: bytes | OSError, why: str) -> None:
    script = Script(page(disruption_marker=7))
    device = VmClock(script)
    device.look()
    script.left = [bad]
    assert not device.look()
    assert why in device.trouble
    assert not device.present
    script.left = [page(disruption_marker=7)]
    assert not device.look()
    assert (device.present, device.trouble) == (True, "")


def test_a_device_comes_and_goes() -> None:
    gone = FileNotFoundError(2, "No such file or directory")
    script = Script(gone)
    device = VmClock(script)
    states: list[tuple[bool, bool, str]] = []
    for found in (gone, page(disruption_marker=7), gone, page(disruption_marker=7), gone, page(disruption_marker=8)):
        script.left = [found]
        states.append((device.look(), device.present, device.trouble))
    # The first that is seen is what later ones are held against; one that comes back changed is another host's.
    assert states == [
        (False, False, ""),
        (False, True, ""),
        (False, False, ""),
        (False, True, ""),
        (False, False, ""),
        (True, True, ""),
    ]


def test_a_file_is_read_as_the_device_is(tmp_path: Path) -> None:
    path = tmp_path / "vmclock0"
    with pytest.raises(FileNotFoundError):
        read_device(str(path))
    path.write_bytes(page(disruption_marker=7))
    device = VmClock(lambda: read_device(str(path)))
    assert not device.look()
    path.write_bytes(page(disruption_marker=2**64 - 1))
    assert device.look()
    path.unlink()
    assert not device.look()


Step = tuple[str, int]


@given(st.lists(st.tuples(st.sampled_from(["marker", "write", "gone", "bad", "same"]), st.integers(0, 3)), max_size=40))
def test_any_history_counts_the_changes_between_pages_that_were_whole(steps: list[Step]) -> None:
    script = Script(page())
    device = VmClock(script)
    marker = 0
    seen: int | None = None
    changes = 0
    for count, (what, value) in enumerate(steps):
        outcomes: dict[str, bytes | OSError] = {
            "write": page(disruption_marker=99, seq_count=2 * count + 1),
            "gone": FileNotFoundError(2, ""),
            "bad": struct.pack("<I", 1),
        }
        marker = value if what == "marker" else marker
        whole = what in ("marker", "same")
        script.left = [outcomes.get(what, page(disruption_marker=marker, seq_count=2 * count))]
        expected = whole and seen is not None and seen != marker
        assert device.look() == expected
        seen = marker if whole else seen
        changes += expected
    assert device.disruptions == changes
