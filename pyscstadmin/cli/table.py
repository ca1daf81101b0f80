# SPDX-License-Identifier: GPL-2.0-or-later
"""The one table of verbs: what can be done with what, with which parameters, and what that means.

The command line, the shell, help, completion, the man page and docs/verbs.md are all made from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

from pyscstadmin.cli import (
    access,
    files,
    forms_alua,
    forms_faults,
    forms_iscsi,
    moving,
    objects,
    params,
    ports,
    ranges,
    recorder,
    reservations,
)
from pyscstadmin.cli.places import KINDS, Place
from pyscstadmin.cli.verbs import Form, Param, flag
from pyscstadmin.config import names
from pyscstadmin.config.names import RECORD_KINDS
from pyscstadmin.config.settings import (
    GROUP,
    HANDLERS,
    LUN,
    ROOT,
    Number,
    Setting,
    Text,
)

__all__ = ["FORMS", "VERBS", "at", "form_at", "forms", "kinds_at"]

_BYTES = Number(unit="bytes")
_DEVICE_OF_LUN = Setting(
    "device", Text(names.check_device_name, "the name of a device", ""), "", "the device that the LUN is"
)


def _rules(text: str) -> tuple[str, ...]:
    if not text:
        raise ValueError("must not be empty; say a rule, or leave it out")
    return tuple(text.split(","))


def _lun_number(text: str) -> int:
    fault = names.check_lun(text)
    if fault is not None:
        raise ValueError(f"{text!r} {fault.reason}")
    return int(text)


def _size(text: str) -> int:
    return int(_BYTES.parse(text))


# Parameters that many have.

_DEVICE = Param("device", "name of the device", source="device", needed=True)
_GROUP = Param("group", "name of the group", source="group", needed=True)
_LUNS = Param("lun", "number, or several: 0-99 or 0,5,7", ranges.numbers, source="lun", needed=True)
_LUN = Param("lun", "number of the LUN", _lun_number, source="lun", needed=True)
_HOST = Param("host", "initiator name under which a SCSI host logs in", source="initiator", needed=True)
_IN_GROUP = replace(_GROUP, help="the group it belongs to")
_OF_GROUP = replace(_GROUP, help="a group; left out: initiators that no group claims", needed=False)
_ONE_GROUP = replace(_GROUP, help="of this group only", needed=False)
_HANDLER = Param(
    "handler",
    "how it is served: " + ", ".join(HANDLERS),
    params.one_of("handler", HANDLERS),
    source="handler",
    choices=tuple(HANDLERS),
)
_FILE = Param("file", "configuration file; - is the standard input", source="file", needed=True)
_ACCEPT = Param(
    "accept",
    "what this rule of lint says is meant; several with commas, or given again",
    _rules,
    "RULE",
    source="rule",
    several=True,
)
_NEW = Param("new", "the new name", needed=True)
_READ_ONLY = flag(
    "read_only", "initiators cannot write through this LUN; left out: a LUN that is there stays as it is"
)
_REPLACE = flag("replace", "take the number from another device, in one step for the initiators")
_KIND_OF_RECORD = Param(
    "kind",
    "of this kind only: " + ", ".join(RECORD_KINDS),
    params.one_of("kind", dict.fromkeys(RECORD_KINDS)),
    choices=RECORD_KINDS,
)

_NAMES = """An initiator is an exact name, or a pattern with * and ?; a leading ! inverts. An exact name
anywhere wins over all patterns; among groups whose patterns match, the lowest priority wins."""
_ASKS = """On a terminal it asks before anything is removed. A script has to say yes=yes where somebody
who is logged in loses a LUN or the session."""
_DEVICES = """DEVICE may be several: da,db or disk[0-99] or a pattern such as disk*. lun= then has as many
numbers, as in 0-99. All of it is one step for the initiators."""


def _levels(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 3:
        raise ValueError(f"{text!r} is not a number of levels")
    return int(text)


_CREATE = (
    Form(
        "create",
        "device",
        objects.create_device,
        "Make a device of a file (fileio), a block device (blockio), or of nothing (nullio).",
        (
            _DEVICE,
            Param("backing", "path of the file or block device; the size of a nullio device", source="path"),
        ),
        named=(_HANDLER, flag("preallocate", "take the space for a new file at once")),
        table=objects.all_device_rows,
        more="""The name is yours to choose; initiators do not see it. A path is absolute; for a disk,
