# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables, verdicts, the README and the command line, from results on file."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from bench import __main__ as command
from bench import fc, sharing, table, vm
from bench.counts import NoPlugins
from bench.guest import sessions
from bench.pattern import (
    BACKENDS,
    DIGEST,
    FAR,
    INSTRUCTIONS,
    ISCSI,
    LARGE,
    OVER_ISCSI,
    SESSIONS,
    SESSIONS_PATTERN,
    THROUGHPUT,
    Pattern,
    floor,
    speed,
)
from bench.samples import Result, Sample, aggregate, dumps, loads, machine_sample
from bench.verdict import (
    CONTROL_LIMITS,
    FC_LIMITS,
    FC_WAKEUP_LIMITS,
    INSTRUCTION_LIMITS,
    ISCSI_DIGEST_LIMIT,
    ISCSI_DIGEST_PATTERNS,
    ISCSI_FILE_LIMIT,
    ISCSI_LIMITS,
    ISCSI_RATIOS,
    ISCSI_READ,
    ISCSI_SPEEDUP,
    ISCSI_SWITCH_LIMIT,
    LARGE_LIMITS,
    LINE_LIMITS,
    Requirement,
    judged,
    requirements,
)
from bench.vm import Part, PartFailed

SINGLE = Pattern("randread", 4096, 1)
(LARGE_READ,) = (pattern for pattern in INSTRUCTIONS if pattern.block >= LARGE)


def cost(system: str, pattern: Pattern) -> float:
    """Instructions of an I/O that meet everything."""
    large = pattern.block >= LARGE
    if system == "lio":
        return 70_000.0 if large else 20_000.0
    return 22_000.0 if large else 10_000.0 if system == "scst" else 9_000.0


def line_samples() -> list[Sample]:
    """Cache lines of every cell, a tenth of LIO's."""
    cells = [
        *((backend, cpus, "") for backend in LINE_LIMITS for cpus in sharing.CPUS),
        ("null", sharing.JUDGED_CPUS, ISCSI),
    ]
    return [
        Sample("sharing", backend, sharing.pattern(pattern.access, cpus, transport), metric, system, 0, value)
        for backend, cpus, transport in cells
        for pattern in sharing.PATTERNS
        for system in ("scst", "lio", floor(backend)[0])
        for metric, value in (("lines", 10.0), ("own_lines", 10.0 if system == "lio" else 0.01))
    ]


def io_samples() -> list[Sample]:
    """Every cell, with ours twice as good as LIO and a little worse than the floor."""
    found: list[Sample] = []
    for backend in BACKENDS:
        systems = ["scst", "lio", *([floor(backend)[0]] if backend != "file" else [])]
        for system in systems:
            lio, ours = system == "lio", system == "scst"
            for pattern in INSTRUCTIONS:
                place = ("instructions", backend, str(pattern))
                parts = 3.0 if pattern == LARGE_READ and system in ("lio", "null_blk") else 1.0
                found.append(Sample(*place, "instructions", system, 0, cost(system, pattern)))
                found.append(Sample(*place, "requests", system, 0, parts))
            for pattern in THROUGHPUT:
                values = {"iops": 5e4 if lio else 1e5 if ours else 1.1e5, "switches": 3.0 if lio else 0.05}
                values |= {"cpu_us": 10.0, "mb_s": 50.0 if lio else 100.0, "host_other_cpus": 0.1}
                found += [
                    Sample("throughput", backend, str(pattern), metric, system, 0, value)
                    for metric, value in values.items()
                ]
    return found


def fc_samples() -> list[Sample]:
    """The target's side of Fibre Channel, half of LIO's."""
    return [
        Sample(fc.BENCH, backend, str(pattern), metric, system, 0, value * (2 if system == "lio" else 1))
        for backend in fc.BACKENDS
        for pattern in fc.PATTERNS
        for system in ("scst", "lio")
        for metric, value in (
            ("instructions", 9_000.0),
            ("own_instructions", 2_000.0),
            ("inbox_instructions", 4_000.0),
            ("switches", 2.0),
            ("wakeups", 0.9),
        )
    ]


def iscsi_samples() -> list[Sample]:
    """Everything over iSCSI, a quarter of LIO's, digests a tenth dearer."""
    costs = {"null": 40_000.0, "file": 42_000.0, DIGEST: 44_000.0}
    factors = {"scst": 1, "lio": 4, "nvmet": 0.9}
    return [
        Sample(ISCSI, backend, str(pattern), metric, system, 0, value * factor)
        for backend, patterns in OVER_ISCSI.items()
        for pattern in patterns
        for system, factor in factors.items()
        if (system, backend) != ("nvmet", "file")
        for metric, value in (("instructions", costs[backend]), ("switches", 3.0))
    ]


