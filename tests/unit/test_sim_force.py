# SPDX-License-Identifier: GPL-2.0-or-later
"""What is in force while changes are staged is what was shown before them, whatever they are."""

from __future__ import annotations

import copy
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from pyscstadmin.errors import OperationError
from pyscstadmin.sim.access import Target, all_targets
from pyscstadmin.sim.tree import SimTree

TARGETS = ("targets/local/t0", "targets/local/t1")
GROUPS = ("g0", "g1")
steps = st.tuples(
    st.sampled_from(["target", "group", "name", "lun", "link", "mode", "limit", "priority"]),
    st.booleans(),
    st.sampled_from(TARGETS),
    st.sampled_from(["", *GROUPS]),
    st.integers(0, 2),
)
Step = tuple[str, bool, str, str, int]


def tree() -> SimTree:
    made = SimTree()
    for number in range(3):
        made.mkdir(f"devices/nullio/d{number}")
        made.write(f"devices/nullio/d{number}/size", "1048576")
        made.write(f"devices/nullio/d{number}/enabled", "1")
    return made


def do(made: SimTree, step: Step) -> None:
    """One step, if the tree lets it."""
    what, on, target, group, number = step
    place = f"{target}/groups/{group}" if group else target
    lun = f"{place}/luns/{number}"
    with suppress(OperationError):
        match what:
            case "target":
                (made.mkdir if on else made.rmdir)(target)
            case "group":
                (made.mkdir if on else made.rmdir)(f"{target}/groups/{group or 'g0'}")
            case "name":
                (made.mkdir if on else made.rmdir)(f"{place}/initiators/i{number}")
            case "lun":
                (made.mkdir if on else made.rmdir)(lun)
            case "link" if on:
                made.symlink(f"devices/nullio/d{number}", f"{lun}/device")
            case "link":
                made.unlink(f"{lun}/device")
            case "mode":
                made.write(f"{lun}/read_only", str(int(on)))
            case "limit":
                made.write(f"{lun}/write_iops", str(number + int(on)))
            case "priority":
                made.write(f"{place}/priority", str(number))


@settings(max_examples=200, deadline=None)
@given(st.lists(steps, max_size=30), st.lists(steps, max_size=30))
def test_staged_changes_are_not_in_force(before: list[Step], after: list[Step]) -> None:
    made = tree()
    for step in (("target", True, TARGETS[0], "", 0), ("target", True, TARGETS[1], "", 0), *before):
        do(made, step)
    was = copy.deepcopy(made.top.access())
    made.write("autocommit", "0")
    for step in after:
        do(made, step)
        for target in TARGETS:
            # What a removed target showed is nobody's business any more.
            if step[0] == "target" and target not in [t.path for t in targets(made)]:
                was.pop(target, None)
        assert made.top.force() == was
        other = SimTree()
        other.load(copy.deepcopy(made.dump()))
        assert other.top.force() == was
        assert other.dump() == made.dump()
    made.write("autocommit", "1")
    assert made.top.force() == made.top.access()


def targets(made: SimTree) -> list[Target]:
    return list(all_targets(made.top))