prefer a link of /dev/disk/by-id, which stays the same. If the backing is not there yet, the device is
parked and comes live by itself. With size=, the file of a fileio device is made, sparse unless
preallocate=yes; a file that is there is never touched.""",
        example="create device da /srv/da.img handler=fileio size=10G",
        absent=True,
    ),
    Form(
        "create",
        "target",
        objects.create_target,
        "Make a target and open it to initiators. They see nothing before you map something to them.",
        (params.TARGET,),
        named=(params.DRIVER,),
        table=objects.all_target_rows,
        more="""For driver local the name is yours to choose. A target of qla2xxx is called as its port is, by
the WWPN in any spelling (`ports` has them); it may be made before the board is there.""",
        example="create target local/t1",
        absent=True,
    ),
    Form(
        "create",
        "group",
        objects.create_group,
        "Make a group of initiators: all of them see the LUNs that are mapped to the group.",
        (_GROUP,),
        replace(params.INITIATOR, needed=False),
        (params.IN_TARGET,),
        table=lambda: GROUP,
        more=_NAMES,
        example="create group backup iqn.2026-11.com.example:b1 target=t1",
    ),
    Form(
        "create",
        "lun",
        access.create_lun,
        "Make a device a LUN, under a number that is given.",
        (_LUNS,),
        named=(_DEVICE, params.IN_TARGET, _OF_GROUP, _READ_ONLY, _REPLACE),
        more="`map` does the same, and finds a number.",
        example="create lun 5 device=da target=t1 group=backup",
    ),
    *(
        Form(
            verb,
            "initiator",
            objects.add_initiators,
            "Add initiators to a group: all of them, or none.",
            rest=params.INITIATOR,
            named=(params.IN_TARGET, _IN_GROUP),
            more=_NAMES,
            example=f"{verb} initiator iqn.2026-11.com.example:b2 target=t1 group=backup",
        )
        for verb in ("create", "add")
    ),
    *(
        Form(
            verb,
            "host",
            objects.add_hosts,
            "Make SCSI hosts on this machine that log in to the target under these names.",
            rest=_HOST,
            named=(params.IN_TARGET,),
            more="""Each appears as a SCSI host with the disks that its name may see. Useful to try rights