def session_samples() -> list[Sample]:
    """Two sessions, nearly twice as fast as one."""
    return [
        sample
        for number, both in enumerate((1_790.0, 1_800.0, 1_810.0))
        for system in ("scst", "lio")
        for sample in sessions.samples(system, number, 1_000.0, both)
    ]


def good() -> list[Result]:
    """Results that meet everything."""
    samples = [*io_samples(), *line_samples(), *fc_samples(), *iscsi_samples(), *session_samples()]
    samples.append(machine_sample("instructions", "6.1", 1))
    for scale, factor in (("100x10", 1.0), ("100x50", 5.0)):
        for metric, limit in CONTROL_LIMITS.items():
            samples.append(Sample("control", "api", scale, metric, "scst", 0, limit * factor * 0.9))
            samples.append(Sample("control", "command", scale, metric, "scst", 0, limit * factor * 2))
            samples.append(Sample("control", "api", scale, metric, "rtslib", 0, limit * 40))
    samples.append(Sample("setup", "", "6.1", "cpus", "vm", 0, 2))
    samples.append(Sample("setup", "null", "6.1", "hardware_queues", "lio", 0, 1))
    return aggregate(samples)


def spoil(bench: str, backend: str, pattern: object, metric: str, system: str, value: float) -> list[Result]:
    """The good results with one median replaced."""
    place = (bench, backend, str(pattern), metric, system)
    found = good()
    assert any((r.bench, r.backend, r.pattern, r.metric, r.system) == place for r in found)
    return [
        replace(r, median=value) if (r.bench, r.backend, r.pattern, r.metric, r.system) == place else r
        for r in found
    ]


def missed(results: list[Result]) -> list[Requirement]:
    return [requirement for requirement in requirements(results) if not requirement.met]


def test_good_results_meet_everything() -> None:
    assert missed(good()) == []
    assert len(requirements(good())) == 4 + 2 + 6 + 2 + 5 + 27 + 8 + 8 + 11 + 1


@pytest.mark.parametrize(("backend", "access"), INSTRUCTION_LIMITS)
def test_too_many_instructions(backend: str, access: str) -> None:
    limit, pattern = INSTRUCTION_LIMITS[backend, access], replace(SINGLE, access=access)
    assert missed(spoil("instructions", backend, pattern, "instructions", "scst", limit)) == []
    (found,) = missed(spoil("instructions", backend, pattern, "instructions", "scst", limit + 1))
    assert (found.word, backend in found.what) == ("MISSED", True)


@pytest.mark.parametrize("pattern", [pattern for pattern in THROUGHPUT if "read" in pattern.access])
def test_too_many_switches(pattern: Pattern) -> None:
    (found,) = missed(spoil("throughput", "null", pattern, "switches", "scst", 0.16))
    assert found.value == pytest.approx(0.11)


def test_fewer_switches_than_the_floor() -> None:
    assert missed(spoil("throughput", "null", SINGLE, "switches", "scsi_debug", 2.0)) == []


@pytest.mark.parametrize("system", LARGE_LIMITS)
def test_too_many_instructions_of_a_large_read(system: str) -> None:
    place = ("instructions", "blk", LARGE_READ, "instructions", f"scst/{system}")
    assert missed(spoil(*place, LARGE_LIMITS[system])) == []
    (found,) = missed(spoil(*place, LARGE_LIMITS[system] + 0.01))
    assert f"{system}'s" in found.what


@pytest.mark.parametrize("backend", LINE_LIMITS)
def test_too_many_lines(backend: str) -> None:
    place = ("sharing", backend, sharing.pattern("randread", sharing.JUDGED_CPUS), "own_lines", "scst")
    assert missed(spoil(*place, LINE_LIMITS[backend])) == []
    assert len(missed(spoil(*place, LINE_LIMITS[backend] + 0.01))) == 1
    other = next(cpus for cpus in sharing.CPUS if cpus != sharing.JUDGED_CPUS)
    assert (
        missed(spoil("sharing", backend, sharing.pattern("randread", other), "own_lines", "scst", 99)) == []
    )


