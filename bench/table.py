# SPDX-License-Identifier: GPL-2.0-or-later
"""Results as Markdown tables that are readable as plain text too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.pattern import BACKENDS, DIGEST, FAR, ISCSI, SESSIONS, Pattern, floor, speed
from bench.samples import OURS, Result
from bench.scale import Scale
from bench.verdict import Requirement

NONE = "-"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
INSTRUCTIONS_SHOWN = ("randread 4k qd1 j1", "randwrite 4k qd1 j1", "read 256k qd1 j1")
THROUGHPUT_SHOWN = ("randread 4k qd1 j1", "randread 4k qd32 j2", "randwrite 4k qd32 j2", "read 256k qd4 j1")
SHARING_SHOWN = ("randread 4k qd8, 4 CPUs", "randread 4k qd8, 4 CPUs over iscsi")
NOTES = (
    "An I/O is one of fio's, however many requests the block layer makes of it. LIO's null leaves a read's "
    "buffer as it is, ours fills it with zeroes."
)
STEPS = ("create", "no_change", "one_lun", "one_lun_by_apply", "read_back", "save", "clear", "restore")


def number(value: float) -> str:
    """Three significant digits or more, thousands separated."""
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.095 else f"{value:.3f}"


def span(result: Result | None) -> str:
    """The median, with the range where it says something."""
    if result is None:
        return NONE
    low, middle, high = number(result.min), number(result.median), number(result.max)
    return middle if low == high else f"{middle} ({low}-{high})"


def middle(result: Result | None) -> str:
    """The median only."""
    return NONE if result is None else number(result.median)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], texts: int) -> str:
    """A table with aligned columns; the first *texts* columns are text, the others numbers."""
    table = [list(head), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        aligned = (
            cell.ljust(width) if column < texts else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "| " + " | ".join(aligned) + " |"

    rule = ["-" * width if column < texts else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    return "\n".join([line(table[0]), line(rule), *(line(row) for row in table[1:])])


@dataclass(frozen=True, slots=True)
class Book:
    """Results by place."""

    results: tuple[Result, ...]

    def get(self, bench: str, backend: str, pattern: str, metric: str, system: str = OURS) -> Result | None:
        """The result, or None."""
        place = (bench, backend, pattern, metric, system)
        for result in self.results:
            if (result.bench, result.backend, result.pattern, result.metric, result.system) == place:
                return result
        return None

    def cells(self, bench: str, metric: str) -> list[tuple[str, str]]:
        """Backends and patterns of ours with that metric, in order of measurement."""
        wanted = (bench, metric, OURS)
        found = ((r.backend, r.pattern) for r in self.results if (r.bench, r.metric, r.system) == wanted)
        return list(dict.fromkeys(found))

    def trio(self, bench: str, backend: str, pattern: str, metric: str) -> list[Result | None]:
        """Ours, LIO's and the floor's."""
        system, other = floor(backend, bench)
        return [
            self.get(bench, backend, pattern, metric),
            self.get(bench, backend, pattern, metric, "lio"),
            self.get(bench, other, pattern, metric, system),
        ]

    def ratio(self, bench: str, backend: str, pattern: str, metric: str) -> list[Result | None]:
        """Ours to LIO's and to the floor's."""
        systems = (f"{OURS}/lio", f"{OURS}/{floor(backend, bench)[0]}")
        return [self.get(bench, backend, pattern, metric, system) for system in systems]


COMPARED_HEAD = ("ours", "LIO", "floor", "ours/LIO", "ours/floor")


def compared_row(book: Book, bench: str, backend: str, pattern: str, metric: str) -> list[str]:
    """Ours, LIO, the floor and the two ratios of a cell."""
    place = (bench, backend, pattern, metric)
    return [*map(span, book.trio(*place)), *map(span, book.ratio(*place))]


def compared(book: Book, bench: str, metric: str) -> str:
    """Every cell of a metric."""
    rows = [
        [backend, pattern, *compared_row(book, bench, backend, pattern, metric)]
        for backend, pattern in book.cells(bench, metric)
    ]
    return markdown(("backend", "pattern", *COMPARED_HEAD), rows, 2)


def speeds(book: Book, bench: str) -> str:
    """The speed of every cell: I/Os per second, or of large ones MB/s."""
    rows = []
    for backend, pattern in book.cells(bench, "iops"):
        metric, unit = speed(Pattern.parse(pattern))
        rows.append([backend, pattern, unit, *compared_row(book, bench, backend, pattern, metric)])
    return markdown(("backend", "pattern", "unit", *COMPARED_HEAD), rows, 3)


def splitting(book: Book) -> str:
    """A line that says where a system's block layer makes several requests of an I/O."""
    split = [
        f"{result.system} {number(result.median)} ({result.backend}, {result.pattern})"
        for result in book.results
        if (result.bench, result.metric) == ("instructions", "requests") and result.median > 1.01
    ]
    return f"Requests per I/O are more than 1 with: {', '.join(split)}." if split else ""


