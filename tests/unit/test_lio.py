# SPDX-License-Identifier: GPL-2.0-or-later
"""LIO's configuration as ours: each item of it is accounted for, and what initiators see stays.

`lio/NAME.json` are samples as rtslib (or a person) writes them; `lio/NAME.expected.json` has the
configuration that comes of each, and what becomes of each item: where it is in the configuration, or a
verdict. What is lost is also here, by hand, with a part of what is said about it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscstadmin.config import names, where
from pyscstadmin.config.acl import decide
from pyscstadmin.config.document import Document, parse
from pyscstadmin.config.model import Config, Device, Target
from pyscstadmin.config.schema import dumps, loads, to_data
from pyscstadmin.config.settings import DRIVERS, HANDLERS
from pyscstadmin.errors import InvalidInput
from pyscstadmin.migrate import lio_rules
from pyscstadmin.migrate.account import Item, Verdict, leaves
from pyscstadmin.migrate.lio import Imported, convert
from pyscstadmin.migrate.lio_identity import naa_of

SAMPLES = Path(__file__).with_name("lio")
NAMES = sorted(path.stem for path in SAMPLES.glob("*.json") if not path.stem.endswith(".expected"))
MIB = 1 << 20

# Samples that are imported without --as-local.
AS_IT_IS = ("fabrics", "iscsi-no-driver", "loopback", "running")
# Files that are not as long as LIO served them.
FILES = {
    "/srv/lio/short.img": MIB,
    "/srv/lio/longer.img": 128 * MIB,
    "/srv/lio/absent.img": None,
}

T = "targets[0].tpgs[0]"
A = "storage_objects[0].attributes"
CHAP = "cannot ask initiators to authenticate"
ALUA = "target port groups (ALUA) are not taken over"
UNKNOWN = "does not know"
PORTAL = "no network portals"
NOT_IMPORTED = "was not imported"
TOO_HIGH = "up to 16383"
NO_DRIVER = "no target driver"
BY_HAND = "portals and logins of targets of iscsi are not taken over"

LOST: dict[str, dict[str, str]] = {
    "alua": {
        "storage_objects[0].alua_tpgs[1]": ALUA,
        "storage_objects[0].alua_tpgs[2]": ALUA,
        "storage_objects[1].alua_tpgs[0]": ALUA,
        f"{T}.luns[0].alua_tg_pt_gp_name": ALUA,
    },
    "by-hand": {"storage_objects[0].wwn": "no serial number"},
    "caches": {
        "storage_objects[3].size": "extend it (truncate -s 67108864",
        "storage_objects[4].size": "scstadmin resize f5 67108864 --shrink",
        "storage_objects[5].size": "no file here to compare",
    },
    "disabled": {
        f"{T}.node_acls[0].mapped_luns[1]": TOO_HIGH,
        f"{T}.portals[0]": PORTAL,
        "targets[1].tpgs[0].luns[0]": TOO_HIGH,
    },
    "empty": {},
    "fabrics": {f"targets[{number}]": NO_DRIVER for number in range(1, 6)},
    "identities": {
        "storage_objects[1].wwn": "serial cannot be kept (device 'one' has it)",
        "storage_objects[2].wwn": "naa cannot be kept (device 'one' has it)",
        "storage_objects[3].wwn": "serial cannot be kept (longer than 64",
        "storage_objects[4].wwn": "serial cannot be kept (must be printable",
        "storage_objects[5].wwn": "naa cannot be kept (device 'odd' has it)",
        "storage_objects[6].wwn": "no serial number",
    },
    "iscsi-acls": {f"{T}.portals[0]": PORTAL},
    "iscsi-chap": {
        "fabric_modules[0]": "authentication for discovery",
        f"{T}.attributes.authentication": "had to authenticate",
        f"{T}.chap_password": CHAP,
        f"{T}.chap_userid": CHAP,
        **{
            f"{T}.node_acls[0].chap_{key}": CHAP
            for key in ("userid", "password", "mutual_userid", "mutual_password")
        },
        f"{T}.node_acls[1].attributes.authentication": "had to authenticate",
        f"{T}.node_acls[1].tcq_depth": "no depth for one initiator",
        f"{T}.portals[0]": PORTAL,
        f"{T}.portals[1]": PORTAL,
    },
    "iscsi-demo-mode": {f"{T}.portals[0]": PORTAL, "targets[1].tpgs[0].portals[0]": PORTAL},
    "iscsi-no-driver": {"targets[0]": BY_HAND},
    "iscsi-portal-groups": {f"{T}.portals[0]": PORTAL},
    "kernel-6.17": {"storage_objects[0].exclusive": "does not share"},
    "loopback": {},
    "names": {"storage_objects[4].attributes.emulate_model_alias": "must be printable"},
    "pscsi": {
        "storage_objects[0]": "passes a SCSI device through",
        f"{T}.luns[0]": NOT_IMPORTED,
        f"{T}.node_acls[0].mapped_luns[0]": NOT_IMPORTED,
        f"{T}.portals[0]": PORTAL,
    },
    "qla2xxx": {},
    "ramdisk": {"storage_objects[0]": "no RAM disk that keeps data", f"{T}.luns[0]": NOT_IMPORTED},
    "rtslib-2.1": {
        "fabric_modules[0]": "authentication for discovery",
        f"{T}.node_acls[0].password": CHAP,
        f"{T}.node_acls[0].userid": CHAP,
        f"{T}.portals[0]": PORTAL,
    },
    "running": {"storage_objects[0].reservation": "holds a reservation", f"{T}.luns[2]": NOT_IMPORTED},
    "spellings": {
        "comment": UNKNOWN,
        f"{A}.surprise": UNKNOWN,
        "storage_objects[1].colour": UNKNOWN,
        "storage_objects[1].exclusive": "does not share",
        "targets[0].parameters.speed": UNKNOWN,
        f"{T}.attributes.new_feature": UNKNOWN,
        f"{T}.luns[0].shade": UNKNOWN,
        f"{T}.node_acls[0].colour.a[0]": UNKNOWN,
        f"{T}.node_acls[0].colour.a[1].b": UNKNOWN,
    },
    "tags": {f"{T}.node_acls[7]": "no initiator can have this name", f"{T}.portals[0]": PORTAL},
    "thin": {
        "storage_objects[1].attributes.emulate_rest_reord": "no restricted reordering",
        "storage_objects[1].attributes.emulate_ua_intlck_ctrl": "no unit attention interlock",
        "storage_objects[1].attributes.force_pr_aptpl": "needs a `pr_file`",
        "storage_objects[1].attributes.pi_prot_type": "is not taken over",
        "storage_objects[1].attributes.pi_prot_verify": "is not taken over",
    },
    "user": {
        "storage_objects[0]": "no handler for programs",
        "storage_objects[1]": "no handler for programs",
        f"{T}.luns[0]": NOT_IMPORTED,
        f"{T}.luns[1]": NOT_IMPORTED,
    },
    "without-extras": {},
}


def sample(name: str) -> Document:
    return parse((SAMPLES / f"{name}.json").read_text(encoding="utf-8"), f"{name}.json")


def imported(document: Document, as_local: bool = True) -> Imported:
    """The sample as if its files were there, but for those of `FILES`."""
    stores = [store for store in document.data["storage_objects"] if "dev" in store]
    sizes = {store["dev"]: int(store["size"]) for store in stores if "size" in store} | FILES
    return convert(document, as_local=as_local, file_size=sizes.get)


def by_sample(name: str) -> Imported:
    return imported(sample(name), name not in AS_IT_IS)


def complete_data(config: Config) -> dict[str, Any]:
    """The configuration as plain data with all settings, also those that a file leaves out."""
    data = to_data(config)
    for device in config.devices:
        own = data["devices"][device.handler][device.name]
        own.update(device.settings)
        own.setdefault("id", {})
    for target in config.targets:
        own = data["targets"][target.driver][target.name]
        own["enabled"] = target.enabled
        own.setdefault("groups", {})
        for luns in [
            own.setdefault("luns", {}),
            *(group.get("luns", {}) for group in own["groups"].values()),
        ]:
            for lun in luns.values():
                lun.setdefault("read_only", False)
    return data


def there(data: Any, path: where.Path) -> bool:
    """Whether the path is in the data. A handler or driver may have no objects."""
    for part in path:
        if not isinstance(data, dict) or str(part) not in data:
            return path[0] == "targets" and len(path) == 2
        data = data[str(part)]
    return True


def covering(items: list[Item], path: where.Path) -> list[Item]:
    """The items that account for a value: its own, or one for the whole that it is part of."""
    return [
        item for item in items if item.path == path or (item.whole and path[: len(item.path)] == item.path)
    ]


def check_account(document: Document, found: Imported) -> None:
    """Every value of the input has exactly one item; those that are mapped are where they are said to be."""
    items = found.account.items
    for path in leaves(document.data):
        assert len(covering(items, path)) == 1, where.dotted(path)
    data = complete_data(found.config)
    for item in items:
        assert bool(item.to) == (item.verdict is Verdict.MAPPED), item
        assert item.text or item.to, item
        assert not (item.whole and item.to), item
        assert all(there(data, path) for path in item.to), item


# Samples.


@pytest.mark.parametrize("name", NAMES)
def test_sample(name: str) -> None:
    found = by_sample(name)
    expected = json.loads((SAMPLES / f"{name}.expected.json").read_text(encoding="utf-8"))
    items = {
        item.place: [where.dotted(path) for path in item.to] or item.verdict.value
        for item in found.account.items
    }
    assert len(items) == len(found.account.items)
    assert found.config == loads(json.dumps(expected["config"]))
    assert items == expected["items"]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_lost_is_said(name: str) -> None:
    found = by_sample(name)
    lost = {item.place: item.text for item in found.account.lost()}
    assert lost.keys() == LOST[name].keys()
    assert all(part in lost[place] for place, part in LOST[name].items())
    assert found.complete == (not lost)


@pytest.mark.parametrize("as_local", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_everything_is_accounted_for(name: str, as_local: bool) -> None:
    document = sample(name)
    check_account(document, imported(document, as_local))


@pytest.mark.parametrize("name", NAMES)
def test_the_configuration_is_one(name: str) -> None:
    config = by_sample(name).config
    assert loads(dumps(config)) == config


@pytest.mark.parametrize("name", NAMES)
def test_the_input_stays_as_it_was(name: str) -> None:
    document = sample(name)
    before = copy.deepcopy(document.data)
    imported(document)
    assert document.data == before


def test_there_are_samples_of_everything() -> None:
    """Each plugin, each fabric but for two, each attribute that a rule is about."""
    assert len(NAMES) >= 20
    assert set(LOST) == set(NAMES)
    data = [sample(name).data for name in NAMES]
    stores = [store for one in data for store in one["storage_objects"]]
    assert {store["plugin"].partition(":")[0] for store in stores} >= {
        *lio_rules.PRODUCTS,
        *lio_rules.UNUSABLE,
    }
    known = {key for store in stores for key in store.get("attributes", {})}
    machine = {"hw_block_size", "hw_max_sectors", "hw_pi_prot_type", "hw_queue_depth"}
    assert known >= {*lio_rules.STORE_RULES, *lio_rules.UNMAP_RULES[False]} - machine
    fabrics = {target["fabric"] for one in data for target in one["targets"]}
    assert fabrics >= {"iscsi", "loopback", "qla2xxx", "srpt", "tcm_fc", "vhost", "xen-pvscsi"}


def test_secrets_are_not_told() -> None:
    for name in ("iscsi-chap", "rtslib-2.1"):
        found = by_sample(name)
        assert "s3cret" in (SAMPLES / f"{name}.json").read_text()
        assert "s3cret" not in str(found)
        assert "s3cret" not in dumps(found.config)


def test_no_names_of_ours_are_forgotten() -> None:
    """What we have a driver for is in the table of fabrics."""
    ours = {fabric.driver for fabric in lio_rules.FABRICS.values()}
    assert set(DRIVERS) <= ours
    assert {"blockio", "fileio", "nullio"} <= set(HANDLERS)


# What initiators see.


def nibbles(serial: str) -> str:
    """The NAA identifier as the standard has it, filled digit by digit as LIO does."""
    data = bytearray(bytes.fromhex("60014050") + bytes(12))
    at, low = 3, True
    for character in serial.encode():
        digit = "0123456789abcdef".find(chr(character).lower())
        if digit < 0 or at == 16:
            continue
        data[at] |= digit if low else digit << 4
        at, low = (at + 1, False) if low else (at, True)
    return data.hex()


@settings(deadline=None)
@given(st.text(st.sampled_from("0123456789abcdefABCDEF-ghzZ _é"), max_size=70))
def test_naa_is_lios(serial: str) -> None:
    assert naa_of(serial) == nibbles(serial)
    assert names.check_naa(naa_of(serial)) is None


def test_naa_of_a_known_disk() -> None:
    assert naa_of("b0d1c2e3-f405-4617-8293-a4b5c6d7e8f9") == "6001405b0d1c2e3f40546178293a4b5c"
    assert naa_of("f", 0x00A098) == "600a098f" + "0" * 24


def one_store(**keys: Any) -> Device:
    store = {"plugin": "fileio", "name": "d", "dev": "/srv/d", "wwn": "1", **keys}
    (device,) = convert(Document("x", {"storage_objects": [store]})).config.devices
    return device


@pytest.mark.parametrize(
    ("keys", "product"),
    [
        ({}, "FILEIO"),
        ({"attributes": {"emulate_model_alias": 1}}, "d"),
        ({"attributes": {"emulate_model_alias": 1}, "name": "abcdefghijklmno-p"}, "abcdefghijklmno"),
        ({"attributes": {"emulate_model_alias": 0}, "plugin": "block", "dev": "/dev/sdx"}, "IBLOCK"),
        ({"plugin": "ramdisk", "nullio": True, "size": 4096}, "RAMDISK-MCP"),
        ({"attributes": {"emulate_model_alias": 1}, "product_id": "changed since"}, "changed since"),
        ({"dev": "/dev/sdx"}, "FILEIO"),
    ],
)
def test_product(keys: dict[str, Any], product: str) -> None:
    device = one_store(**keys)
    assert device.id.product == product
    assert (device.id.vendor, device.id.revision) == ("LIO-ORG", "4.0")


class Access(NamedTuple):
    """Who sees what on a portal group: LUNs of the group, mapped LUNs by initiator, attributes."""

    luns: dict[int, int]
    acls: dict[str, dict[int, tuple[int, bool]]]
    tags: dict[str, str]
    demo: dict[str, int]


INITIATORS = [f"iqn.2026-11.com.example:i{number}" for number in range(5)]
flags = st.integers(0, 1)


@st.composite
def accesses(draw: st.DrawFn) -> Access:
    luns = draw(st.dictionaries(st.integers(0, 4), st.integers(0, 3), max_size=4))
    mapped = st.tuples(st.sampled_from(sorted(luns)), st.booleans()) if luns else st.nothing()
    views = st.dictionaries(st.integers(0, 6), mapped, max_size=3) if luns else st.just({})
    acls = draw(st.dictionaries(st.sampled_from(INITIATORS), views, max_size=4))
    tags = {name: draw(st.sampled_from(["", "t", "u u"])) for name in acls}
    keys = ("generate_node_acls", "demo_mode_write_protect", "demo_mode_login_only")
    return Access(luns, acls, tags, {key: draw(flags) for key in keys})


def saved(access: Access) -> Document:
    """A saved file with this access on an iSCSI target, and a disk that cannot be served as number 3."""
    stores = [{"plugin": "block", "name": f"d{n}", "dev": f"/dev/d{n}", "wwn": f"{n}"} for n in range(3)] + [
        {"plugin": "pscsi", "name": "d3", "dev": "/dev/sr0"}
    ]
    plugins = ["block"] * 3 + ["pscsi"]
    luns = [
        {"index": lun, "storage_object": f"/backstores/{plugins[disk]}/d{disk}"}
        for lun, disk in access.luns.items()
    ]
    acls = [
        {
            "node_wwn": name,
            "tag": access.tags[name],
            "mapped_luns": [
                {"index": index, "tpg_lun": lun, "write_protect": protect}
                for index, (lun, protect) in view.items()
            ],
        }
        for name, view in access.acls.items()
    ]
    group = {"tag": 1, "attributes": access.demo, "luns": luns, "node_acls": acls}
    return Document(
        "x", {"storage_objects": stores, "targets": [{"fabric": "iscsi", "wwn": "t", "tpgs": [group]}]}
    )


def lio_view(access: Access, initiator: str) -> dict[int, tuple[str, bool]]:
    """What LIO shows to an initiator, of the disks that can be served."""
    if initiator in access.acls:
        view = {
            index: (access.luns[lun], protect) for index, (lun, protect) in access.acls[initiator].items()
        }
    elif access.demo["generate_node_acls"] and not access.demo["demo_mode_login_only"]:
        protect = bool(access.demo["demo_mode_write_protect"])
        view = {lun: (disk, protect) for lun, disk in access.luns.items()}
    else:
        view = {}
    return {lun: (f"d{disk}", protect) for lun, (disk, protect) in view.items() if disk != 3}


@settings(deadline=None)
@given(accesses())
def test_initiators_see_what_they_saw(access: Access) -> None:
    document = saved(access)
    found = convert(document, as_local=True)
    check_account(document, found)
    (target,) = found.config.targets
    for initiator in [*INITIATORS, "iqn.2026-11.com.example:stranger"]:
        seen = {lun.number: (lun.device, lun.read_only) for lun in decide(target, initiator).luns}
        assert seen == lio_view(access, initiator), initiator


def test_nobody_logs_in_by_trying() -> None:
    """Targets of other fabrics get no initiators on this machine, who would find and use the disks."""
    targets = by_sample("iscsi-acls").config.targets + by_sample("qla2xxx").config.targets
    assert targets
    assert not any(target.hosts for target in targets)


def hardware(*targets: dict[str, Any]) -> Imported:
    group = {"tag": 1, "luns": []}
    whole = [{"fabric": "qla2xxx", "tpgs": [group], **target} for target in targets]
    return convert(Document("x", {"targets": whole}))


def test_a_port_stays_the_port() -> None:
    """By its WWPN, in whatever spelling; it is one target, whatever LIO had made of it."""
    found = hardware({"wwn": "naa.21000024FF4A5B6C"}, {"wwn": "21:00:00:24:ff:4a:5b:6d"})
    names = ["21:00:00:24:ff:4a:5b:6c", "21:00:00:24:ff:4a:5b:6d"]
    assert [target.key for target in found.config.targets] == [("qla2xxx", name) for name in names]
    assert found.complete
    several = hardware({"wwn": "naa.21000024ff4a5b6c", "tpgs": [{"tag": 1}, {"tag": 2, "luns": []}]})
    assert len(several.config.targets) == 1
    assert [item.place for item in several.account.lost()] == ["targets[0].tpgs[1]"]
    for targets, words in (
        (({"wwn": "iqn.2026-11.com.example:t"},), "must be a WWPN"),
        (({"wwn": "naa.21000024ff4a5b6c"}, {"wwn": "0x21000024ff4a5b6c"}), "there once"),
    ):
        with pytest.raises(InvalidInput, match=words):
            hardware(*targets)


def loopback_hosts(**keys: Any) -> tuple[str, ...]:
    group = {"tag": 1, "luns": [], **keys}
    (target,) = convert(
        Document("x", {"targets": [{"fabric": "loopback", "wwn": "naa.5", "tpgs": [group]}]})
    ).config.targets
    return target.hosts


def test_loopback_has_its_initiator() -> None:
    assert loopback_hosts(nexus="host1") == ("host1",)
    assert loopback_hosts() == ("loopback",)
    assert loopback_hosts(nexus="not a name") == ("loopback",)


# Input of all kinds.

WRONG: list[tuple[str, Any, str]] = [
    ("", [], "must be an object, not a list"),
    ("", {"devices": {}}, "is no saveconfig.json"),
    ("", {}, "is no saveconfig.json"),
    ("storage_objects", 7, "must be a list, not a number"),
    ("storage_objects[0]", None, "must be an object, not null"),
    ("storage_objects[0].name", 1, "must be a text, not a number"),
    ("storage_objects[0].name", "", "must not be empty"),
    ("storage_objects[0].plugin", ["fileio"], "must be a text, not a list"),
    ("storage_objects[0].dev", "srv/disk", "must be an absolute path"),
    ("storage_objects[0].dev", "/a\nb", "must not contain control characters"),
    ("storage_objects[0].size", "64M", "must be a whole number"),
    ("storage_objects[0].attributes", "none", "must be an object, not a text"),
    ("storage_objects[0].attributes.block_size", 513, "must be one of 512, 1024, 2048, 4096"),
    ("storage_objects[0].attributes.block_size", 0, "must be one of 512, 1024, 2048, 4096"),
    ("storage_objects[0].attributes.emulate_3pc", "perhaps", "must be a whole number, not a text"),
    ("storage_objects[0].attributes.is_nonrot", 0.5, "must be true or false, not a fraction"),
    ("storage_objects[0].attributes.queue_depth", 1 << 80, "must be a whole number"),
    ("storage_objects[0].write_back", "perhaps", "must be true or false"),
    ("storage_objects[1].name", "disk1", "there are two storage objects fileio/disk1"),
    ("targets[0].wwn", None, '"wwn" is missing'),
    ("targets[0].fabric", {}, "must be a text"),
    ("targets[0].tpgs", "many", "must be a list"),
    ("targets[0].tpgs[0].tag", 70000, "must be 0-65535"),
    ("targets[0].tpgs[0].luns[0].index", -1, "must be 0-65535"),
    ("targets[0].tpgs[0].luns[0].index", None, '"index" is missing'),
    ("targets[0].tpgs[0].luns[1].index", 0, "there are two LUNs 0"),
    ("targets[0].tpgs[0].luns[0].storage_object", "/backstores/fileio/other", "there is no storage object"),
    ("targets[0].tpgs[0].luns[0].storage_object", "disk1", "there is no storage object 'disk1'"),
    ("targets[0].tpgs[0].node_acls", [{"node_wwn": ""}], "must not be empty"),
    ("targets[0].tpgs[0].node_acls", [{"node_wwn": "a"}, {"node_wwn": "A"}], "there are two ACLs of 'A'"),
    (
        "targets[0].tpgs[0].node_acls",
        [{"node_wwn": "naa.5000c500a1b2c3d4"}, {"node_wwn": "50:00:C5:00:a1:b2:c3:d4"}],
        "there are two ACLs of '50:00:C5:00:a1:b2:c3:d4'",
    ),
    (
        "targets[0].tpgs[0].node_acls",
        [{"node_wwn": "a", "mapped_luns": [{"index": 0, "tpg_lun": 9}]}],
        "no such LUN",
    ),
    (
        "targets[0].tpgs[0].node_acls",
        [{"node_wwn": "a", "mapped_luns": [{"index": 3, "tpg_lun": 0}, {"index": 3, "tpg_lun": 1}]}],
        "there are two mapped LUNs 3",
    ),
    ("fabric_modules", {"name": "iscsi"}, "must be a list, not an object"),
]


def wrong_input() -> dict[str, Any]:
    """Two disks of one plugin on a loopback target."""
    data: dict[str, Any] = sample("loopback").data
    data["storage_objects"][1] |= {"plugin": "fileio", "size": 1}
    data["targets"][0]["tpgs"][0]["luns"][1]["storage_object"] = "/backstores/fileio/data"
    return data


def put(data: Any, place: str, value: Any) -> Any:
    """The data with the value at the place."""
    if not place:
        return value
    at, parts = data, place.replace("[", ".").replace("]", "").split(".")
    for part in parts[:-1]:
        at = at[int(part)] if isinstance(at, list) else at[part]
    at[int(parts[-1]) if isinstance(at, list) else parts[-1]] = value
    return data


@pytest.mark.parametrize(("place", "value", "message"), WRONG)
def test_wrong_input_is_refused_with_its_place(place: str, value: Any, message: str) -> None:
    text = json.dumps(put(wrong_input(), place, value), indent=1)
    with pytest.raises(InvalidInput) as caught:
        convert(parse(text, "file.json"))
    problems = [problem for problem in caught.value.problems if message in problem.message]
    assert problems, str(caught.value)
    said = problems[0].where
    assert said.startswith(place) or place.startswith(said)
    assert problems[0].line > 0 or not place


def test_all_problems_are_told_at_once() -> None:
    data = wrong_input()
    for place, value, _ in WRONG[5:8]:
        put(data, place, value)
    put(data, "targets[0].tpgs[0].tag", "first")
    with pytest.raises(InvalidInput) as caught:
        convert(Document("x", data))
    assert len(caught.value.problems) >= 3
    assert "tag" in str(caught.value)


def test_repeated_keys_are_refused() -> None:
    text = '{"storage_objects": [],\n "targets": [], "targets": []}'
    with pytest.raises(InvalidInput, match=r'f:2:17: duplicate key "targets"'):
        convert(parse(text, "f"))


# Anything.

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-2, 70000)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(
        ["0", "1", "yes", "/dev/sdb", "/srv/x", "fileio", "block", "loopback", "iscsi", "\ud800"]
    )
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


def containers(data: Any) -> Iterator[Any]:
    """All lists and objects."""
    if isinstance(data, dict | list):
        yield data
        for inner in data.values() if isinstance(data, dict) else data:
            yield from containers(inner)


def mutate(draw: st.DrawFn, data: Any) -> None:
    """Change, remove, add or double one thing."""
    at = draw(st.sampled_from([found for found in containers(data) if found]))
    key = draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
    match draw(st.integers(0, 4)):
        case 0:
            at[key] = draw(anything)
        case 1:
            del at[key]
        case 2 if isinstance(at, list):
            at.append(copy.deepcopy(at[key]))
        case 2:
            at[draw(st.text(max_size=8))] = copy.deepcopy(at[key])
        case 3:
            other = draw(st.sampled_from([found for found in containers(data) if found]))
            at[key] = copy.deepcopy(other)
        case _:
            at[key] = draw(scalars)


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    data = sample(draw(st.sampled_from(NAMES))).data
    for _ in range(draw(st.integers(1, 5))):
        if any(containers(data)):
            mutate(draw, data)
    return data


def test_a_disk_of_other_machines_has_an_identity_to_be_found_by() -> None:
    """A file that nobody's LIO has written has no serial numbers; what is made of it can be restored."""
    document = sample("qla2xxx")
    for store in document.data["storage_objects"]:
        del store["wwn"]
    found = convert(document, file_size=lambda path: MIB)
    identities = {(device.id.serial, device.id.naa) for device in found.config.devices}
    assert len(identities) == len(found.config.devices) > 1
    assert all(serial and naa for serial, naa in identities)
    assert loads(dumps(found.config)) == found.config
    assert [item.place for item in found.account.lost() if "random" in item.text] == [
        f"storage_objects[{index}].wwn" for index in range(len(identities))
    ]