out, and to use the target from the same machine.""",
            example=f"{verb} host iqn.2026-11.com.example:here target=t1",
        )
        for verb in ("create", "add")
    ),
)

_DELETE = (
    Form(
        "delete",
        "device",
        objects.delete_device,
        "Remove a device. It must not be a LUN of anything; what is in its backing stays.",
        (_DEVICE,),
        removes=True,
        example="delete device da",
    ),
    Form(
        "delete",
        "target",
        objects.delete_target,
        "Remove a target with its groups and LUNs; its sessions end. Devices stay.",
        (params.TARGET,),
        named=(params.YES,),
        more="If initiators are logged in, it asks.",
        removes=True,
        example="delete target t1 yes=yes",
    ),
    Form(
        "delete",
        "group",
        objects.delete_group,
        "Remove a group; its initiators see what is left for them (`explain` says what).",
        (_GROUP,),
        named=(params.IN_TARGET,),
        removes=True,
        example="delete group backup target=t1",
    ),
    Form(
        "delete",
        "lun",
        access.unmap,
        "Take LUNs away (as `unmap`).",
        (_LUNS,),
        named=(params.IN_TARGET, _OF_GROUP),
        removes=True,
        example="delete lun 5 target=t1 group=backup",
    ),
    *(
        Form(
            verb,
            "initiator",
            objects.remove_initiators,
            "Remove initiators from a group: all that are given, or none.",
            rest=params.INITIATOR,
            named=(params.IN_TARGET, _IN_GROUP),
            removes=True,
            example=f"{verb} initiator iqn.2026-11.com.example:b2 target=t1 group=backup",
        )
        for verb in ("delete", "remove")
    ),
    *(
        Form(
            verb,
            "host",
            objects.remove_hosts,
            "Remove SCSI hosts of this machine: all that are given, or none.",
            rest=_HOST,
            named=(params.IN_TARGET,),
            removes=True,
            example=f"{verb} host iqn.2026-11.com.example:here target=t1",
        )
        for verb in ("delete", "remove")
    ),
)

_SET = (
    Form(
        "set",
        "",
        objects.set_root,
        "Change settings of the whole.",
        table=lambda: ROOT,
        more=params.SET_MORE,
        example="set buffer_limit=64M",
    ),
    Form(
        "set",
        "device",
        objects.set_device,
        "Change settings of a device.",
        (_DEVICE,),
        table=objects.all_device_rows,
        more=params.SET_MORE + " Most need that its LUNs are taken away for a moment; `get` says which.",
        example="set device da o_direct=yes",
    ),
    Form(
        "set",
        "target",
        objects.set_target,
        "Change settings of a target.",
        (params.TARGET,),
        named=(replace(params.YES, help="do not ask, where sessions end by it"),),
        table=objects.all_target_rows,
        more=params.SET_MORE,
        example="set target t1 queue_depth=64",
    ),
    Form(
        "set",
        "group",
        objects.set_group,
        "Change settings of a group.",
        (_GROUP,),
        named=(params.IN_TARGET,),
        table=lambda: GROUP,
        more=params.SET_MORE,
        example="set group backup priority=10 target=t1",
    ),
    Form(
        "set",
        "lun",
        objects.set_lun,
        "Change settings of LUNs.",
        (_LUNS,),
        named=(params.IN_TARGET, _OF_GROUP),
        table=lambda: {"device": _DEVICE_OF_LUN, **LUN},
        more=params.SET_MORE,
        example="set lun 5 read_only=yes target=t1 group=backup",
    ),
)

_GET = (
    Form(
        "get",
        "",
        objects.get_root,
        "Show settings of the whole.",
        rest=params.SETTING,
        more=params.GET_MORE,
        example="get buffer_limit",
    ),
    Form(
        "get",
        "device",
        objects.get_device,
        "Show settings and states of a device.",
        (_DEVICE,),
        params.SETTING,
        more=params.GET_MORE,
        example="get device da size state",
    ),
    Form(
        "get",
        "target",
        objects.get_target,
        "Show settings and states of a target.",
        (params.TARGET,),
        params.SETTING,
        more=params.GET_MORE,
        example="get target t1",
    ),
    Form(
        "get",
        "group",
        objects.get_group,
        "Show settings of a group.",
        (_GROUP,),
        params.SETTING,
        (params.IN_TARGET,),
        more=params.GET_MORE,
        example="get group backup target=t1",
    ),
    Form(
        "get",
        "lun",
        objects.get_lun,
        "Show settings and state of a LUN.",
        (_LUN,),
        params.SETTING,
        (params.IN_TARGET, _OF_GROUP),
        table=lambda: {"device": _DEVICE_OF_LUN},
        more=params.GET_MORE,
        example="get lun 5 target=t1 group=backup",
    ),
)


_LIST = (
    params.listing("handler", "List the ways to serve something, and how many devices use them."),
    params.listing("device", "List devices with state, size, path, and how many LUNs they are.", _HANDLER),
    params.listing("driver", "List target drivers, and how many targets they have."),
    params.listing("target", "List targets with their state.", params.DRIVER),
    params.listing("group", "List groups of initiators.", params.ONE_TARGET, example="list groups target=t1"),
    params.listing(
        "lun",
        "List LUNs: all, or those of a target, a group or a device.",
        params.ONE_TARGET,
        _ONE_GROUP,
        replace(_DEVICE, help="that are this device", needed=False),
        example="list luns device=da",
    ),
    params.listing(
        "initiator",
        "List the names and patterns of groups.",
        params.ONE_TARGET,
        _ONE_GROUP,
        example="list initiators target=t1 group=backup",
    ),
    params.listing("host", "List SCSI hosts of this machine.", params.ONE_TARGET),
    params.listing("session", "List who is logged in.", params.ONE_TARGET),
)

_CHANGE = (
    Form(
        "move",
        "initiator",
        objects.move_initiators,
        "Move initiators from one group to another, in one step: at no moment are they in none.",
        rest=params.INITIATOR,
        named=(
            params.IN_TARGET,
            Param("to", "the group they are to be in", source="group", needed=True),
            Param("from", "the group they are in; left out: it is found", source="group"),
        ),
        example="move initiator iqn.2026-11.com.example:b1 to=readers target=t1",
    ),
    Form(
        "rename",
        "device",
        objects.rename_device,
        "Give a device another name. Initiators do not know the old one and will not know the new one.",
        (_DEVICE, _NEW),
        named=(params.YES,),
        more="""It keeps its identity (serial, naa and so on), so that it stays the same disk. But the
