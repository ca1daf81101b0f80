# SPDX-License-Identifier: GPL-2.0-or-later
"""No wrong disk: names are given anew, disks are pulled, images of one size change places; nobody ever gets
another's data, whatever binds does so because it is the right one, and each refusal names its fact.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pyscstadmin.__main__ import main
from pyscstadmin.admin import Admin
from pyscstadmin.cli.bindings import binding_lines
from pyscstadmin.cli.context import Context
from pyscstadmin.cli.engine import run, understand_line
from pyscstadmin.config.facts import NOTHING, Facts
from pyscstadmin.config.model import Config, Device, Group, Lun, Target
from pyscstadmin.errors import ApplyFailed, Conflict, OperationError
from pyscstadmin.kernel.prove import Was
from pyscstadmin.store.load import load_file
from pyscstadmin.watch.loop import Event, Watcher
from tests.unit.machine import FakeDisk, FakeMachine

pytestmark = pytest.mark.skipif(
    os.environ.get("SCST_REAL") == "1", reason="of a simulated machine; the guest tests have a real one"
)

ROUNDS = int(os.environ.get("SCST_SHUFFLES", "200"))
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
MIB = 1 << 20
PLACE = "pci0000:00/0000:00:{:02x}.0/virtio1/block"

# One of each kind, all of one size; two of most, so that likes change places with likes. The name of the
# fact that has to be named is a part of the message.
DISKS = (
    FakeDisk("scsi1", MIB, {"device/wwid": "naa.51", "device/model": "M"}, links=("disk/by-id/wwn-0x51",)),
    FakeDisk("scsi2", MIB, {"device/wwid": "naa.52", "device/model": "M"}, links=("disk/by-id/wwn-0x52",)),
    FakeDisk("virtio1", MIB, {"serial": "V1"}, links=("disk/by-id/virtio-V1",)),
    FakeDisk("virtio2", MIB, {"serial": "V2"}, links=("disk/by-id/virtio-V2",)),
    FakeDisk("usb1", MIB, properties={"ID_SERIAL": "Stick_1", "ID_FS_UUID": "same"}),
    FakeDisk("usb2", MIB, properties={"ID_SERIAL": "Stick_2", "ID_FS_UUID": "same"}),
    FakeDisk("lv1", MIB, {"dm/uuid": "LVM-1", "dm/name": "vg-one"}),
    FakeDisk("lv2", MIB, {"dm/uuid": "LVM-2", "dm/name": "vg-two"}),
    FakeDisk("bare1", MIB, place=PLACE.format(5)),
    FakeDisk("bare2", MIB, place=PLACE.format(6)),
)
NAMES = tuple(f"d{letter}" for letter in "abcdefghijkl")
BARE = ("bare1", "bare2")


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path / "machine")


@pytest.fixture
def admin(machine: FakeMachine, tmp_path: Path) -> Iterator[Admin]:
    with Admin(sim=str(tmp_path / "sim"), backings=machine) as made:
        yield made


def disk(label: str, size: int = MIB) -> FakeDisk:
    return FakeDisk(label, size, {"serial": label}, links=(f"disk/by-id/virtio-{label}",))


# The shuffle.


@dataclass
class World:
    """Devices named as the disks and images they were made on, and where these are now."""

    machine: FakeMachine
    admin: Admin
    events: list[Event]
    source: random.Random
    images: Path

    def __post_init__(self) -> None:
        self.watcher = Watcher(self.admin, self.events.append)
        # Virtio disks without a number of their own cannot be known again once they were pulled.
        self.pulled: set[str] = set()

    def build(self) -> None:
        """Everything at home, and served."""
        for name, one in zip(NAMES, DISKS, strict=False):
            self.machine.plug(name, one)
            self.admin.create_device(Device(one.label, "blockio", path=self.machine.path(name)))
        for label in ("img1", "img2", "img3"):
            (self.images / label).write_bytes(bytes(MIB))
            os.utime(self.images / label, (1, 1))
            self.admin.create_device(Device(label, "fileio", path=str(self.images / label)))
        self.home = {d.name: d.path for d in self.admin.config().devices}
        self.inodes = {label: (self.images / label).stat().st_ino for label in ("img1", "img2", "img3")}

    def where(self) -> dict[str, str]:
        """label -> name, of the disks that are plugged."""
        return {one.label: name for name, one in self.machine.plugged.items()}

    def pull(self, label: str) -> None:
        """One disk goes."""
        self.machine.unplug(self.where()[label])
        if label in BARE:
            self.pulled.add(label)

    def put(self, label: str) -> None:
        """It comes, under any name that is free; its number may be that of another one before."""
        free = [name for name in NAMES if name not in self.machine.plugged]
        name = self.source.choice(free)
        one = next(one for one in DISKS if one.label == label)
        self.machine.plug(name, one, minor=self.source.choice(self.free_minors()))
        number = self.machine.number(name)
        if self.source.random() < 0.2:
            self.machine.udev.late.add(number)

    def free_minors(self) -> list[int]:
        """Numbers that no disk has."""
        used = {os.minor(self.machine.number(name)) for name in self.machine.plugged}
        return [minor for minor in range(len(NAMES) + 2) if minor not in used]

    def step(self) -> None:
        """Disks are pulled and put back, images change places, sometimes all at once."""
        late = list(self.machine.udev.late)
        for number in late:
            self.machine.udev.late.discard(number)
        labels = self.source.sample([one.label for one in DISKS], self.source.randint(1, 4))
        for label in labels:
            if label in self.where():
                self.pull(label)
        if self.source.random() < 0.3:
            self.watcher.look()
        absent = [one.label for one in DISKS if one.label not in self.where()]
        self.source.shuffle(absent)
        for label in absent[: self.source.randint(0, len(absent))]:
            self.put(label)
        if self.source.random() < 0.3:
            self.swap_images()

    def swap_images(self) -> None:
        """Two files change names, or one is away for a while."""
        one, two = self.source.sample(["img1", "img2", "img3"], 2)
        first, second, aside = self.images / one, self.images / two, self.images / "aside"
        if first.exists() and second.exists():
            first.rename(aside)
            second.rename(first)
            aside.rename(second)

    def settle(self) -> None:
        """The watcher looks, as it does after each event; delays of attempts are over."""
        self.watcher._attempts.clear()
        self.watcher.look()
        self.watcher._attempts.clear()
        self.watcher.look()

    def check(self) -> int:
        """Nobody is on another's disk; who can be known and is there is bound; returns how many are bound."""
        where, bound = self.where(), 0
        for device in self.admin.config().devices:
            directory = f"devices/{device.handler}/{device.name}"
            state, words = self.admin.tree.read_many([f"{directory}/state", f"{directory}/backing"])
            right = self.right_words(device, where)
            if state == "active":
                assert words == right, f"{device.name} is on {words}, not on {right}"
                bound += 1
            else:
                assert not self.knowable(device, where), f"{device.name} is there and was not bound"
        return bound

    def right_words(self, device: Device, where: dict[str, str]) -> str:
        if device.handler == "blockio":
            name = where.get(device.name, "")
            return self.machine.words(self.machine.path(name)) if name else ""
        found = [path for path in self.images.iterdir() if path.stat().st_ino == self.inodes[device.name]]
        return self.machine.words(str(found[0])) if found else ""

    def knowable(self, device: Device, where: dict[str, str]) -> bool:
        """Whether it is there, and there is a proof of that."""
        if device.handler == "fileio":
            path = Path(device.path)
            return path.exists() and path.stat().st_ino == self.inodes[device.name]
        if device.name not in where or device.name in self.pulled:
            return False
        late = self.machine.number(where[device.name]) in self.machine.udev.late
        home = self.machine.path(where[device.name]) == device.path
        return not late or (home and not device.name.startswith("usb"))


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder that is quick to change."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


