# SPDX-License-Identifier: GPL-2.0-or-later
"""Statistics, ratios and the file of results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.pattern import INSTRUCTIONS, THROUGHPUT, Pattern
from bench.samples import Result, Sample, aggregate, dumps, loads, merge, paired, read_samples, summarize
from bench.scale import Scale

VALUES = st.floats(min_value=1e-3, max_value=1e9)
PATTERN = "randread 4k qd1 j1"


def sample(system: str, number: int, value: float, backend: str = "null", metric: str = "iops") -> Sample:
    return Sample("throughput", backend, PATTERN, metric, system, number, value)


def by_system(samples: list[Sample], backend: str = "null") -> dict[str, Result]:
    return {result.system: result for result in aggregate(samples) if result.backend == backend}


@settings(deadline=None)
@given(st.lists(VALUES, min_size=1))
def test_summary_is_of_the_values(values: list[float]) -> None:
    result = summarize(("b", "k", "p", "m"), "scst", values)
    assert (result.min, result.max, result.n) == (min(values), max(values), len(values))
    assert result.min <= result.median <= result.max


def test_median_of_an_even_number() -> None:
    assert by_system([sample("scst", 0, 1), sample("scst", 1, 3)])["scst"].median == 2


def test_ratio_pairs_rounds() -> None:
    """Drift of the host hits both runs of a round: 2x throughout, although the medians say otherwise."""
    samples = [sample("scst", 0, 20), sample("scst", 1, 200), sample("lio", 0, 10), sample("lio", 1, 100)]
    ratio = by_system(samples)["scst/lio"]
    assert (ratio.median, ratio.min, ratio.max, ratio.n) == (2, 2, 2, 2)


def test_ratio_to_the_floor_of_another_backend() -> None:
    """What a file costs is compared with the SCSI path alone, which is measured once, as null."""
    samples = [sample("scst", 0, 5, "file"), sample("scst", 0, 8), sample("scsi_debug", 0, 10)]
    assert by_system(samples, "file")["scst/scsi_debug"].median == 0.5
    assert by_system(samples)["scst/scsi_debug"].median == 0.8


def test_no_ratio_without_a_base() -> None:
    assert set(by_system([sample("scst", 0, 5)])) == {"scst"}
    assert set(by_system([sample("lio", 0, 5)])) == {"lio"}


def test_no_ratio_of_what_is_not_compared() -> None:
    samples = [sample("scst", 0, 5, metric="switches"), sample("lio", 0, 5, metric="switches")]
    assert set(by_system(samples)) == {"scst", "lio"}


def test_pairs_fall_back_to_medians() -> None:
    assert paired({0: 6.0}, {1: 2.0, 2: 4.0}) == [2.0]
    assert paired({0: 6.0}, {0: 0.0}) == []
    assert paired({}, {0: 1.0}) == []


@settings(deadline=None)
@given(st.lists(st.builds(Result, *[st.text()] * 5, VALUES, VALUES, VALUES, st.integers(1, 99))))
def test_file_round_trip(results: list[Result]) -> None:
    once = loads(dumps(results))
    assert loads(dumps(once)) == once
    assert [result.system for result in once] == [result.system for result in results]
    for kept, result in zip(once, results, strict=True):
        assert kept.median == pytest.approx(result.median, rel=1e-5)


def test_file_is_a_list_of_plain_objects() -> None:
    (row,) = json.loads(dumps([summarize(("b", "k", "p", "m"), "scst", [1.0])]))
    assert list(row) == ["bench", "backend", "pattern", "metric", "system", "median", "min", "max", "n"]


@pytest.mark.parametrize("text", ["{}x", '[{"bench": 1}]', "[1]", '{"a": 1}'])
def test_not_a_file_of_results(text: str) -> None:
    with pytest.raises(ValueError, match=r"results|Expecting|Extra"):
        loads(text)


def test_merge_replaces_whole_benches() -> None:
    old = [Result(bench, "", "", "", "", 0, 0, 0, 1) for bench in ("instructions", "control", "control")]
    new = [Result("control", "", "", "", "", 1, 1, 1, 1)]
    assert merge(old, new) == [old[0], new[0]]


def test_samples_of_the_vm(tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    row = {
        "bench": "b",
        "backend": "k",
        "pattern": "p",
        "metric": "m",
        "system": "s",
        "round": 1,
        "value": 2.0,
    }
    file.write_text(json.dumps(row) + "\n")
    assert read_samples(tmp_path) == [Sample("b", "k", "p", "m", "s", 1, 2.0)]


@pytest.mark.parametrize("pattern", [*INSTRUCTIONS, *THROUGHPUT])
def test_pattern_text(pattern: Pattern) -> None:
    assert Pattern.parse(str(pattern)) == pattern


@pytest.mark.parametrize(
    "text", ["", "randread", "randread 4k 1 1", "randread 4m qd1 j1", "randread 4k qdx j1"]
)
def test_no_pattern(text: str) -> None:
    with pytest.raises(ValueError, match="no pattern like"):
        Pattern.parse(text)


def test_cells_of_the_comparison() -> None:
    assert len(set(map(str, THROUGHPUT))) == 9
    assert len(set(map(str, INSTRUCTIONS))) == 5


def test_scale() -> None:
    scale = Scale.parse("100x10")
    assert (str(scale), scale.mappings, len(set(scale.devices())), len(scale.initiators())) == (
        "100x10",
        1000,
        100,
        10,
    )


@pytest.mark.parametrize("text", ["100", "x", "0x5", "5x0", "ax1", "-1x2"])
def test_no_scale(text: str) -> None:
    with pytest.raises(ValueError, match="DEVICESxGROUPS"):
        Scale.parse(text)
