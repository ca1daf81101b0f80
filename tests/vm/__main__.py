# SPDX-License-Identifier: GPL-2.0-or-later
"""Command line of the test VM: ``python -m tests.vm test|run|build|check|save``.

Exit status: that of the job; 1 when the job passed and the kernel log did not; 3 when the machine failed; 2
for wrong usage, or when the modules do not build.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from pathlib import Path

from tests.vm import booted, bootimage, klog, kmodbuild, machine

KEPT_RUNS = 20
USAGE, BROKEN = 2, 3


def parser() -> argparse.ArgumentParser:
    """The options, see the module's description."""
    top = argparse.ArgumentParser(prog="python -m tests.vm", description="Run tests in a virtual machine.")
    commands = top.add_subparsers(dest="command", required=True)
    test = commands.add_parser("test", help="build the modules and run pytest in the VM")
    program = commands.add_parser("run", help="build the modules and run a program in the VM")
    save = commands.add_parser("save", help="make the saved machine that later runs resume")
    build = commands.add_parser("build", help="build the modules only")
    for command in (test, program, save):
        add_machine_options(command)
    for command in (test, program):
        add_job_options(command)
    for command in (test, program, build):
        command.add_argument("--selftest-module", action="store_true", help=argparse.SUPPRESS)
    check = commands.add_parser(
        "check", help="build the modules with all warnings and sparse; any word is a failure"
    )
    check.add_argument("--kdir", type=Path, help="kernel build folder (default: of the VM's kernel)")
    build.add_argument("--tested", action="store_true", help="with those of the tests, where machines look")
    build.add_argument("--kdir", type=Path, help="kernel build folder (default: of the VM's kernel)")
    test.add_argument("argv", nargs="*", metavar="pytest argument", help="default: tests/vm/guest")
    program.add_argument("argv", nargs="+", metavar="word", help="program and its arguments")
    return top


def add_machine_options(command: argparse.ArgumentParser) -> None:
    """Options about what is booted."""
    command.add_argument("--kernel", metavar="RELEASE", help="kernel in /boot (default: the newest)")
    command.add_argument("--cpus", type=int, default=2)
    command.add_argument("--memory", type=int, default=3072, metavar="MIB")
    command.add_argument(
        "--disk", type=disk, action="append", metavar="SERIAL:MIB", help="instead of the usual three"
    )
    command.add_argument(
        "--append", default="", metavar="WORDS", help="more words for the kernel command line"
    )
    command.add_argument(
        "--icount", action="store_true", help="one CPU, a guest nanosecond is one instruction"
    )
    command.add_argument("--qemu", default="", metavar="WORDS", help="more words for QEMU's command line")


def add_job_options(command: argparse.ArgumentParser) -> None:
    """Options about the run."""
    command.add_argument("--udev", action="store_true", help="start systemd-udevd first")
    command.add_argument(
        "--systemd", action="store_true", help="systemd is the first process, with this repository's units"
    )
    command.add_argument("--fresh", action="store_true", help="boot instead of resuming the saved machine")
    command.add_argument("--timeout", type=float, default=600, metavar="SECONDS")
    command.add_argument(
        "--silence",
        type=float,
        default=machine.SILENCE_SECONDS,
        metavar="SECONDS",
        help="without a sign of life after which the machine is ended",
    )
    command.add_argument("--out", type=Path, metavar="DIR", help="results (default: build/vm/<time>)")
    command.add_argument("--env", type=setting, action="append", default=[], metavar="NAME=VALUE")
    command.add_argument("--no-build", action="store_true", help="do not build or offer the modules")
    command.add_argument("--built", action="store_true", help="take the modules that lie in build/kmod")
    command.add_argument("--quiet", action="store_true", help="do not show the job's output")


def disk(text: str) -> machine.Disk:
    """Parse SERIAL:MIB."""
    serial, _, size = text.partition(":")
    if not serial or not size.isdigit() or int(size) < 1 or len(serial) > 20:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not SERIAL:MIB (serial of 1 to 20 characters, size from 1)"
        )
    return machine.Disk(serial, int(size))


def setting(text: str) -> tuple[str, str]:
    """Parse NAME=VALUE."""
    name, sign, value = text.partition("=")
    if not name or not sign:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def machine_of(options: argparse.Namespace) -> machine.Machine:
    """What the options say about the machine."""
    return machine.Machine(
        release=options.kernel or bootimage.newest_kernel(),
        cpus=options.cpus,
        memory_mib=options.memory,
        icount=options.icount,
        disks=tuple(options.disk) if options.disk else machine.DISKS,
        append=options.append,
        qemu_args=tuple(options.qemu.split()),
    )


def build_layer(options: argparse.Namespace, release: str) -> Path:
    """Build the modules for a kernel; compiler warnings go to standard error."""
    source, base = kmodbuild.TESTED, None
    if options.command == "build" and not options.tested:
        # Not where machines that are running now have their modules from: those of the tests would go.
        source, base = kmodbuild.PRODUCT, machine.REPO / "build/modules"
    if options.selftest_module:
        source = kmodbuild.Source(bootimage.HERE / "selftest", ("Kbuild", "scst_vm_selftest.c"))
        base = machine.REPO / "build/selftest"
    kdir = getattr(options, "kdir", None) or kmodbuild.build_folder(release)
    with machine.locked((base or machine.REPO / "build/kmod") / "lock"):
        layer, output = kmodbuild.build(kdir, source, base)
    sys.stderr.write(output)
    return layer


