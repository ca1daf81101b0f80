# SPDX-License-Identifier: GPL-2.0-or-later
"""Command line of the test bed; see README.md."""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .isp.models import MODELS
from .vm.packages import SERIES, Cache, SetupError, cache_root


def _setup(args: argparse.Namespace) -> int:
    cache = Cache(cache_root())
    print(f"tools: {cache.tools().root}")
    for series in args.kernel or SERIES:
        kernel = cache.kernel(series)
        print(f"kernel {series}: {kernel.release}")
    return 0


def _vm(args: argparse.Namespace) -> int:
    from .vm.lab import Effort, build_own
    from .vm.runner import run_kernel, select

    cache = Cache(cache_root())
    if args.record:
        args.record.mkdir(parents=True, exist_ok=True)
    failed: list[str] = []
    effort = Effort(args.seconds, args.seed)
    for series in args.kernel or SERIES[:1]:
        names = select(args.scenario, first=series == SERIES[0])
        build_own(cache.kernel(series), names)
        failed += run_kernel(cache, cache.kernel(series), names, args.record, effort)
    print(f"FAILED: {', '.join(failed)}" if failed else "all scenarios passed")
    return 1 if failed else 0


def _unit(args: argparse.Namespace) -> int:
    tests = Path(__file__).parent / "tests"
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(tests), *args.pytest], check=False
    ).returncode


def _fuzz(args: argparse.Namespace) -> int:
    from .fuzz import run

    return run(args.seconds, args.seed)


def _bench(args: argparse.Namespace) -> int:
    from .vm.bench import run

    return run(Cache(cache_root()), args.kernel, args.seconds)


def _boot(args: argparse.Namespace) -> int:
    from .vm.boot import BootPlan, run

    script = args.command or args.script.read()
    plan = BootPlan(args.model, script, args.kernel, args.target, args.module, args.record, args.timeout)
    return run(Cache(cache_root()), plan)


def _serve(args: argparse.Namespace) -> int:
    from .serve import run

    return run(args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__)
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="log connections and requests that were refused"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    setup = commands.add_parser("setup", help="fill the cache with QEMU, tools and kernels")
    setup.add_argument("--kernel", action="append", choices=SERIES, help="only this series (repeatable)")
    setup.set_defaults(run=_setup)
    vm = commands.add_parser("vm", help="run scenarios in VMs")
    vm.add_argument("scenario", nargs="*", help="names; without: all on 6.1, the smoke ones on the others")
    vm.add_argument("--kernel", action="append", choices=SERIES, help="series (repeatable); without: 6.1")
    vm.add_argument(
        "--record", type=Path, metavar="FOLDER", help="write a trace and a pcap-ng file per scenario"
    )
    vm.add_argument("--seconds", type=float, default=20, help="how long scst-chaos goes on")
    vm.add_argument("--seed", type=int, default=1, help="what scst-chaos does")
    vm.set_defaults(run=_vm)
    unit = commands.add_parser("unit", help="run the unit tests (needs pytest)")
    unit.add_argument("pytest", nargs="*", help="more arguments for pytest")
    unit.set_defaults(run=_unit)
    fuzz = commands.add_parser("fuzz", help="attack the server with rubbish")
    fuzz.add_argument("--seconds", type=float, default=600)
    fuzz.add_argument("--seed", type=int, default=1)
    fuzz.set_defaults(run=_fuzz)
    bench = commands.add_parser(
        "bench", help="measure reads per second and latency, with a profile of the server"
    )
    bench.add_argument("--kernel", choices=SERIES, default=SERIES[0])
    bench.add_argument("--seconds", type=int, default=10)
    bench.set_defaults(run=_bench)
    _add_boot(commands.add_parser("boot", help="boot a VM with boards and run a shell script of yours in it"))
    _add_serve(commands.add_parser("serve", help="serve boards on sockets for machines started by hand"))
    return parser


def _model(text: str) -> str:
    # argparse does not take "choices" together with "none at all".
    if text not in MODELS:
        raise argparse.ArgumentTypeError(f"{text} is none of {', '.join(MODELS)}")
    return text


def _add_boot(boot: argparse.ArgumentParser) -> None:
    boot.add_argument("model", nargs="*", type=_model, help=f"one board per model named: {', '.join(MODELS)}")
    script = boot.add_mutually_exclusive_group(required=True)
    script.add_argument("-c", "--command", help="the script itself")
    script.add_argument("--script", type=argparse.FileType("r"), help="a file with the script")
    boot.add_argument("--kernel", choices=SERIES, default=SERIES[0])
    boot.add_argument("--target", action="store_true", help="also a scripted target port with a RAM disk")
    boot.add_argument(
        "--module", type=Path, action="append", default=[], help="module file for the guest's /extra"
    )
    boot.add_argument("--record", type=Path, metavar="FILE", help="write FILE.txt and FILE.pcapng")
    boot.add_argument("--timeout", type=float, default=600, help="seconds for the script")
    boot.set_defaults(run=_boot)


def _add_serve(serve: argparse.ArgumentParser) -> None:
    serve.add_argument("folder", type=Path, help="folder for the sockets hba0.sock ... and control")
    serve.add_argument("model", nargs="+", choices=MODELS, help="one board per model named")
    serve.add_argument("--medium", choices=("switch", "loop"), default="switch")
    serve.add_argument(
        "--disk", type=int, metavar="MIB", help="also a scripted target port with a RAM disk of this size"
    )
    serve.add_argument(
        "--trace",
        type=argparse.FileType("w", 1),
        metavar="FILE",
        help="one line per IOCB and mailbox command",
    )
    serve.add_argument("--pcap", type=argparse.FileType("wb"), metavar="FILE", help="frames as pcap-ng")
    serve.set_defaults(run=_serve)


def main(argv: Sequence[str]) -> int:
    """Run a command; the exit code: 0 good, 1 a test failed, 2 wrong usage or no set-up."""
    args = _parser().parse_args(argv)
    logging.basicConfig(
        level=logging.INFO if args.verbose else logging.WARNING,
        stream=sys.stderr,
        format="%(name)s: %(message)s",
    )
    try:
        code: int = args.run(args)
    except (SetupError, KeyError) as err:
        print(f"run.py: {err.args[0] if err.args else err}", file=sys.stderr)
        return 2
    return code