kernel has to make it anew: if it is a LUN, that goes away for a moment, and commands that run then fail; so
it asks.""",
        example="rename device da db yes=yes",
    ),
    Form(
        "rename",
        "group",
        objects.rename_group,
        "Give a group another name, in one step: its initiators go on with the same LUNs.",
        (_GROUP, _NEW),
        named=(params.IN_TARGET,),
        example="rename group backup tapes target=t1",
    ),
    Form(
        "enable",
        "device",
        objects.enable_device,
        "Register a device, so that it can be a LUN. Without its backing it is parked.",
        (_DEVICE,),
        example="enable device da",
    ),
    Form(
        "enable",
        "target",
        objects.enable_target,
        "Open a target to initiators.",
        (params.TARGET,),
        example="enable target t1",
    ),
    Form(
        "disable",
        "device",
        objects.disable_device,
        "Take a device out of service. It must not be a LUN of anything.",
        (_DEVICE,),
        removes=True,
        example="disable device da",
    ),
    Form(
        "disable",
        "target",
        objects.disable_target,
        "Close a target; its sessions end.",
        (params.TARGET,),
        named=(params.YES,),
        more="If initiators are logged in, it asks.",
        removes=True,
        example="disable target t1 yes=yes",
    ),
    Form(
        "activate",
        "device",
        files.activate,
        "Open the backing of a parked device now, and say why if that fails.",
        (_DEVICE,),
        silent=True,
        example="activate da",
    ),
    Form(
        "deactivate",
        "device",
        files.deactivate,
        "Close the backing and park the device; its LUNs stay. It stays parked until it is activated.",
        (_DEVICE,),
        silent=True,
        removes=True,
        example="deactivate da",
    ),
    Form(
        "rebind",
        "device",
        files.rebind,
        "Let a device be on the disk or file that is at its path now, whatever it was on before.",
        (_DEVICE, Param("path", "its path from now on; left out: the one that it has", source="path")),
        more="""It says by which facts that differs from what the device was on. Its LUNs stay, and
initiators go on with what they find there.""",
        silent=True,
        example="rebind da",
    ),
    Form(
        "resize",
        "device",
        files.resize,
        "Serve what the backing has grown to, or so many bytes of it. Nobody is disturbed.",
        (_DEVICE, Param("size", "bytes, or with K, M, G, T; 0: all of the backing", _size)),
        named=(flag("shrink", "even if that is less than before"),),
        more="""Initiators lose what is beyond a smaller size, so that has to be said. It is not saved: when
