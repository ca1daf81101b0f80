# SPDX-License-Identifier: GPL-2.0-or-later
"""The simulated tree in its directory: what one process did is there for all others."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyscstadmin.admin import Admin
from pyscstadmin.config.model import Device, Group, Target
from pyscstadmin.errors import NotPresent, OperationError
from pyscstadmin.sim import device as simulated
from pyscstadmin.sim import journal
from pyscstadmin.sim.tree import SimTree
from tests.unit.test_sim_force import Step, do, steps, tree


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    done=st.lists(st.tuples(steps, st.booleans(), st.booleans()), max_size=25),
    least=st.sampled_from([0, 300, 1 << 20]),
)
def test_everybody_has_the_same_tree(
    tmp_path_factory: pytest.TempPathFactory, done: list[tuple[Step, bool, bool]], least: int
) -> None:
    """Two processes that take turns, and one that comes later; saved whole seldom, often, or always."""
    directory = str(tmp_path_factory.mktemp("sim"))
    before, journal._LEAST = journal._LEAST, least
    try:
        both = SimTree(directory), SimTree(directory)
        both[0].load(tree().dump())
        both[0].changed()
        both[0].mkdir("targets/local/t0")
        both[0].flush()
        for step, first, staged in done:
            one = both[0] if first else both[1]
            one.refresh()
            if staged:
                one.write("autocommit", str(int(not one.top.autocommit)))
            do(one, step)
            one.write("devices/nullio/d0/active", str(int(first)))
            one.flush()
        for one in both:
            one.refresh()
        assert both[0].dump() == both[1].dump() == SimTree(directory).dump()
    finally:
        journal._LEAST = before


def test_what_became_of_a_device_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what nobody asked for: it was lost, or could not be opened."""
    probe = simulated.Device._probe
    image = tmp_path / "image"
    monkeypatch.setattr(
        simulated.Device,
        "_probe",
        lambda self: setattr(self, "opened", str(image)) if self.handler == "blockio" else probe(self),
    )
    image.write_bytes(bytes(1 << 20))
    sim = str(tmp_path / "sim")
    with Admin(sim=sim) as admin:
        for name, handler in (("a", "blockio"), ("b", "fileio")):
            admin.create_device(Device(name, handler, path=str(image)))
        image.unlink()
        assert admin.standing(["a"])["a"].error == "ENOENT"
        image.write_bytes(bytes(100))
        admin.deactivate("b")
        with pytest.raises(OperationError):
            admin.activate("b")
    image.write_bytes(bytes(1 << 20))
    with Admin(sim=sim) as admin:
        found = admin.standing(["a", "b"])
    assert [(one.state, one.error) for one in found.values()] == [("parked", "ENOENT"), ("parked", "ESTALE")]


def test_what_a_killed_writer_left_is_not_heard(tmp_path: Path) -> None:
    with Admin(sim=str(tmp_path)) as admin:
        admin.create_target(Target("local", "t"))
        admin.create_group("t", Group("a"))
    log = tmp_path / "state.1.log"
    good = log.read_bytes()
    log.write_bytes(good + b'["mkdir", "targets/local/t/groups/b"]\n["mkd')
    with Admin(sim=str(tmp_path)) as admin:
        assert [group.name for group in admin.config().targets[0].groups] == ["a"]
        admin.create_group("t", Group("c"))
    assert log.read_bytes().startswith(good)
    assert b"groups/b" not in log.read_bytes()
    with Admin(sim=str(tmp_path)) as admin:
        assert [group.name for group in admin.config().targets[0].groups] == ["a", "c"]


def test_the_log_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_LEAST", 2000)
    with Admin(sim=str(tmp_path)) as admin:
        for _ in range(100):
            admin.create_device(Device("n", "nullio", size=512))
            admin.remove_device("n")
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 8000
        assert len(list(tmp_path.iterdir())) <= 4


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    sim = tmp_path / "sim"
    sim.mkdir()
    made = SimTree(str(sim))
    (sim / f"state.json.{os.getpid()}").symlink_to(victim)
    made.mkdir("targets/local/t")
    # It is what a writer left that was killed, whose number is that of this one: nobody else writes now.
    made.flush()
    assert victim.read_text() == "precious"
    assert [path.name for path in sim.iterdir()] == ["state.json"]
    assert SimTree(str(sim)).list("targets/local") == ["t"]


def test_a_state_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(NotPresent, match=r"state\.json cannot be read"):
        SimTree(str(tmp_path))
    (tmp_path / "state.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(NotPresent, match="not of this version"):
        SimTree(str(tmp_path))


def test_changes_are_kept_only_while_less_is_saved_by_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large change takes no memory for what is saved whole anyway."""
    monkeypatch.setattr(journal, "_LEAST", 1000)
    sim = str(tmp_path)
    with SimTree(sim) as tree:
        tree.mkdir("targets/local/t")
        assert not tree._changes, "the first is saved whole"
        tree.flush()
        lengths = []
        for number in range(100):
            tree.mkdir(f"targets/local/t/groups/{number}")
            lengths.append(len(tree._changes))
    assert lengths[:10] == list(range(1, 11))
    assert max(lengths) < 60
    assert lengths[-1] == 0
    with SimTree(sim) as tree:
        assert sorted(map(int, tree.list("targets/local/t/groups"))) == [*range(100)]
        tree.mkdir("targets/local/t/groups/more")
        assert len(tree._changes) == 1, "changes count anew after that"
    assert (tmp_path / "state.2.log").exists()


@pytest.mark.parametrize("text", ["[1]", '{"format": %d}', "[" * 99999, '{"format": %d, "devices": 7}', "{}"])
def test_a_state_that_is_json_and_damaged_is_named(text: str, tmp_path: Path) -> None:
    form = SimTree(str(tmp_path / "other")).dump()["format"]
    (tmp_path / "state.json").write_text(text.replace("%d", str(form)))
    with pytest.raises(NotPresent, match="remove it"):
        SimTree(str(tmp_path))