def test_shuffles(memory: Path) -> None:
    """As many as SCST_SHUFFLES says, the same ones for the same SCST_SEED."""
    seed = int(os.environ.get("SCST_SEED", "7"))
    machine = FakeMachine(memory / "machine")
    (memory / "images").mkdir()
    with Admin(sim=str(memory / "sim"), backings=machine) as admin:
        shuffle(World(machine, admin, [], random.Random(seed), memory / "images"))


def shuffle(world: World) -> None:
    """Build, and let things happen."""
    world.build()
    world.watcher.look()
    assert world.check() == len(DISKS) + 3
    bound = refused = rebound = 0
    for _ in range(ROUNDS):
        world.step()
        world.settle()
        bound += world.check()
        for event in world.events:
            if event.event == "refused":
                refused += 1
                assert event.differences or "all claim" in event.text or "nothing proves" in event.text, event
            rebound += event.event == "rebound"
        world.events.clear()
    assert {d.name: d.path for d in world.admin.config().devices} == world.home
    if ROUNDS >= 100:
        assert bound > ROUNDS
        assert refused > ROUNDS // 10
        assert rebound > ROUNDS // 10


# What the commands do with it.


def served(*devices: Device) -> Config:
    luns = tuple(Lun(number, device.name) for number, device in enumerate(devices))
    return Config(devices, (Target("local", "t", groups=(Group("g", initiators=("i",), luns=luns),)),))