def per_io(book: Book) -> str:
    """CPU time and context switches per I/O of every cell (medians)."""
    names = (name for metric in ("CPU us", "switches") for name in (metric, "LIO", "floor"))
    head = ("backend", "pattern", *names, "host load")
    rows = []
    for backend, pattern in book.cells("throughput", "switches"):
        values = [
            result
            for metric in ("cpu_us", "switches")
            for result in book.trio("throughput", backend, pattern, metric)
        ]
        load = book.get("throughput", backend, pattern, "host_other_cpus")
        rows.append([backend, pattern, *map(middle, values), middle(load)])
    return markdown(head, rows, 2)


def control(book: Book) -> str:
    """Seconds of the control plane's steps."""
    head = ("mappings", "step", "Admin", "scstadmin", "rtslib", "Admin/rtslib")
    scales = dict.fromkeys(r.pattern for r in book.results if r.bench == "control")
    rows = (control_row(book, scale, step) for scale in scales for step in STEPS)
    return markdown(head, (row for row in rows if set(row[2:]) != {NONE}), 2)


def control_row(book: Book, scale: str, step: str) -> list[str]:
    """One step at one scale."""
    metric = f"{step}_s"
    ours, lio = (book.get("control", "api", scale, metric, system) for system in (OURS, "rtslib"))
    tool = book.get("control", "command", scale, metric)
    share = NONE if ours is None or lio is None or not lio.median else number(ours.median / lio.median)
    count = f"{scale} = {Scale.parse(scale).mappings:,}"
    return [count, step.replace("_", " "), span(ours), span(tool), middle(lio), share]


def verdicts(requirements: Iterable[Requirement]) -> str:
    """A line per requirement."""
    head = ("required", "limit", "value", "verdict")
    rows = [
        [
            r.what,
            ("at least " if r.at_least else "at most ") + number(r.limit),
            NONE if r.value is None else number(r.value),
            r.word,
        ]
        for r in requirements
    ]
    return markdown(head, rows, 1)


def disturbance(book: Book) -> list[tuple[str, float]]:
    """Most CPUs of the host that others used during a cell, per bench whose times depend on it."""
    found: dict[str, float] = {}
    for result in book.results:
        if result.metric == "host_other_cpus":
            found[result.bench] = max(found.get(result.bench, 0.0), result.median)
    return list(found.items())


def setup_line(book: Book) -> str:
    """What the figures depend on."""
    cpus = next((r for r in book.results if (r.bench, r.metric) == ("setup", "cpus")), None)
    rows = (r for r in book.results if (r.bench, r.metric) == ("setup", "hardware_queues"))
    queues = {row.system: int(row.median) for row in rows}
    if cpus is None:
        return ""
    listed = ", ".join(f"{system} {count}" for system, count in queues.items())
    return f"Kernel {cpus.pattern}, {int(cpus.median)} CPUs; hardware queues: {listed}."


def report(results: Sequence[Result]) -> str:
    """All tables there are results for."""
    book = Book(tuple(results))
    counted = "**Instructions per I/O of fio** (1 CPU, the whole machine, fio included)"
    own = "**Cache lines per I/O of fio that a system's own modules have come from another CPU**"
    moved = "**Cache lines per I/O of fio that move between CPUs**, the whole machine"
    fast = "**I/Os of fio per second, or MB/s** (ratios: of runs seconds apart)"
    spent = "**Per I/O of fio: CPU time, context switches** (medians; host load: CPUs that others used)"
    queues = "**The same, tcm_loop with a hardware queue per CPU** (null only)"
    managed = "**Control plane, seconds** (Admin: in one process; scstadmin: a process per step)"
    sections: list[str] = []
    if book.cells("instructions", "instructions"):
        sections += [counted, compared(book, "instructions", "instructions"), splitting(book)]
    if book.cells("sharing", "lines"):
        sections += [own, compared(book, "sharing", "own_lines"), moved, compared(book, "sharing", "lines")]
    if book.cells("throughput", "iops"):
        sections += [fast, setup_line(book), speeds(book, "throughput"), spent, per_io(book)]
    if book.cells("multiqueue", "iops"):
        sections += [queues, speeds(book, "multiqueue")]
    if book.cells("fc", "instructions"):
        sections += fibre_channel(book)
    if book.cells(ISCSI, "instructions"):
        sections += over_iscsi(book)
    if book.cells(SESSIONS, "speedup"):
        sections += [
            "**iSCSI over loopback, two sessions on two CPUs beside one** (I/Os per second, wall clock)",
            sessions(book),
        ]
    if any(result.bench == "control" for result in results):
        sections += [managed, control(book)]
    return "\n\n".join(section for section in sections if section) + "\n"


