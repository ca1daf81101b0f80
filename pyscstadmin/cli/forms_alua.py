# SPDX-License-Identifier: GPL-2.0-or-later
"""Forms about device groups and their target port groups."""

from __future__ import annotations

from dataclasses import replace

from pyscstadmin.cli import alua
from pyscstadmin.cli.params import GET_MORE, SET_MORE, SETTING, listing, one_of
from pyscstadmin.cli.verbs import Form, Param
from pyscstadmin.config import names
from pyscstadmin.config.settings import DEVICE_GROUP

__all__ = ["FORMS"]


def _question(text: str) -> int:
    value = names.parse_number(text)
    if value is None or value < 0:
        raise ValueError(f"{text!r} is no number of a question; `list alua` shows it")
    return value


_ALUA = Param("alua", "name of the device group", source="alua", needed=True)
_IN_ALUA = replace(_ALUA, help="the device group it belongs to")
_TPG = Param("tpg", "name of the target port group", source="tpg", needed=True)
_ONE_ALUA = replace(_ALUA, help="of this device group only", needed=False)
_OF_TPG = replace(_TPG, help="a target port group, whose members are ports; left out: devices", needed=False)
_MEMBERS = Param(
    "member",
    "a device; with tpg= a target, or the relative target port identifier of a port of another host",
    source="member",
    needed=True,
)
_DEVICES_IN = replace(_MEMBERS, help="devices", source="device", needed=False)
_PORTS = replace(
    _MEMBERS,
    help="targets, and relative target port identifiers of ports of other hosts",
    source="target",
    needed=False,
)
_ALUA_MORE = """The devices of a device group have the same target port groups: by which ports they are
reached, and in which state these are (SPC: asymmetric logical unit access). A device is in one device group
at most."""
_TPG_MORE = """Initiators are told the state of each group, and use the ports of the best one. Ports of
another host that serves the same devices are given by their numbers, on both hosts, so that both tell the
same."""

FORMS: tuple[Form, ...] = (
    Form(
        "create",
        "alua",
        alua.create_alua,
        "Make a device group (ALUA), with devices.",
        (_ALUA,),
        _DEVICES_IN,
        table=lambda: DEVICE_GROUP,
        more=_ALUA_MORE,
        example="create alua dg da db explicit=yes",
    ),
    Form(
        "create",
        "tpg",
        alua.create_tpg,
        "Make a target port group of a device group, with ports.",
        (_TPG,),
        _PORTS,
        (_IN_ALUA,),
        table=lambda: alua.PORT_ROWS,
        more=_TPG_MORE,
        example="create tpg here local/t1 alua=dg",
    ),
    Form(
        "add",
        "member",
        alua.add_members,
        "Put devices into a device group, or ports into a target port group: all of them, or none.",
        rest=_MEMBERS,
        named=(_IN_ALUA, _OF_TPG),
        more=_ALUA_MORE,
        example="add member db alua=dg",
    ),
    Form(
        "delete",
        "alua",
        alua.delete_alua,
        "Remove a device group with its target port groups. Devices and targets stay.",
        (_ALUA,),
        removes=True,
        example="delete alua dg",
    ),
    Form(
        "delete",
        "tpg",
        alua.delete_tpg,
        "Remove a target port group. Its targets stay, and nobody says their state any more.",
        (_TPG,),
        named=(_IN_ALUA,),
        removes=True,
        example="delete tpg here alua=dg",
    ),
    Form(
        "remove",
        "member",
        alua.remove_members,
        "Take devices out of a device group, or ports out of a target port group: all, or none.",
        rest=_MEMBERS,
        named=(_IN_ALUA, _OF_TPG),
        removes=True,
        example="remove member db alua=dg",
    ),
    Form(
        "set",
        "alua",
        alua.set_alua,
        "Change settings of a device group.",
        (_ALUA,),
        table=lambda: DEVICE_GROUP,
        more=SET_MORE,
        example="set alua dg transition_time=30",
    ),
    Form(
        "set",
        "tpg",
        alua.set_tpg,
        "Change the state and settings of a target port group.",
        (_TPG,),
        named=(_IN_ALUA,),
        table=lambda: alua.PORT_ROWS,
        more="""The initiators that see a device of the group are told that a state has changed, and ask
which. Writes that were admitted before a state that takes none are waited for, as long as for revoked
access.""",
        example="set tpg here state=standby alua=dg",
    ),
    Form(
        "get",
        "alua",
        alua.get_alua,
        "Show settings of a device group.",
        (_ALUA,),
        SETTING,
        more=GET_MORE,
        example="get alua dg",
    ),
    Form(
        "get",
        "tpg",
        alua.get_tpg,
        "Show the state and settings of a target port group.",
        (_TPG,),
        SETTING,
        (_IN_ALUA,),
        more=GET_MORE,
        example="get tpg here state alua=dg",
    ),
    Form(
        "answer",
        "alua",
        alua.answer,
        "Answer what an initiator asks for by SET TARGET PORT GROUPS: accept it, which does it, or refuse.",
        (
            _ALUA,
            Param("question", "its number, as `list alua` and the uevent say it", _question, needed=True),
            Param(
                "how",
                "how to answer: accept, or refuse",
                one_of("answer", alua.ANSWERS),
                "accept|refuse",
                needed=True,
                choices=alua.ANSWERS,
            ),
        ),
        more="""Device groups with ask_ms ask. The initiator's command waits meanwhile, and fails when nobody
answers in time. An answer to another question than the open one does nothing, with exit code 1.""",
        example="answer dg 1 accept",
        silent=True,
    ),
    listing("alua", "List device groups, with the number of an open question and the states it is about."),
    listing(
        "tpg",
        "List target port groups with their states and ports.",
        _ONE_ALUA,
        example="list tpgs alua=dg",
    ),
    listing(
        "member",
        "List the devices of device groups, and the ports of their target port groups.",
        _ONE_ALUA,
        replace(_TPG, help="ports of this target port group only", needed=False),
        example="list members alua=dg",
    ),
)