def test_what_a_device_is_known_by_is_saved_and_restored(
    admin: Admin, machine: FakeMachine, tmp_path: Path
) -> None:
    """At the next start of the machine the names are others."""
    machine.plug("da", disk("A"))
    machine.plug("db", disk("B"))
    admin.apply(served(*(Device(f"on-{n}", "blockio", path=machine.path(f"d{n}")) for n in "ab")))
    admin.save(str(tmp_path / "f.json"))
    saved = json.loads((tmp_path / "f.json").read_text())
    assert saved["devices"]["blockio"]["on-a"]["facts"] == {"serial": "A", "size": str(MIB)}
    admin.clear()
    for name in ("da", "db"):
        machine.unplug(name)
    machine.plug("da", disk("B"))
    machine.plug("db", disk("A"))
    outcome = admin.restore(load_file(str(tmp_path / "f.json")))
    assert outcome.parked == ()
    assert {proof.device: (proof.was, proof.at) for proof in outcome.proofs} == {
        "on-a": (Was.MOVED, machine.path("disk/by-id/virtio-A")),
        "on-b": (Was.MOVED, machine.path("disk/by-id/virtio-B")),
    }
    for name, label in (("on-a", "db"), ("on-b", "da")):
        assert admin.tree.read(f"devices/blockio/{name}/backing") == machine.words(machine.path(label))
    # The same file once more changes nothing, and so does saving.
    assert not admin.apply(load_file(str(tmp_path / "f.json")))
    assert not admin.save(str(tmp_path / "f.json"))


def test_file_that_says_nothing_of_facts_keeps_them(admin: Admin, machine: FakeMachine) -> None:
    """Written by hand, and applied again after the names were given anew."""
    machine.plug("da", disk("A"))
    wanted = served(Device("d", "blockio", path=machine.path("da")))
    admin.apply(wanted)
    machine.unplug("da")
    machine.plug("da", disk("B"))
    machine.plug("db", disk("A"))
    Watcher(admin, lambda event: None).look()
    words = admin.tree.read("devices/blockio/d/backing")
    assert words == machine.words(machine.path("db"))
    assert not admin.apply(wanted)
    assert admin.tree.read("devices/blockio/d/backing") == words


def test_apply_names_what_is_another(admin: Admin, machine: FakeMachine, tmp_path: Path) -> None:
    machine.plug("da", disk("B"))
    path = machine.path("da")
    device = Device("d", "blockio", path=path, facts={"serial": "A", "size": str(MIB)})
    outcome = admin.apply(served(device))
    assert outcome.parked == ("d",)
    assert outcome.exit_code == 3
    (proof,) = outcome.proofs
    assert (proof.was, proof.text) == (Was.OTHER, f"{path} is not what it was: serial B, expected A")
    assert proof.as_dict()["differences"] == [{"fact": "serial", "expected": "A", "found": "B"}]
    assert admin.tree.read("devices/blockio/d/error") == "ESTALE"
    with pytest.raises(OperationError) as refused:
        admin.activate("d")
    assert refused.value.advice == proof.text
    found = admin.find("d")
    assert found is not None
    assert found.was is Was.OTHER


def test_undone_change_leaves_nothing_of_it(admin: Admin, machine: FakeMachine) -> None:
    """Another path, the disk of which is known from then on; then something after that is refused."""
    machine.plug("da", disk("A"))
    machine.plug("db", disk("B"))
    admin.apply(served(Device("d", "blockio", path=machine.path("da"))))
    before = admin.config()
    tree = admin.tree
    wanted = served(Device("d", "blockio", path=machine.path("db")), Device("n", "nullio", size=512))

    def refuse(operation: str, path: str, value: str | None) -> int | None:
        return 5 if operation == "symlink" and "luns/1" in path else None

    tree.inject = refuse  # type: ignore[attr-defined]
    with pytest.raises(ApplyFailed):
        admin.apply(wanted)
    tree.inject = None  # type: ignore[attr-defined]
    assert admin.config() == before
    assert admin.tree.read("devices/blockio/d/backing") == machine.words(machine.path("da"))


def test_another_path_is_another_disk(admin: Admin, machine: FakeMachine) -> None:
    """Who says so means it."""
    machine.plug("da", disk("A"))
    machine.plug("db", disk("B"))
    admin.apply(served(Device("d", "blockio", path=machine.path("da"))))
    admin.change_device("d", path=machine.path("db"))
    (device,) = admin.config().devices
    assert device.facts == Facts.of({"serial": "B", "size": str(MIB)})
    assert admin.tree.read("devices/blockio/d/state") == "active"
    # With facts, it is where these are to be found.
    admin.change_device("d", path=machine.path("da"), facts=device.facts)
    assert admin.tree.read("devices/blockio/d/backing") == machine.words(machine.path("db"))


