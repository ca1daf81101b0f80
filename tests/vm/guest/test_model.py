# SPDX-License-Identifier: GPL-2.0-or-later
"""Random steps of three initiators through two ports, held against the model of the standards (tests/model).

Status, every byte of sense data and of data, and what has to wait are those of the model. A run is made of
episodes, each on a new tree; of one that diverges those steps are told that it takes. ``SCST_MODEL_STEPS``
and ``SCST_MODEL_LOCAL_STEPS`` say how many steps there are, ``SCST_SEED`` which ones.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.model import steps
from tests.model.shrink import shrink
from tests.model.steps import Function
from tests.model.target import Outcome, Target
from tests.model.walk import Walk, Wishes
from tests.vm.guest import script, tree
from tests.vm.guest.rig import Local, Rig, Scripted, first_steps, fresh

SCST_MODULES = ("scst", "scst_fileio", "scst_local", "scst_script", "sg")

pytestmark = pytest.mark.usefixtures("clean_tree")

STEPS = int(os.environ.get("SCST_MODEL_STEPS", "7500"))
LOCAL_STEPS = int(os.environ.get("SCST_MODEL_LOCAL_STEPS", "2500"))
SEED = int(os.environ.get("SCST_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
EPISODE = 500
LOCAL_FUNCTIONS = (Function.LUN_RESET, Function.TARGET_RESET)


class Diverged(Exception):
    """The kernel does something else than the model."""


def take(rig: Rig, model: Target, step: steps.Step) -> Outcome:
    """Do a step. Raises Diverged."""
    wanted = model.apply(step)
    try:
        got = rig.do(step, wanted)
        if got == wanted:
            rig.settle(model)
    except (AssertionError, OSError) as error:
        raise Diverged(f"{step}\n  wanted {describe(wanted)}\n  got    {error}") from error
    if got != wanted:
        raise Diverged(f"{step}\n  wanted {describe(wanted)}\n  got    {describe(got)}")
    return wanted


def begin(rig: Rig, model: Target) -> None:
    """Everybody logs in. Who finds new disks by itself may have heard of power on."""
    for step in first_steps():
        take(rig, model, step)
    if rig.told():
        for path in model.paths:
            path.pending.clear()


def describe(outcome: Outcome) -> str:
    """For people."""
    parts = [f"{number}: {answer}" for number, answer in outcome.answers.items()]
    parts += [f"{number}: waits for its data" for number in outcome.wants_data]
    return "; ".join(parts + ([outcome.response] if outcome.response else [])) or "nothing"


def replay(kind: type[Rig], folder: Path, path: list[steps.Step]) -> str | None:
    """Take the steps that are possible. Returns how the kernel diverges."""
    with fresh(kind, folder) as rig:
        model = rig.model()
        try:
            begin(rig, model)
            for step in filter(model.possible, path):
                take(rig, model, step)
        except Diverged as diverged:
            return str(diverged)
    return None


def report(kind: type[Rig], folder: Path, path: list[steps.Step], first: str, where: str) -> str:
    """What went wrong, and the fewest steps to it."""
    fewest = shrink(path, lambda tried: replay(kind, folder, tried) is not None)
    again = replay(kind, folder, fewest)
    text = "\n".join(f"  {step}" for step in fewest)
    return f"{where}: {first}\nthe fewest steps to {again or 'nothing, this time'}:\n{text}"


def episode(
    kind: type[Rig], folder: Path, seed: str, length: int, wishes: Wishes, seen: Counter[str]
) -> None:
    """Steps on a new tree."""
    path: list[steps.Step] = []
    with fresh(kind, folder) as rig:
        model = rig.model()
        walk = Walk(random.Random(seed), model, wishes)
        try:
            begin(rig, model)
            for _ in range(length):
                path.append(walk.step())
                count(path[-1], take(rig, model, path[-1]), seen)
            return
        except Diverged as diverged:
            first = str(diverged)
    pytest.fail(report(kind, folder, path, first, f"seed {seed}, step {len(path)}"), pytrace=False)


def count(step: steps.Step, outcome: Outcome, seen: Counter[str]) -> None:
    """How often what has come of it."""
    for answer in outcome.answers.values():
        said = answer.sense[1:4] if answer.sense[:1] == b"\x72" else answer.sense[2:3] + answer.sense[12:14]
        seen[f"status {answer.status:02x} {said.hex('/')}"] += 1
    name = type(step.command if isinstance(step, steps.Send) else step).__name__
    seen[name] += 1


def run(kind: type[Rig], folder: Path, number: int, wishes: Wishes) -> None:
    """Episodes with so many steps in all."""
    seen: Counter[str] = Counter()
    print(f"\nSCST_SEED={SEED}: {number} steps of {kind.__name__}")
    for begin in range(0, number, EPISODE):
        length = min(EPISODE, number - begin)
        episode(kind, folder, f"{SEED}.{begin}.{kind.__name__}", length, wishes, seen)
    for name, times in sorted(seen.items()):
        print(f"  {name:24} {times}")


@pytest.fixture
def counted() -> Iterator[None]:
    """The core keeps its promises to the scripted driver."""
    before = script.counters()
    yield
    script.check_counters(before)


def test_scripted(ext4: Path, counted: None) -> None:
    """With commands that wait for their data, are aborted, wait for others."""
    run(Scripted, ext4, STEPS, Wishes())


def test_local(ext4: Path) -> None:
    """Through Linux' own SCSI layer."""
    with tree.without_sd():
        run(Local, ext4, LOCAL_STEPS, Wishes(held=False, news=False, functions=LOCAL_FUNCTIONS))
