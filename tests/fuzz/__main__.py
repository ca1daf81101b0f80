# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m tests.fuzz [--time SECONDS] [--keep] [TARGET ...]``: libFuzzer, with AddressSanitizer and
UndefinedBehaviorSanitizer, on each target for its share of the time, as many at once as there are CPUs; and
logins of iSCSI, which are Python (tests/fuzz/logins.py).

What was found on the way is kept in build/fuzz/TARGET, where the next run begins; ``--keep`` puts the
inputs that reach something new into tests/fuzz/corpus, which ``make test`` runs. An input that fails is left
in build/fuzz. Status 1: there is one.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz import logins
from tests.fuzz.targets import REPO, TARGETS, Target

BUILD = REPO / "build/fuzz"
# Longer inputs find nothing that shorter ones of the same kind do not, and take longer.
LONGEST = 4096
# As `make test` runs them all, they are kept few.
KEPT = 120


def compiler() -> str:
    """The newest clang there is."""
    found = [
        name for name in ("clang", *(f"clang-{number}" for number in range(22, 12, -1))) if shutil.which(name)
    ]
    if not found:
        raise SystemExit("fuzz: there is no clang; 'make fuzz' installs it")
    return found[0]


def fuzz(target: Target, program: Path, seconds: int) -> tuple[bool, str]:
    """Run one target. Returns whether nothing failed, and the last figures."""
    own = BUILD / target.name
    own.mkdir(parents=True, exist_ok=True)
    log = BUILD / f"{target.name}.log"
    options = (
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST}",
        "-close_fd_mask=1",
        "-print_final_stats=1",
    )
    with log.open("w", encoding="utf-8") as stream:
        command = [
            str(program),
            *options,
            f"-artifact_prefix={BUILD}/{target.name}-",
            str(own),
            str(target.corpus),
        ]
        # In an hour what has been freed, and where from, would be more than libFuzzer lets a target have.
        environment = {"ASAN_OPTIONS": "quarantine_size_mb=16:malloc_context_size=8", **os.environ}
        done = subprocess.run(command, stderr=stream, stdout=subprocess.DEVNULL, check=False, env=environment)
    text = log.read_text(encoding="utf-8", errors="replace")
    runs = re.findall(r"number_of_executed_units: (\d+)", text)
    covered = re.findall(r"cov: (\d+)", text)
    if done.returncode:
        return False, f"FAILED, see {log.relative_to(REPO)}:\n" + "\n".join(text.splitlines()[-30:])
    return True, f"{int(runs[-1]):,} inputs, {covered[-1]} places reached"


def keep(target: Target, program: Path) -> None:
    """Of all inputs, the fewest that reach all that is reached; and what was recorded of initiators."""
    recorded = {path.name: path.read_bytes() for path in target.corpus.glob("recorded-*")}
    merged = BUILD / f"{target.name}.merged"
    shutil.rmtree(merged, ignore_errors=True)
    merged.mkdir()
    folders = [str(merged), str(target.corpus), str(BUILD / target.name)]
    options = ["-merge=1", f"-max_len={LONGEST}", "-close_fd_mask=1"]
    subprocess.run([str(program), *options, *folders], check=True, stderr=subprocess.DEVNULL)
    found = sorted(merged.iterdir(), key=lambda path: (path.stat().st_size, path.name))
    # Of more than are kept, some of each size: long ones get where short ones do not.
    found = found[:: -(-len(found) // KEPT)] if found else found
    shutil.rmtree(target.corpus)
    target.corpus.mkdir()
    for path in found:
        shutil.copy(path, target.corpus / path.name[:16])
    for name, data in recorded.items():
        (target.corpus / name).write_bytes(data)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--time", type=int, default=60, help="seconds of all targets together (default: 60)")
    parser.add_argument("--keep", action="store_true", help="keep what reaches something new")
    names = [*(one.name for one in TARGETS), logins.NAME]
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(names))
    given = parser.parse_args(argv)
    unknown = set(given.targets) - set(names)
    if unknown:
        parser.error(f"there is no target {', '.join(sorted(unknown))}")
    chosen = [one for one in TARGETS if not given.targets or one.name in given.targets]
    BUILD.mkdir(parents=True, exist_ok=True)
    programs = {one.name: one.build_fuzzer(compiler(), BUILD / f"{one.name}.fuzzer") for one in chosen}
    all_of = [*(one.name for one in chosen), *({logins.NAME} & set(given.targets or names))]
    lanes = max(1, min(os.cpu_count() or 1, len(all_of)))
    share = max(1, given.time // len(all_of))

    def run(name: str) -> bool:
        if name == logins.NAME:
            good, text = logins.fuzz(
                share, random.SystemRandom().randrange(1 << 32), BUILD / f"{name}-failed"
            )
        else:
            (target,) = [one for one in chosen if one.name == name]
            good, text = fuzz(target, programs[name], share)
        print(f"{name:14} {share} s: {text}", flush=True)
        return good

    with ThreadPoolExecutor(lanes) as pool:
        results = list(pool.map(run, all_of))
    if given.keep:
        for target in chosen:
            keep(target, programs[target.name])
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