def fibre_channel(book: Book) -> list[str]:
    """Tables of the target's side of Fibre Channel."""
    titles = {
        "instructions": "**Fibre Channel, instructions per I/O on the target's side** (all of its machine)",
        "own_instructions": "**Of these, in the target's own modules** (of them the emulator hides nothing)",
        "inbox_instructions": "**Of these, in the in-box driver of the board**, which both use",
        "wakeups": "**Threads woken per I/O on the target's side**",
        "switches": "**Context switches per I/O on the target's side** (to a thread and back to idle)",
    }
    return [text for metric, title in titles.items() for text in (title, compared(book, "fc", metric))]


def over_iscsi(book: Book) -> list[str]:
    """Tables of iSCSI with both ends on one machine."""
    counted = (
        "**iSCSI over loopback, instructions per I/O of fio** (both ends; floor: NVMe over TCP on null_blk)"
    )
    switched = "**iSCSI over loopback, context switches per I/O of fio** (both ends)"
    return [counted, compared(book, ISCSI, "instructions"), switched, compared(book, ISCSI, "switches")]


def sessions(book: Book) -> str:
    """One session, both, and the ratio round by round, of each system."""
    names = {"iops_one": "one", "iops_both": "two", "speedup": "two/one", "host_other_cpus": "host load"}
    rows = [
        [system, pattern, *(span(book.get(SESSIONS, backend, pattern, name, system)) for name in names)]
        for backend, pattern in book.cells(SESSIONS, "speedup")
        for system in (OURS, "lio")
    ]
    return markdown(("system", "pattern", *names.values()), rows, 2)


SUMMARY = (
    *(("instructions", "instructions", "instructions per I/O", pattern) for pattern in INSTRUCTIONS_SHOWN),
    *((ISCSI, "instructions", "iSCSI, both ends: instructions", pattern) for pattern in INSTRUCTIONS_SHOWN),
    *(("sharing", "own_lines", "cache lines moved per I/O", pattern) for pattern in SHARING_SHOWN),
    *(("throughput", *speed(Pattern.parse(pattern)), pattern) for pattern in THROUGHPUT_SHOWN),
    *(("throughput", "switches", "context switches per I/O", pattern) for pattern in THROUGHPUT_SHOWN[:1]),
)
SUMMARY_SCALES = ("100x10", "100x50")


def summary(results: Sequence[Result]) -> str:
    """One table of what matters most (medians)."""
    book = Book(tuple(results))
    rows = [
        row
        for bench, metric, title, pattern in SUMMARY
        for backend in (*BACKENDS, FAR, DIGEST)
        if (row := summary_row(book, (bench, backend, pattern, metric), title))
    ]
    for scale in SUMMARY_SCALES:
        for step in STEPS:
            cells = control_row(book, scale, step)
            if cells[2] != NONE:
                result = book.get("control", "api", scale, f"{step}_s")
                rows.append(
                    [f"seconds, {cells[0]} mappings", cells[1], middle(result), cells[4], NONE, cells[5]]
                )
    text = markdown(("what", "where", "ours", "LIO", "floor", "ours/LIO"), rows, 2)
    return f"{text}\n\n{NOTES}" if rows else text


def summary_row(book: Book, place: tuple[str, str, str, str], title: str) -> list[str]:
    """A row of the summary, empty when ours was not measured there."""
    trio = book.trio(*place)
    if trio[0] is None:
        return []
    return [title, f"{place[1]}, {place[2]}", *map(middle, trio), middle(book.ratio(*place)[0])]


def replace_between(text: str, table: str, path: Path) -> str:
    """*text* with what is between the markers replaced; ValueError names the file when it has no markers."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path}: no lines {BEGIN} and {END}, in this order, where the table belongs")
    return f"{head}{BEGIN}\n{table.strip()}\n{END}{tail}"