def edge(
    backend: str, pattern: str, limit: float, more: float, metric: str = "instructions", system: str = "scst"
) -> None:
    """A figure over iSCSI may be at its limit, and no more."""
    place = (ISCSI, backend, pattern, metric, system)
    assert missed(spoil(*place, limit)) == []
    (found,) = missed(spoil(*place, limit + more))
    assert (found.bench, found.word, pattern in found.what) == (ISCSI, "MISSED", True)


@pytest.mark.parametrize("pattern", ISCSI_RATIOS)
def test_iscsi_too_dear_beside_lio(pattern: str) -> None:
    edge("null", pattern, ISCSI_RATIOS[pattern], 0.01, system="scst/lio")


def test_iscsi_too_dear() -> None:
    edge("null", str(LARGE_READ), ISCSI_LIMITS[str(LARGE_READ)], 1)
    read = (ISCSI, "null", ISCSI_READ, "instructions", "scst")
    assert missed(spoil(*read, ISCSI_LIMITS[ISCSI_READ])) == []
    assert len(missed(spoil(*read, ISCSI_LIMITS[ISCSI_READ] + 1))) == 1
    edge("null", ISCSI_READ, ISCSI_SWITCH_LIMIT, 0.01, metric="switches")


def test_iscsi_files_and_digests_too_dear() -> None:
    edge("file", ISCSI_READ, 40_000 + ISCSI_FILE_LIMIT, 1)
    for pattern in ISCSI_DIGEST_PATTERNS:
        edge(DIGEST, pattern, 40_000 * ISCSI_DIGEST_LIMIT, 1)


def test_sessions_that_share_lines() -> None:
    place = ("sharing", "null", sharing.pattern("randread", sharing.JUDGED_CPUS, ISCSI), "own_lines", "scst")
    assert missed(spoil(*place, LINE_LIMITS["null"])) == []
    assert len(missed(spoil(*place, LINE_LIMITS["null"] + 0.01))) == 1


def test_sessions_that_wait_for_each_other() -> None:
    place = (SESSIONS, "null", SESSIONS_PATTERN, "speedup", "scst")
    assert missed(spoil(*place, ISCSI_SPEEDUP)) == []
    assert len(missed(spoil(*place, ISCSI_SPEEDUP - 0.01))) == 1
    row = next(line for line in table.report(good()).splitlines() if str(SESSIONS_PATTERN) in line)
    assert [word.strip() for word in row.split("|")[3:6]] == [
        "1,000",
        "1,800 (1,790-1,810)",
        "1.80 (1.79-1.81)",
    ]


def test_nvme_is_the_reference_of_iscsi() -> None:
    row = next(line for line in table.summary(good()).splitlines() if line.startswith("| iSCSI"))
    assert [word.strip() for word in row.split("|")[3:7]] == ["40,000", "160,000", "36,000", "0.25"]


@pytest.mark.parametrize("backend", fc.BACKENDS)
def test_fibre_channel_too_dear(backend: str) -> None:
    for pattern, limit in FC_LIMITS.items():
        place = (fc.BENCH, backend, pattern, "instructions", "scst/lio")
        assert missed(spoil(*place, limit)) == []
        assert len(missed(spoil(*place, limit + 0.01))) == 1
    for pattern, limit in FC_WAKEUP_LIMITS.items():
        place = (fc.BENCH, backend, pattern, "wakeups", "scst")
        assert missed(spoil(*place, limit)) == []
        assert len(missed(spoil(*place, limit + 0.01))) == 1


def test_fibre_channel_without_what_the_machine_does_by_itself() -> None:
    disk = fc.Disk("lio", "null", "/dev/sda")
    window = fc.Window(1, disk, SINGLE, 2, 100, 2.0, fc.Spent(170, 90))
    found = Counter(
        {"kernel": 6_000, "tcm_qla2xxx": 900, "target_core_mod": 1_100, "qla2xxx": 4_200, "scst": 9}
    )
    idle = {"kernel": 400.0, "qla2xxx": 100.0}
    samples = list(fc.values(window, found, sum(idle.values()), idle, fc.Spent(10.0, 5.0)))
    assert {sample.metric: sample.value for sample in samples} == {
        "instructions": (12_209 - 1_000) / 100,
        "own_instructions": 20.0,
        "inbox_instructions": 40.0,
        "switches": 1.5,
        "wakeups": 0.8,
    }
    assert {(s.bench, s.backend, s.pattern, s.system, s.round) for s in samples} == {
        (fc.BENCH, "null", str(SINGLE), "lio", 2)
    }


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("pattern", THROUGHPUT)
def test_slower_than_lio(backend: str, pattern: Pattern) -> None:
    metric, unit = speed(pattern)
    (found,) = missed(spoil("throughput", backend, pattern, metric, "scst/lio", 0.99))
    assert found.what == f"{unit} / LIO's, {backend}, {pattern}"


