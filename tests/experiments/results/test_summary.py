import json
from pathlib import Path
from typing import Any

import pytest

from experiments.errors import InputError
from experiments.results.summary import is_unfinished, load_summary
from tests.experiments.made import summary, write_summary

ORIGINAL = """{
  "setup_type": "baseline",
  "sample_count": 18234,
  "events_lost": 0,
  "avg_latency_ms": 245.67,
  "median_latency_ms": 243.21,
  "p95_latency_ms": 289.45,
  "p99_latency_ms": 312.78,
  "min_latency_ms": 198.34,
  "max_latency_ms": 456.12,
  "jitter_stddev_ms": 23.45,
  "backbone_avg_latency_ms": null,
  "backbone_median_latency_ms": null
}"""


def test_reads_our_own_format(tmp_path: Path) -> None:
    loaded = load_summary(write_summary(tmp_path / "r.json", summary()))
    assert loaded.paths["backbone"].link is not None
    assert loaded.paths["backbone"].link.peer_clock is not None
    assert loaded.paths["backbone"].link.peer_clock.error_bound_ms == 0.3
    assert loaded.paths["backbone"].backbone is not None
    assert loaded.paths["backbone"].backbone.median_ms == 213.0
    assert loaded.p999_latency_ms is None


def test_reads_the_format_of_the_programs_it_replaces(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(ORIGINAL)
    loaded = load_summary(tmp_path / "r.json")
    assert (loaded.setup_type, loaded.sample_count, loaded.median_latency_ms) == ("baseline", 18234, 243.21)
    assert loaded.format is None
    assert loaded.paths == {}


def test_zeros_without_a_sample_are_no_measurement(tmp_path: Path) -> None:
    content = json.loads(ORIGINAL) | {"sample_count": 0, "avg_latency_ms": 0.0, "median_latency_ms": 0.0}
    loaded = load_summary(write_summary(tmp_path / "r.json", content))
    assert loaded.avg_latency_ms is None
    assert loaded.median_latency_ms is None


def test_fields_of_later_versions_are_ignored(tmp_path: Path) -> None:
    assert load_summary(write_summary(tmp_path / "r.json", summary(weather="fine"))).sample_count == 1000


def with_path_field(name: str, value: Any) -> dict[str, Any]:
    content = summary()
    other = {**content["paths"]["backbone"]}
    content["paths"] = {"direct": {**other}, "backbone": {**other, name: value}}
    return content


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "the file is empty"),
        (ORIGINAL[:120], 6, "cut off"),
        (ORIGINAL.replace("18234,", "18234"), 4, "not JSON"),
        (ORIGINAL.replace("245.67", '"245.67 ms"'), 5, "expected `float | null`, got `str`"),
        (ORIGINAL.replace('  "sample_count": 18234,\n', ""), 1, "no `sample_count`"),
        ("[1, 2]", 1, "not a results file"),
        ('{"count": 100}', 1, "not a results file"),
        (ORIGINAL.replace("{", '{\n  "format": "backbone-latency-results/2",', 1), 2, "'backbone-latency-results/2'"),
    ],
)
def test_unusable_files_are_refused_with_their_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    file = tmp_path / "r.json"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        load_summary(file)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"{file}:{line}: ")
    assert message in str(caught.value)


def test_a_wrong_field_of_one_path_is_found_in_that_path(tmp_path: Path) -> None:
    file = write_summary(tmp_path / "r.json", with_path_field("events", "many"))
    with pytest.raises(InputError) as caught:
        load_summary(file)
    lines = file.read_text().splitlines()
    assert caught.value.line is not None
    assert '"many"' in lines[caught.value.line - 1]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.json: cannot be read"):
        load_summary(tmp_path / "nothing.json")


DEEP = 100_000
"""Python 3.11 gives up after hundreds, 3.13 after tens of thousands."""


@pytest.mark.parametrize("opening", ["[", '{"host": [', '{"setup_type": "x", "host": {"a": '])
def test_results_nested_too_deeply_end_in_a_sentence(tmp_path: Path, opening: str) -> None:
    file = tmp_path / "r.json"
    file.write_text(opening + "[" * DEEP + "]" * DEEP)
    with pytest.raises(InputError, match="nested too deeply"):
        load_summary(file)
    assert not is_unfinished(file)


def test_a_byte_order_mark_is_no_part_of_the_json(tmp_path: Path) -> None:
    file = write_summary(tmp_path / "r.json", summary())
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert load_summary(file).sample_count == 1000