the backing is opened anew, all of it is served.""",
        silent=True,
        example="resize da",
    ),
    Form(
        "map",
        "",
        access.map_devices,
        "Make a device a LUN for the initiators of a group.",
        (
            _DEVICE,
            params.TARGET,
            _OF_GROUP,
            replace(_LUNS, help="number, or several: 0-99; left out: the first free", needed=False),
        ),
        named=(_READ_ONLY, _REPLACE),
        more="Without a group: for initiators that no group claims. " + _DEVICES,
        example="map da target=t1 group=backup read_only=yes",
    ),
    Form(
        "unmap",
        "",
        access.unmap,
        "Take LUNs away from the initiators of a group.",
        (
            Param("lun", "number, range of numbers, or name of the device", source="lun", needed=True),
            params.TARGET,
            _OF_GROUP,
        ),
        removes=True,
        example="unmap 0-3 target=t1 group=backup",
    ),
)

_CLEAR = (
    Form(
        "clear",
        "",
        files.clear,
        "Remove everything; all sessions end. What was saved stays saved.",
        named=(params.YES,),
        removes=True,
        example="clear yes=yes",
    ),
    Form(
        "clear",
        "target",
        objects.clear_target,
        "Remove all LUNs, groups and hosts of a target.",
        (params.TARGET,),
        named=(params.YES,),
        removes=True,
        example="clear target t1 yes=yes",
    ),
    Form(
        "clear",
        "group",
        objects.clear_group,
        "Remove all LUNs and initiators of a group.",
        (_GROUP,),
        named=(params.IN_TARGET, params.YES),
        removes=True,
        example="clear group backup target=t1 yes=yes",
    ),
    Form(
        "clear",
        "lun",
        objects.clear_luns,
        "Remove all LUNs of a group, or a target's own.",
        named=(params.IN_TARGET, _OF_GROUP, params.YES),
        removes=True,
        example="clear luns target=t1 yes=yes",
    ),
    Form(
        "clear",
        "initiator",
        objects.clear_initiators,
        "Remove all initiators of a group.",
        named=(params.IN_TARGET, _IN_GROUP, params.YES),
        removes=True,
        example="clear initiators target=t1 group=backup yes=yes",
    ),
    Form(
        "clear",
        "host",
        objects.clear_hosts,
        "Remove all hosts of a target.",
        named=(params.IN_TARGET, params.YES),
        removes=True,
        example="clear hosts target=t1 yes=yes",
    ),
)

_WHOLE = (
    Form("show", "", files.show, "Show the configuration as a tree, with states and sizes.", example="show"),
    Form(
        "status",
        "",
        files.status,
        "The present state in a few lines: what is parked, and whether it is saved.",
        example="status",
    ),
    Form(
        "explain",
        "",
        access.explain,
        "Say what an initiator sees on a target, and why.",
        (
            replace(params.INITIATOR, help="exact name"),
            replace(
                params.TARGET, help="DRIVER/NAME, or NAME; left out: the only one there is", needed=False
            ),
        ),
        named=(replace(_FILE, help="a configuration file instead of the present state", needed=False),),
        example="explain iqn.2026-11.com.example:b1 target=t1",
    ),
    Form(
        "sessions",
        "",
        access.sessions,
        "Show who is logged in and what each sees.",
        named=(
            flag("commands", "show the commands in flight instead: since when, where, whose"),
            flag("iscsi", "show iSCSI sessions instead: addresses, portals, what was negotiated"),
        ),
        example="sessions",
    ),
    Form(
        "recorder",
        "",
        recorder.recorder,
        "Show what was slow and what failed lately: which command, whose, where it was for the longest time.",
        named=(
            replace(_DEVICE, help="of this device only", needed=False),
            _KIND_OF_RECORD,
        ),
        more="""The newest last: for each device the last 32 of each kind. A command is slow when it takes
more milliseconds than /sys/class/scst/core/slow_ms says. BUSY and TASK SET FULL are counted, not recorded:
see `sessions`.""",
        example="recorder",
    ),
    Form(
        "ports",
        "",
        ports.ports,
        "Show the hardware ports that can be targets, what each is used for, and what is in the way.",
        named=(params.DRIVER, params.ONE_TARGET),
        more="""Also targets whose port is not there. With each goes what to do about it. It works before the