def test_large_reads_are_not_judged_by_their_number() -> None:
    (large,) = (pattern for pattern in THROUGHPUT if pattern.block >= LARGE)
    assert missed(spoil("throughput", "blk", large, "iops", "scst/lio", 0.1)) == []


def test_twice_lio_at_queue_depth_one() -> None:
    spoiled = spoil("throughput", "null", SINGLE, "iops", "scst/lio", 1.9)
    assert len(missed(spoiled)) == 1
    deeper = replace(SINGLE, depth=32)
    assert missed(spoil("throughput", "null", deeper, "iops", "scst/lio", 1.9)) == []


@pytest.mark.parametrize("metric", CONTROL_LIMITS)
def test_slow_control_plane(metric: str) -> None:
    limit = CONTROL_LIMITS[metric]
    assert len(missed(spoil("control", "api", "100x10", metric, "scst", limit * 1.01))) == 1
    assert missed(spoil("control", "api", "100x50", metric, "scst", limit * 5.9)) == []
    assert len(missed(spoil("control", "api", "100x50", metric, "scst", limit * 6.1))) == 1


def test_what_was_not_measured_is_not_met() -> None:
    assert {requirement.word for requirement in requirements([])} == {"not measured"}
    assert len(missed([])) == len(requirements([]))


def test_judged_by_part() -> None:
    assert {requirement.bench for requirement in judged(good(), ["control"])} == {"control"}


def test_report_holds_every_cell() -> None:
    text = table.report(good())
    for backend in BACKENDS:
        for pattern in THROUGHPUT:
            assert sum(line.startswith(f"| {backend:7} | {pattern!s:19}") for line in text.splitlines()) >= 2
    assert "100x50 = 5,000" in text
    assert "lio 3.00 (blk, read 256k qd1 j1), null_blk 3.00" in text
    for backend in LINE_LIMITS:
        assert sum(
            line.startswith(f"| {backend:7} | randread 4k qd8, 4 CPUs") for line in text.splitlines()
        ) == (4 if backend == "null" else 2)
    assert "hardware queues: lio 1" in text
    assert "2.00" in text


def test_report_of_one_part() -> None:
    text = table.report([result for result in good() if result.bench == "control"])
    assert "Instructions" not in text
    assert "Cache lines" not in text
    assert "Control plane" in text
    assert table.report([]).strip() == ""


def test_summary() -> None:
    lines = table.summary(good()).splitlines()[2:]
    assert lines[-2:] == ["", table.NOTES]
    assert len(lines) - 2 == 3 * 3 + 3 * 3 + 4 + 4 * 3 + 3 + 2 * len(CONTROL_LIMITS)
    assert [word.strip() for word in lines[0].split("|")[1:-1]] == [
        "instructions per I/O",
        "null, randread 4k qd1 j1",
        "10,000",
        "20,000",
        "9,000",
        "0.50",
    ]
    assert table.summary([]).count("\n") == 1


def test_units_say_what_is_counted() -> None:
    rows = [
        [word.strip() for word in line.split("|")[1:3]] for line in table.summary(good()).splitlines()[2:-2]
    ]
    assert {where.split()[1] + where.split()[2] for what, where in rows if what == "MB/s"} == {"read256k"}
    assert {where.split()[2] for what, where in rows if what == "I/Os per second"} == {"4k"}
    assert [FAR in where for what, where in rows if "cache lines" in what] == [False, False, True, False]
    assert not [what for what, _ in rows if "command" in what]