def test_facts_that_are_not_those_of_what_is_open_are_warned_of(admin: Admin, machine: FakeMachine) -> None:
    machine.plug("da", disk("A"))
    device = Device("d", "blockio", path=machine.path("da"))
    admin.apply(served(device))
    outcome = admin.apply(served(device.but(facts={"serial": "Z"})))
    (proof,) = outcome.proofs
    assert (proof.was, outcome.parked) == (Was.OTHER, ())
    (line,) = binding_lines(outcome)
    assert "goes on with what it has open" in line
    assert "serial A, expected Z" in line
    assert admin.tree.read("devices/blockio/d/state") == "active"


@pytest.mark.parametrize("state", ["active", "parked", "disabled", "refused"])
def test_rebind(admin: Admin, machine: FakeMachine, state: str) -> None:
    """On purpose: whatever is there now is what is meant from now on; the LUNs stay."""
    machine.plug("da", disk("A"))
    path = machine.path("da")
    admin.apply(served(Device("d", "blockio", path=path)))
    generation = admin.tree.read("generation")
    if state == "disabled":
        admin.apply(Config((Device("d", "blockio", enabled=False, path=path),)))
        generation = admin.tree.read("generation")
    if state == "parked":
        admin.deactivate("d")
    machine.unplug("da")
    machine.plug("da", disk("B"))
    if state == "refused":
        Watcher(admin, lambda event: None).look()
        assert admin.tree.read("devices/blockio/d/error") == "ESTALE"
    rebound = admin.rebind("d")
    assert [(d.name, d.known, d.found) for d in rebound.differences] == [("serial", "A", "B")]
    assert rebound.state == ("disabled" if state == "disabled" else "active")
    (device,) = admin.config().devices
    assert device.facts is not None
    assert device.facts["serial"] == "B"
    assert admin.tree.read("generation") == generation
    if state != "disabled":
        assert admin.tree.read("devices/blockio/d/backing") == machine.words(path)


def test_rebind_to_another_path(admin: Admin, machine: FakeMachine) -> None:
    machine.plug("da", disk("A"))
    machine.plug("db", disk("B"))
    admin.apply(served(Device("d", "blockio", path=machine.path("da"))))
    rebound = admin.rebind("d", machine.path("db"))
    assert (rebound.path, rebound.state) == (machine.path("db"), "active")
    assert admin.config().devices[0].path == machine.path("db")
    # To where it is already: only what it is known by is renewed, and it stays open.
    again = admin.rebind("d")
    assert again.differences == ()


def test_rebind_that_fails_puts_everything_back(admin: Admin, machine: FakeMachine) -> None:
    machine.plug("da", disk("A", 2 * MIB))
    machine.plug("db", disk("B", MIB))
    admin.apply(served(Device("d", "blockio", path=machine.path("da"))))
    before = admin.config()
    with pytest.raises(OperationError):
        admin.rebind("d", machine.path("db"))  # smaller than what initiators know
    assert admin.config() == before
    assert admin.tree.read("devices/blockio/d/backing") == machine.words(machine.path("da"))
    with pytest.raises(Conflict, match="nothing is at"):
        admin.rebind("d", machine.path("dz"))
    admin.create_device(Device("n", "nullio", size=512))
    with pytest.raises(Conflict, match="no backing"):
        admin.rebind("n")


def test_whatever_is_there(admin: Admin, machine: FakeMachine) -> None:
    """On purpose, too: who says so gets what earlier versions did."""
    machine.plug("da", disk("A"))
    admin.create_device(Device("d", "blockio", path=machine.path("da"), facts={}))
    machine.unplug("da")
    machine.plug("da", disk("B"))
    Watcher(admin, lambda event: None).look()
    (device,) = admin.config().devices
    assert device.facts == NOTHING
    assert admin.tree.read("devices/blockio/d/backing") == machine.words(machine.path("da"))


def test_one_disk_is_not_bound_twice(admin: Admin, machine: FakeMachine) -> None:
    """It has moved to where another device's was; that one keeps it, if it is its own."""
    machine.plug("da", disk("A"))
    machine.plug("db", disk("B"))
    admin.apply(served(*(Device(f"on-{n}", "blockio", path=machine.path(f"d{n}")) for n in "ab")))
    machine.unplug("da")
    watcher = Watcher(admin, lambda event: None)
    watcher.look()
    assert {name: seen.state for name, seen in watcher.seen.items()} == {"on-a": "parked", "on-b": "active"}
    assert admin.tree.read("devices/blockio/on-b/backing") == machine.words(machine.path("db"))