module is loaded, too.""",
        absent=True,
        example="ports",
    ),
    Form(
        "plan",
        "",
        files.plan,
        "Show what `apply` would do.",
        (_FILE,),
        named=(_ACCEPT,),
        example="plan new.json",
    ),
    Form(
        "lint",
        "",
        files.lint,
        "Look for what is hardly meant: in the present configuration, or in a file.",
        (replace(_FILE, help="default: the present configuration; - is the standard input", needed=False),),
        named=(_ACCEPT,),
        more="Errors are what `apply` refuses. Exit code: 0 nothing to remark, 1 warnings only, 2 errors.",
        example="lint new.json",
    ),
    Form(
        "who",
        "device",
        access.who,
        "Say which LUNs a device is, and who sees it now.",
        (_DEVICE,),
        silent=True,
        example="who da",
    ),
    Form(
        "pr",
        "device",
        reservations.pr,
        "Show what is reserved on a device, and for whom; clear it; export it, or import it to another.",
        (
            Param(
                "what",
                "what to do: " + ", ".join(reservations.ACTS),
                params.one_of("way", dict.fromkeys(reservations.ACTS)),
                "|".join(reservations.ACTS),
                choices=reservations.ACTS,
                needed=True,
            ),
            _DEVICE,
            replace(_FILE, help="of export and import: a document as of `pr show --json`", needed=False),
        ),
        named=(params.YES,),
        more="""`clear` ends all registrations, whoever made them, if nothing has changed since it looked; the
initiators are told. `import` needs a device that is disabled and has a pr_file; it has what was imported once
it is enabled, and what it had is gone.""",
        silent=True,
        removes=True,
        example="pr show da",
    ),
    Form(
        "apply",
        "",
        files.apply,
        "Make the configuration what a file says: all of it, or nothing.",
        (_FILE,),
        more="What the file does not have is removed. " + _ASKS,
        named=(_ACCEPT, params.YES),
        removes=True,
        absent=True,
        example="apply new.json yes=yes",
    ),
    Form(
        "save",
        "",
        files.save,
        "Write the configuration to a file, keeping the nine before it.",
        (replace(_FILE, help="default: the file that is restored at boot; - prints it", needed=False),),
        named=(flag("force", "even if the present state is degraded, or the file is something else"),),
        more="""Nothing is saved by itself. Refused for a degraded state, and over a file that is no
configuration, unless forced.""",
        example="save",
    ),
    Form(
        "restore",
        "",
        files.restore,
        "Apply all of a file that can be applied, and say what was left out.",
        (replace(_FILE, help="default: the file that `save` writes", needed=False),),
        more="What the file does not have is removed. " + _ASKS,
        named=(_ACCEPT, params.YES),
        removes=True,
        absent=True,
        example="restore",
    ),
    Form(
        "schema",
        "",
        files.schema,
        "Print the JSON Schema of configuration files, or of what --json prints.",
        named=(flag("answers", "of what --json prints"),),
        absent=True,
        example="schema",
    ),
    Form(
        "begin",
        "",
        files.begin,
        "From here on, collect changes instead of making them.",
        more="""Each line is checked as it is typed, against what there is and what was collected before;