def test_rows_are_aligned() -> None:
    lines = table.markdown(("a", "long name"), [["xyz", "1"], ["", "12,345"]], 1).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2].endswith("         1 |")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (17477.3, "17,477"),
        (99.96, "100.0"),
        (12.34, "12.3"),
        (1.005, "1.00"),
        (0.1, "0.10"),
        (0.01234, "0.012"),
        (0, "0.000"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert table.number(value) == text


def test_range_only_where_it_says_something() -> None:
    result = Result("", "", "", "", "", 10_000.2, 10_000.1, 10_000.4, 3)
    assert table.span(result) == "10,000"
    assert table.span(replace(result, max=10_009)) == "10,000 (10,000-10,009)"
    assert table.span(None) == "-"


def test_readme_markers() -> None:
    text = f"head\n{table.BEGIN}\nold\n{table.END}\ntail\n"
    new = table.replace_between(text, "new\n", Path("README.md"))
    assert new == f"head\n{table.BEGIN}\nnew\n{table.END}\ntail\n"
    assert table.replace_between(new, "new\n", Path("README.md")) == new


@pytest.mark.parametrize("text", ["", table.BEGIN, f"{table.END} {table.BEGIN}"])
def test_readme_without_markers(text: str) -> None:
    with pytest.raises(ValueError, match=r"README\.md.*bench:begin"):
        table.replace_between(text, "new", Path("README.md"))


@pytest.fixture(autouse=True)
def no_last_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "committed", list)


def run(arguments: list[str], results: list[Result], tmp_path: Path) -> int:
    file = tmp_path / "results.json"
    file.write_text(dumps(results))
    return command.main([*arguments, "--results", str(file)])


def test_table_of_good_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--table"], good(), tmp_path) == 0
    assert "74 of 74 required figures met" in capsys.readouterr().out


def test_worse_than_the_last_commit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "committed", good)
    place = ("instructions", "file", Pattern("randwrite", 4096, 1), "instructions", "scst")
    assert run(["--table"], spoil(*place, 10_290.0), tmp_path) == 0
    assert run(["--table"], spoil(*place, 10_310.0), tmp_path) == 1
    assert "instructions, scst, file, randwrite 4k qd1 j1, beside the committed" in capsys.readouterr().out


def test_table_of_bad_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--table"], spoil("throughput", "blk", SINGLE, "iops", "scst/lio", 0.5), tmp_path) == 1
    assert "MISSED" in capsys.readouterr().out


def test_a_bench_that_cannot_be_run_is_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its old results stay, and nothing is said of them."""

    def measure(parts: list[Part]) -> list[Sample]:
        if parts[0].counted:
            raise NoPlugins("qemu: -plugin: invalid option")
        return [sample for sample in io_samples() if sample.bench == parts[0].name]

    monkeypatch.setattr(vm, "measure", measure)
    old = spoil("sharing", "blk", sharing.pattern("randread", 4), "own_lines", "scst", 9.0)
    assert run(["--only", "sharing"], old, tmp_path) == 0
    assert "sharing: skipped, nothing can be counted here: qemu: -plugin: invalid" in capsys.readouterr().out
    assert run(["--only", "instructions"], old, tmp_path) == 0
    kept = loads((tmp_path / "results.json").read_text())
    assert [result for result in kept if result.bench == "sharing"] == [
        result for result in loads(dumps(old)) if result.bench == "sharing"
    ]


def test_a_bench_that_fails_takes_nothing_from_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they have measured is kept and judged; the status is that of a failure."""

    def measure(parts: list[Part]) -> list[Sample]:
        if parts[0].name == "throughput":
            raise PartFailed("throughput: the VM ended with status 3")
        return [sample for sample in io_samples() if sample.bench == parts[0].name]

    monkeypatch.setattr(vm, "measure", measure)
    monkeypatch.setattr(fc, "measure", list)
    old = spoil("throughput", "blk", SINGLE, "iops", "scst/lio", 0.5)
    assert run([], old, tmp_path) == 3
    said = capsys.readouterr()
    assert "bench: throughput: throughput: the VM ended with status 3" in said.err
    assert "instructions per I/O" in said.out
    kept = loads((tmp_path / "results.json").read_text())
    before = loads(dumps(old))
    assert [one for one in kept if one.bench == "throughput"] == [
        one for one in before if one.bench == "throughput"
    ]
    assert len({one.bench for one in kept}) > 1


def test_disturbed_results_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--table"], good(), tmp_path) == 0
    assert "disturbed" not in capsys.readouterr().out
    assert run(["--table"], spoil("throughput", "blk", SINGLE, "host_other_cpus", "scst", 0.7), tmp_path) == 0
    assert "throughput: others used up to 0.7 CPUs" in capsys.readouterr().out


def test_table_without_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--table", "--results", str(tmp_path / "none.json")]) == 2
    assert "none.json" in capsys.readouterr().err


def test_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n{table.BEGIN}\n{table.END}\nend\n")
    monkeypatch.setattr(command, "README", readme)
    assert run(["--readme"], good(), tmp_path) == 0
    assert "| instructions per I/O " in readme.read_text()
    assert readme.read_text().endswith("end\n")
