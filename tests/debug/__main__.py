# SPDX-License-Identifier: GPL-2.0-or-later
"""``make test-debug``: the tests in the virtual machine and faults of many kinds, on a debug kernel.

The kernel is built when it is not in the cache (tests/debug/kernel.py). A report of the kernel's fails the
run, and so does a run at whose end lockdep has switched itself off, or memory has leaked. On the kind "kcsan"
no memory is made to fail: what it finds are accesses that nothing orders. Arguments that are left name the
parts to run; default: all, two at a time, each in a machine of its own.

Such a kernel takes more than two hours for all tests. So each day another share of those in tests/vm/guest is
run, which is to be over in forty minutes; ``--share=1/1`` runs all.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from tests.debug import kernel
from tests.vm import suite
from tests.vm.guest.share import LEAKS, WHOLE, Share

HERE = Path(__file__).resolve().parent
GUEST = HERE.parent / "vm/guest"
# The factor by which such a kernel is slower than the tests' limits allow for.
SLOW = 8
SECONDS = 5400
# What stands still for so long hangs. For less, a busy host may not have run the machine's processors.
STALLS = "rcupdate.rcu_cpu_stall_timeout=300 workqueue.watchdog_thresh=300"
SHARES = 7
GUESTS = 2  # machines that the tests of tests/vm/guest are dealt out to
LAST = LEAKS  # what all tests before it have leaked
STRESS = "test_stress.py"  # needs no fault injection
# What the tests take from the environment: see their descriptions.
PASSED_ON = ("SCST_EVERY", "SCST_FAULT_SECONDS", "SCST_SEED", "SCST_STRESS_SECONDS")


def todays() -> Share:
    """The share of today."""
    return Share(date.today().toordinal() % SHARES + 1, SHARES)


def part(kind: str, name: str, files: Sequence[Path], share: Share | None = None) -> suite.Part:
    """Some files of tests in one machine, or a share of their tests."""
    out = suite.REPO / "build/vm" / f"debug-{kind}-{name}"
    words = (
        "-m",
        "tests.vm",
        "test",
        f"--out={out}",
        f"--timeout={SECONDS}",
        f"--append={STALLS}",
        f"--env=SCST_SLOW={SLOW}",
        *(f"--env={key}={os.environ[key]}" for key in PASSED_ON if key in os.environ),
        *((f"--env=SCST_SHARE={share}",) if share else ()),
    )
    names = (str(file.relative_to(suite.REPO)) for file in files)
    return suite.Part(name, (sys.executable, *words, "--", *names), out / "junit.xml")


def parts(kind: str = kernel.KINDS[0], share: Share = WHOLE) -> list[suite.Part]:
    """What runs on a kernel of a kind: all that makes something fail, and a share of the other tests."""
    last = HERE / "guest" / LAST
    guest, faults = (sorted(folder.glob("test_*.py")) for folder in (GUEST, HERE / "guest"))
    hands = [guest[number::GUESTS] for number in range(GUESTS)]
    if kind == "kcsan":
        hands[-1].append(HERE / "guest" / STRESS)
        return [part(kind, f"guest-{number}", hand, share) for number, hand in enumerate(hands, 1)]
    return [
        part(kind, "faults", [*(file for file in faults if file != last), last]),
        *(part(kind, f"guest-{number}", [*hand, last], share) for number, hand in enumerate(hands, 1)),
    ]


def share_of(text: str) -> Share:
    """An argument. Raises ArgumentTypeError, which says what is wrong."""
    try:
        return Share.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Exit status 1 when a test fails, 2 when there is no kernel."""
    options = argparse.ArgumentParser(prog="python -m tests.debug", description="Tests on a debug kernel.")
    options.add_argument("--kind", choices=kernel.KINDS, default=kernel.KINDS[0])
    options.add_argument("--series", default=kernel.SERIES, help="of the source package: linux-source-SERIES")
    options.add_argument("--share", type=share_of, default=todays(), help="of tests/vm/guest: 2/7")
    options.add_argument("parts", nargs="*", help="names of parts; default: all")
    chosen = options.parse_args(argv)
    known = parts(chosen.kind, chosen.share)
    wanted = chosen.parts or [each.name for each in known]
    if unknown := set(wanted) - {each.name for each in known}:
        options.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(p.name for p in known)}")
    start = time.monotonic()
    try:
        root = kernel.unpacked(kernel.recipe(chosen.kind, chosen.series))
    except kernel.KernelError as error:
        print(f"debug kernel: {error}", file=sys.stderr)
        return 2
    print(f"debug kernel: {root}, after {time.monotonic() - start:.0f} s; share {chosen.share}", flush=True)
    # Those that run it ask for it when they are imported.
    os.environ["SCST_KERNEL_ROOT"] = str(root)
    return suite.report(suite.run_all([each for each in known if each.name in wanted]))


if __name__ == "__main__":
    sys.exit(main())