def check_anything(data: Any, as_local: bool) -> None:
    """Our error, or a configuration that can be written and read, and an account of all."""
    document = Document("x", data)
    try:
        found = convert(document, as_local=as_local, file_size=lambda path: MIB)
    except InvalidInput:
        return
    check_account(document, found)
    assert loads(dumps(found.config)) == found.config


@settings(deadline=None, max_examples=300)
@given(mutated(), st.booleans())
def test_mutated_samples(data: Any, as_local: bool) -> None:
    check_anything(data, as_local)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(["storage_objects", "targets", "fabric_modules", "x"]), anything),
    st.booleans(),
)
def test_anything_at_all(data: Any, as_local: bool) -> None:
    check_anything(data, as_local)


def test_deep_and_large_input() -> None:
    """The parser lets nothing pass that is nested more deeply than Python calls itself."""
    deep: Any = {}
    for _ in range(900):
        deep = {"a": deep, "b": 1}
    found = convert(parse(json.dumps({"targets": [], "odd": deep}), "x"))
    assert len(found.account.lost()) == 900
    with pytest.raises(InvalidInput, match="nested too deeply"):
        parse('{"a":' * 100_000, "x")
    stores = [
        {"plugin": "block", "name": f"d{n}", "dev": f"/dev/d{n}", "wwn": f"{n:032x}"} for n in range(3000)
    ]
    assert len(convert(Document("x", {"storage_objects": stores})).config.devices) == 3000


def test_targets_of_several_fabrics_keep_apart() -> None:
    """Names that are the same in LIO, one per fabric, are different ones of driver local."""
    targets: list[Target] = list(imported(sample("fabrics")).config.targets)
    assert len({target.name for target in targets}) == len(targets) == 6
    assert {"naa.5001405aaaaaaaaa", "naa.5001405aaaaaaaaa-2"} <= {target.name for target in targets}