def layer(options: argparse.Namespace, release: str) -> Path:
    """What is put over the machine's root: modules built now, or before, elsewhere."""
    return kmodbuild.indexed(release) if options.built else build_layer(options, release)


def new_out(options: argparse.Namespace) -> Path:
    """Folder for this run's results; the link build/vm/last points to the newest."""
    if options.out is not None:
        return Path(options.out).resolve()
    runs = machine.REPO / "build/vm"
    out = runs / f"{time.strftime('%m%d-%H%M%S')}-{os.getpid()}"
    out.mkdir(parents=True)
    link = runs / f".last-{os.getpid()}"
    link.symlink_to(out.name)
    link.rename(runs / "last")
    for old in sorted(path for path in runs.iterdir() if path.name[0].isdigit())[:-KEPT_RUNS]:
        machine.remove(old)
    return out


def pytest_arguments(options: argparse.Namespace) -> tuple[str, ...]:
    """Arguments of pytest in the guest."""
    fixed = (
        "-p",
        "tests.vm.guest_plugin",
        "-o",
        "cache_dir=/tmp/pytest-cache",
        "--junitxml=/out/junit.xml",
        "-v",
    )
    return (*fixed, *(options.argv or ["tests/vm/guest"]))


def job_of(options: argparse.Namespace, layers: tuple[str, ...]) -> machine.Job:
    """What the options say about the job."""
    pytest = options.command == "test"
    return machine.Job(
        kind="pytest" if pytest else "program",
        argv=pytest_arguments(options) if pytest else tuple(options.argv),
        env=dict(options.env),
        timeout=options.timeout,
        silence=options.silence,
        udev=options.udev,
        systemd=booted.UNITS if options.systemd else "",
        layers=layers,
    )


def judge(result: machine.Result) -> int:
    """Exit status of a run: the job's, or 1 when only the kernel log is bad. Says what it saw."""
    lines = (result.out / "kernel.log").read_text(errors="replace").splitlines()
    faults = klog.find_faults(lines)
    if faults:
        print(klog.describe(lines, faults))
        print(f"vm: the kernel said first: {faults[0].text}")
    if result.status == machine.TIMED_OUT:
        print("vm: the job's last lines:", *machine.tail(result.out / "log", 600).splitlines()[-4:], sep="\n")
    job = result.timing["end"] - result.timing["job"]
    verdict = "kernel log clean" if not faults else "KERNEL LOG BAD"
    times = f"{job:.1f} s in the job, {result.wall:.1f} s in all"
    print(f"vm: status {result.status}, {verdict}, {times}; {result.out}")
    return result.status or (1 if faults else 0)


def run_job(options: argparse.Namespace) -> int:
    """Build, run, judge."""
    what = machine_of(options)
    over = [] if options.no_build else [layer(options, what.release)]
    over += [booted.layer()] if options.systemd else []
    layers = tuple(str(folder.relative_to(machine.REPO)) for folder in over)
    out = new_out(options)
    result = machine.run(what, job_of(options, layers), out, fresh=options.fresh, echo=not options.quiet)
    return judge(result)


def save(options: argparse.Namespace) -> int:
    """Make the saved machine."""
    what = machine_of(options)
    machine.saved_machine(what, machine.prepare_boot(what))
    return 0


def build(options: argparse.Namespace) -> int:
    """Build the modules and say where they are."""
    release = kmodbuild.kernel_release(options.kdir) if options.kdir else bootimage.newest_kernel()
    print(build_layer(options, release) / "usr/lib/modules" / release / "updates")
    return 0


def check(options: argparse.Namespace) -> int:
    """Build strictly; any output is a failure."""
    kdir = options.kdir or kmodbuild.build_folder(bootimage.newest_kernel())
    with machine.locked(machine.REPO / "build/check/lock"):
        output = kmodbuild.check(kdir)
    print(
        output or f"kernel modules: no warnings with {kmodbuild.kernel_release(kdir)}",
        end="" if output else "\n",
    )
    return 1 if output else 0


def main() -> int:
    """Entry point."""
    options, rest = parser().parse_known_args()
    if rest and options.command != "test":
        parser().error(f"unknown option {rest[0]} (a program's own options go after --)")
    if rest:
        options.argv += rest
    if platform.machine() != "x86_64":
        print(f"vm: only x86_64 machines can run the test VM, this is {platform.machine()}", file=sys.stderr)
        return USAGE
    commands = {"test": run_job, "run": run_job, "save": save, "build": build, "check": check}
    try:
        return commands[options.command](options)
    except (kmodbuild.BuildError, bootimage.BootImageError) as error:
        print(f"vm: {error}", file=sys.stderr)
        return USAGE
    except machine.MachineError as error:
        print(f"vm: {error}", file=sys.stderr)
        return BROKEN


if __name__ == "__main__":
    sys.exit(main())