# The command line.


def test_rebind_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sim, path = str(tmp_path / "sim"), tmp_path / "da.img"
    path.write_bytes(bytes(MIB))
    with Admin(sim=sim) as made:
        made.create_device(Device("da", "fileio", path=str(path)))
        path.rename(tmp_path / "aside")
        path.write_bytes(bytes(MIB))
        made.tree.read("devices/fileio/da/state")
        made.deactivate("da")
    assert main(["--sim", sim, "activate", "da"]) == 1
    said = capsys.readouterr().err
    assert "inode" in said or "birth" in said
    assert main(["--sim", sim, "rebind", "da"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"da: active, on {path}\n")
    assert "was" in said
    assert main(["--sim", sim, "--json", "rebind", "da", str(tmp_path / "aside")]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["device"], said["state"], said["path"]) == ("da", "active", str(tmp_path / "aside"))
    assert {one["fact"] for one in said["differences"]} & {"inode", "birth", "handle"}
    assert main(["--sim", sim, "--json", "rebind", "da", str(tmp_path / "none")]) == 1


def test_show_and_apply_say_what_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sim, path = str(tmp_path / "sim"), tmp_path / "da.img"
    path.write_bytes(bytes(MIB))
    file = tmp_path / "f.json"
    file.write_text(
        json.dumps(
            {
                "version": 1,
                "devices": {"fileio": {"da": {"path": str(path), "facts": {"inode": "1", "birth": "2.0"}}}},
            }
        )
    )
    assert main(["--sim", sim, "apply", str(file)]) == 3
    said = capsys.readouterr().out
    assert f"da: parked; {path} is not what it was: " in said
    assert "expected 1" in said
    assert main(["--sim", sim, "show"]) == 0
    assert "known by birth 2.0" in capsys.readouterr().out
    assert main(["--sim", sim, "--json", "apply", str(file)]) == 3
    said = json.loads(capsys.readouterr().out)
    assert said["parked"] == ["da"]


def test_refusal_is_named_wherever_one_looks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another file is at the path: the LUN stays, parked, and each command says what tells the two apart."""
    sim, path = str(tmp_path / "sim"), tmp_path / "da.img"
    path.write_bytes(bytes(MIB))
    target = Target("local", "t", hosts=("h",), luns=(Lun(0, "da"),))
    with Admin(sim=sim) as admin:
        admin.apply(Config((Device("da", "fileio", path=str(path)),), (target,)))
        admin.deactivate("da")
        path.rename(tmp_path / "aside")
        path.write_bytes(bytes(MIB))
        with pytest.raises(OperationError, match="is not what it was"):
            admin.activate("da")
        assert [lun.device for lun in admin.config().targets[0].luns] == ["da"]
    named = f"da: parked; {path} is not what it was: "
    capsys.readouterr()
    for words in (["show"], ["status"], ["explain", "h", "target=t"], ["who", "da"]):
        assert main(["--sim", sim, *words]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line for line in lines if line.startswith(named)], (words, lines)
    for words in (["show"], ["explain", "h", "target=t"], ["who", "da"]):
        assert main(["--sim", sim, "--json", *words]) == 0
        (binding,) = json.loads(capsys.readouterr().out)["bindings"]
        assert (binding["device"], binding["was"]) == ("da", "other")
        assert {one["fact"] for one in binding["differences"]} & {"inode", "birth", "handle"}
    for words in (["unmap", "0", "target=t"], ["disable", "device", "da"]):
        assert main(["--sim", sim, *words]) == 0
    capsys.readouterr()
    assert main(["--sim", sim, "enable", "device", "da"]) == 3
    assert named in capsys.readouterr().out


def test_activate_says_where_the_disk_was_found(admin: Admin, machine: FakeMachine) -> None:
    machine.plug("da", disk("A"))
    admin.create_device(Device("d", "blockio", path=machine.path("da")))
    admin.deactivate("d")
    machine.unplug("da")
    machine.plug("db", disk("A"))
    result = run(Context(admin), understand_line(["activate", "d"]))
    there = machine.path("disk/by-id/virtio-A")
    assert list(result.lines) == ["d: active", f"d: found at {there}, no longer at {machine.path('da')}"]
    assert [(one["was"], one["at"]) for one in result.data["bindings"]] == [("moved", there)]