`commit` makes all of it one change, or none; `discard` drops it.""",
        shell=True,
        example="begin",
    ),
    Form(
        "commit",
        "",
        files.commit,
        "Bring into force what was collected since `begin`, or what a command that was killed left staged.",
        more="All of it, or nothing.",
        example="commit",
    ),
    Form(
        "discard",
        "",
        files.discard,
        "Drop what was collected since `begin`.",
        shell=True,
        removes=True,
        example="discard",
    ),
)

_PLACE = Param("place", "path of a place; left out: where you are", source="place")
_MOVING = (
    Form(
        "ls",
        "",
        moving.ls,
        "Show the tree from here.",
        (_PLACE, Param("depth", "so many levels only", _levels, "LEVELS")),
        example="ls /targets depth=1",
    ),
    Form(
        "help",
        "",
        moving.refresh,
        "Say what can be done here, or explain one command or topic.",
        rest=Param("topic", "a command, with its object or not, or a topic", source="topic"),
        absent=True,
        example="help create device",
    ),
    Form(
        "version",
        "",
        moving.version,
        "The versions of this command and of the module.",
        absent=True,
        example="version",
    ),
    Form(
        "cd",
        "",
        moving.cd,
        "Go to a place; .. is the one above it. Without a place: to the top.",
        (replace(_PLACE, help="path of a place; left out: the top"),),
        shell=True,
        absent=True,
        example="cd /targets/local/t1",
    ),
    Form("pwd", "", moving.pwd, "Say where you are.", shell=True, absent=True, example="pwd"),
    Form(
        "refresh",
        "",
        moving.refresh,
        "Look again. Every command does so by itself.",
        shell=True,
        example="refresh",
    ),
    *(
        Form(
            verb,
            "",
            moving.quit_,
            "Leave the shell. What was not saved is in force until the next boot.",
            shell=True,
            absent=True,
            example=verb,
        )
        for verb in ("exit", "quit")
    ),
)

FORMS: tuple[Form, ...] = (
    *_CREATE,
    *_DELETE,
    *_SET,
    *_GET,
    *_LIST,
    *_CHANGE,
    *_CLEAR,
    *_WHOLE,
    *_MOVING,
    *forms_alua.FORMS,
    *forms_faults.FORMS,
    *forms_iscsi.FORMS,
)
VERBS: Mapping[str, tuple[Form, ...]] = {
    verb: tuple(form for form in FORMS if form.verb == verb) for verb in dict.fromkeys(f.verb for f in FORMS)
}


def forms(verb: str) -> tuple[Form, ...]:
    """The forms of a verb; none if there is no such verb."""
    return VERBS.get(verb, ())


# Which of them make sense where.

_BELOW: Mapping[str, tuple[str, ...]] = {
    "target": ("group", "lun", "host", "initiator", "portal", "user"),
    "group": ("initiator", "lun"),
    "alua": ("tpg", "member"),
    "tpg": ("member",),
}


def form_at(verb: str, place: Place) -> Form | None:
    """The form of a verb that is about a place itself, or about what is in this folder."""
    for form in forms(verb):
        if place.name and form.kind and (verb, form.kind) in _OF_FOLDERS:
            continue
        if form.kind == place.kind or (not form.kind and verb not in _OWN):
            return form
    return None


# What is said of a folder, and not of one thing in it.
_OF_FOLDERS = frozenset(
    (form.verb, form.kind)
    for form in FORMS
    if form.verb in ("create", "add", "list")
    or (form.verb == "clear" and form.kind in ("lun", "initiator", "host"))
)
# Verbs whose form without a kind is about the whole, and so is at the top only.
_OWN = frozenset(form.verb for form in FORMS if not form.kind and len(VERBS[form.verb]) > 1)


def kinds_at(verb: str, place: Place) -> Mapping[str, Form]:
    """The forms of a verb that say a kind, by that kind, at a place."""
    if place.kind and not place.name:
        return {}
    below = _BELOW.get(place.kind, ()) if place.kind else tuple(KINDS)
    return {form.kind: form for form in forms(verb) if form.kind in below and not form.silent}


def at(place: Place) -> tuple[str, ...]:
    """The verbs that can be given at a place."""
    return _at(place.kind, bool(place.name))


@cache
def _at(kind: str, named: bool) -> tuple[str, ...]:
    place = Place("", kind, "x" if named else "")
    return tuple(
        verb
        for verb, found in VERBS.items()
        if (not kind and any(form.silent for form in found))
        or form_at(verb, place) is not None
        or kinds_at(verb, place)
    )
