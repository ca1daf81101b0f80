# SPDX-License-Identifier: GPL-2.0-or-later
"""The one table of settings: what each is called, which values it takes, and what it means. Pure.

The reader of files, the JSON Schema, the provisioning interface, the plan, the shell, the command line,
completion, the simulated tree and the pages of docs/ all take from here what they know of a setting. A new
one of a handler or driver is a row in `HANDLERS` or `DRIVERS`, a new handler or driver is a row of those.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pyscstadmin.config import iscsi_names, names
from pyscstadmin.config.kinds import (
    AUTO,
    Auto,
    Choice,
    Flag,
    Known,
    Moment,
    Number,
    Text,
    Type,
    Value,
    Word,
    hint,
    kind_of,
)
from pyscstadmin.errors import InvalidInput, Problem

__all__ = [
    "AUTO",
    "BACKED_STATES",
    "DEVICE",
    "DEVICE_GROUP",
    "DEVICE_GROUP_STATES",
    "DEVICE_STATES",
    "DRIVERS",
    "FACTS",
    "GROUP",
    "GROUP_ID",
    "HANDLERS",
    "HOST_STATES",
    "IDENTITY",
    "ISCSI",
    "ISCSI_STATES",
    "ISCSI_USER",
    "LIMITS",
    "LUN",
    "LUN_STATES",
    "PORTAL",
    "PORTAL_STATES",
    "PORT_GROUP",
    "PORT_STATE",
    "REL_TGT_ID",
    "ROOT",
    "ROOT_STATES",
    "TARGET",
    "TARGET_STATES",
    "USER_ATTRIBUTES",
    "Auto",
    "Choice",
    "Driver",
    "Flag",
    "Handler",
    "Known",
    "Moment",
    "Number",
    "Ports",
    "Rows",
    "Setting",
    "State",
    "Table",
    "Text",
    "Type",
    "Value",
    "Values",
    "Word",
    "hint",
    "kind_of",
    "rows",
]

# What a setting is.


@dataclass(frozen=True, slots=True)
class Setting:
    """A rw attribute: its name (the same in the tree, in files and on command lines), type and default, and
    a sentence of help.

    `required`: must be set before the object can be enabled. `live`: can be changed while the object is
    enabled, without anybody noticing more than the change. `secret`: never shown, logged or given to a
    process list; files that hold it are for root only. `kept`: where a file does not say it, it stays.
    `at`: the attribute, where it is called otherwise, or is in a folder below that of the object.
    """

    name: str
    type: Type
    default: Value
    help: str
    required: bool = False
    live: bool = False
    secret: bool = False
    kept: bool = False
    at: str = ""

    @property
    def attribute(self) -> str:
        """Its path below the directory of the object."""
        return self.at or self.name


@dataclass(frozen=True, slots=True)
class State:
    """An attribute that the kernel sets, or that is a request and no setting: it is shown, and not saved."""

    name: str
    help: str


Rows = Mapping[str, Setting]

# So many different texts of one kind of object are remembered.
_SHOWN = 4096


class Table(dict[str, Setting]):
    """The settings of a kind of object by name. Not changed once made: `Values` are in its order.

    `shown`: the values that the texts of the kernel are, in this order. Most objects have the same, and share
    them.
    """

    __slots__ = ("defaults", "kept", "places", "shown")

    defaults: tuple[Value, ...]
    kept: tuple[Setting, ...]
    places: dict[str, int]
    shown: Callable[[tuple[str, ...]], Values]

    def __init__(self, settings: Iterable[Setting]) -> None:
        super().__init__((setting.name, setting) for setting in settings)
        self.defaults = tuple(setting.default for setting in self.values())
        self.places = {name: place for place, name in enumerate(self)}
        self.kept = tuple(setting for setting in self.values() if setting.kept)
        self.shown = lru_cache(_SHOWN)(self._shown)

    def _shown(self, texts: tuple[str, ...]) -> Values:
        found = tuple(row.type.from_kernel(text) for row, text in zip(self.values(), texts, strict=True))
        return Values.known(self, found)


def rows(*settings: Setting) -> Table:
    """Settings by name."""
    return Table(settings)


@dataclass(frozen=True, slots=True)
class Handler:
    """A device handler: its kernel module and the settings of its devices. `backed`: these have a backing at
    `path`; `exclusive`: which one device only can have open.
    """

    module: str
    settings: Table
    backed: bool = True
    exclusive: bool = False

    @property
    def required(self) -> str:
        """The setting that a device needs to be enabled."""
        return next(setting.name for setting in self.settings.values() if setting.required)


_NAME = Text(
    names.check_target_name,
    "1-223 of A-Z a-z 0-9 _ . : - + @ ,",
    "^[A-Za-z0-9_:+@,][A-Za-z0-9_.:+@,-]{0,222}$",
    223,
)


@dataclass(frozen=True, slots=True)
class Ports:
    """Hardware that targets are: one waits (parked) until the port of its name is there.

    `inbox`: the kernel's own driver of the boards, which is that of their SCSI hosts. `refusing`: values of
    the port's `qlini_mode` with which it can be no target. `refused`: what it means and what to do when
    `enabled` is refused with an errno; `{digits}` are those of the target's name. `look`: how to find out
    what is with a board that does not show up.
    """

    inbox: str
    refusing: tuple[str, ...]
    refused: Mapping[int, str]
    look: str


@dataclass(frozen=True, slots=True)
class Driver:
    """A target driver: its kernel module, the settings of its targets, whether these have a hosts
    directory, and whether initiators are on other machines: these must know a device again, wherever and
    whenever it is made. `name`: what its targets can be called. `ports`: they are hardware. `portals`: they
    are reached at portals, and have users (iSCSI).
    """

    module: str
    settings: Table
    hosts: bool = False
    remote: bool = True
    name: Text = _NAME
    ports: Ports | None = None
    portals: bool = False


# The table.

_BYTES = Number(unit="bytes")
_FLAG = Flag()

_PATH = Setting(
    "path",
    Text(names.check_path, "an absolute path", "^(/[^\\x00-\\x1f\\x7f]*)?$", names.PATH_MAX),
    "",
    "backing file or block device, absolute",
    required=True,
)
FACTS = Setting(
    "facts",
    Known(),
    "",
    "what the backing is known by; left out: as it is, or what is found at the path",
    live=True,
    kept=True,
)
_SIZE = Setting("size", _BYTES, 0, "bytes, a multiple of the block size", required=True)
_COMMON = (
    Setting(
        "block_size",
        Choice(only=names.BLOCK_SIZES, meaning={0: "that of the backing"}, unit="bytes"),
        0,
        "logical block in bytes; 0: that of the backing",
    ),
    Setting("read_only", _FLAG, False, "open the backing read-only; nobody can write"),
    Setting("rotational", Auto(), AUTO, "report a rotating medium; auto: as the backing is"),
    Setting("removable", _FLAG, False, "the medium can be ejected and loaded by initiators"),
    Setting("stop_unit", _FLAG, False, "START STOP UNIT of one initiator stops the unit for all"),
    Setting(
        "pr_file",
        _PATH.type,
        "",
        "file in which persistent reservations outlive a loss of power (APTPL), absolute; made if it is not "
        "there. Without one they do not",
    ),
)
_WRITE_THROUGH = Setting(
    "write_through", _FLAG, False, "no volatile cache: each write is stable before its status"
)
_THIN = Setting(
    "thin",
    _FLAG,
    False,
    "initiators may give back what they do not need (UNMAP); refused where the backing takes nothing back",
)
_SPACE_THRESHOLD = Setting(
    "space_threshold",
    _BYTES,
    0,
    "initiators of a thin device are told once when its file system has fewer bytes left; 0: never",
    live=True,
)
_O_DIRECT = Setting("o_direct", _FLAG, False, "bypass the page cache")
_PROTECTION = Setting(
    "protection",
    Choice(only=names.PROTECTION_TYPES, meaning={0: "none"}),
    0,
    "type of T10 protection information that each block has; 0: none. With blockio that which the disk "
    "keeps: 1 or 3",
)
_PROTECTION_FILE = Setting(
    "protection_file",
    _PATH.type,
    "",
    "file in which protection information is kept, absolute; made if it is not there. It is of one device "
    "and of one backing",
)

HANDLERS: dict[str, Handler] = {
    "blockio": Handler(
        "scst_blockio", rows(_PATH, FACTS, *_COMMON, _WRITE_THROUGH, _THIN, _PROTECTION), exclusive=True
    ),
    "fileio": Handler(
        "scst_fileio",
        rows(
            _PATH,
            FACTS,
            *_COMMON,
            _WRITE_THROUGH,
            _THIN,
            _SPACE_THRESHOLD,
            _O_DIRECT,
            _PROTECTION,
            _PROTECTION_FILE,
        ),
    ),
    "nullio": Handler("scst_nullio", rows(_SIZE, *_COMMON, _PROTECTION), backed=False),
}

_QUEUE_DEPTH = Setting(
    "queue_depth",
    Number(high=names.QUEUE_DEPTH_MAX),
    0,
    "commands of one initiator to one LUN at a time; 0: no limit of its own",
    live=True,
)
# Of drivers whose data is in the core's memory. The longest command has to fit.
_BUFFER = Number(names.XFER_MAX, unit="bytes", zero=True)
_BUFFERS = (
    Setting(
        "buffer_limit",
        _BUFFER,
        0,
        "bytes of memory for data of commands of this target; 0: no limit of its own",
        live=True,
    ),
    Setting(
        "session_buffer_limit",
        _BUFFER,
        names.SESSION_BUFFER_DEFAULT,
        "bytes of memory for data of commands of each session; 0: no limit of its own",
        live=True,
    ),
)
_HEX = "[0-9a-fA-F]"
_WWPN = Text(
    names.check_wwpn,
    "the WWPN of the port, 21:00:00:1b:32:0a:0b:0c, in any usual spelling",
    names.WWPN_PATTERN,
    canonical=names.canonical_wwpn,
)
_QLOGIC = Ports(
    inbox="qla2xxx",
    refusing=("enabled",),
    refused={
        errno.EOPNOTSUPP: "the driver qla2xxx was loaded with qlini_mode=enabled, so its ports are "
        "initiators only. Put the line `options qla2xxx qlini_mode=exclusive` into "
        "/etc/modprobe.d/qla2xxx.conf (exclusive: a port is a target while one is enabled, and an "
        "initiator before that; dual instead: both at once), make the initramfs anew if the driver is in it "
        "(update-initramfs -u, or dracut -f), and boot. Or load the driver anew, when there are no targets "
        "of it and its disks are not in use: modprobe -r scst_qla2xxx qla2xxx && modprobe scst_qla2xxx",
        errno.EBUSY: "another target driver has the port, as LIO has while its configuration names it "
        "(targetcli ls /qla2xxx): take it out there, `targetcli /qla2xxx delete naa.{digits}`, and enable "
        "the target then. Or a target of that name is still being closed: repeat it",
    },
    look="see whether the board is there (lspci -d 1077:) and qla2xxx has it (journalctl -k -g qla2xxx)",
)

# iSCSI: what is negotiated when an initiator logs in, and what a session may have.
_IQN = Text(
    iscsi_names.check_name,
    "an iSCSI name, such as iqn.2026-11.com.example:disk1; ,t,0x0002 behind it for another portal group",
    iscsi_names.NAME_PATTERN,
    223,
    iscsi_names.canonical_name,
)
_AUTH = Word(("none", "chap"))
_DIGESTS = Word(("none,crc32c", "crc32c,none", "none", "crc32c"))
_SEGMENT = Number(iscsi_names.SEGMENT_MIN, iscsi_names.SEGMENT_MAX, unit="bytes")
_SECONDS = Number(high=3600, unit="seconds")
_WHERE_TO = Text(
    iscsi_names.check_host_port,
    "HOST or HOST:PORT, an IPv6 address in brackets; '' for none",
    r"^(?:(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_][A-Za-z0-9._-]*)(?::[0-9]+)?)?$",
    iscsi_names.HOST_PORT_MAX,
)


def _param(name: str, kind: Type, default: Value, text: str, attribute: str = "") -> Setting:
    """What is in params/. Sessions that are there keep what they have."""
    return Setting(name, kind, default, text, live=True, at=f"params/{attribute or name}")


_ISCSI = (
    Setting(
        "alias",
        Text(
            iscsi_names.check_alias,
            f"a text of up to {iscsi_names.ALIAS_MAX} bytes on one line",
            "^[^\\x00-\\x1f\\x7f]*$",
            iscsi_names.ALIAS_MAX,
        ),
        "",
        "what initiators are told of this target (TargetAlias)",
        live=True,
    ),
    Setting(
        "auth",
        _AUTH,
        "none",
        "what initiators prove themselves by: chap, as one of the users; or none",
        live=True,
    ),
    Setting(
        "chap_algorithms",
        Text(
            iscsi_names.check_algorithms,
            f"some of {', '.join(iscsi_names.ALGORITHMS)}, with commas between them",
            "^[a-z0-9-]+(?:,[a-z0-9-]+)*$",
        ),
        ",".join(iscsi_names.ALGORITHMS),
        "algorithms of CHAP that may be used, the one to be preferred first; Windows and ESXi know md5 only",
        live=True,
    ),
    Setting("max_sessions", Number(high=65535), 0, "sessions at a time; 0: no limit of its own", live=True),
    Setting("redirect", _WHERE_TO, "", "initiators are sent there for now when they log in", live=True),
    Setting(
        "redirect_permanent", _WHERE_TO, "", "initiators are sent there for good when they log in", live=True
    ),
    _param(
        "header_digest",
        _DIGESTS,
        "none,crc32c",
        "what is agreed to for HeaderDigest, the preferred one first",
    ),
    _param(
        "data_digest", _DIGESTS, "none,crc32c", "what is agreed to for DataDigest, the preferred one first"
    ),
    _param("initial_r2t", _FLAG, False, "no data before the target asks for it (InitialR2T)"),
    _param("immediate_data", _FLAG, True, "data may come with the command (ImmediateData)"),
    _param(
        "max_recv_data_segment_length",
        _SEGMENT,
        256 << 10,
        "bytes of data in one PDU to us (MaxRecvDataSegmentLength)",
    ),
    _param(
        "max_burst_length", _SEGMENT, 1 << 20, "bytes that are asked for, or sent, at once (MaxBurstLength)"
    ),
    _param(
        "first_burst_length",
        _SEGMENT,
        256 << 10,
        "bytes that come without being asked for (FirstBurstLength)",
    ),
    _param(
        "max_outstanding_r2t", Number(1, 65535), 8, "requests for data of one command (MaxOutstandingR2T)"
    ),
    _param(
        "session_queue_depth",
        Number(1, 1024),
        128,
        "commands of one session at a time (params/queue_depth)",
        "queue_depth",
    ),
    _param(
        "nop_interval", _SECONDS, 15, "seconds of silence before an initiator is asked for a sign; 0: never"
    ),
    _param("nop_timeout", _SECONDS, 30, "seconds it has to give one; 0: for ever"),
    _param(
        "send_timeout",
        _SECONDS,
        60,
        "seconds that an initiator may take nothing of what is sent; 0: for ever",
    ),
)

DRIVERS: dict[str, Driver] = {
    "iscsi": Driver("scst_iscsi", rows(_QUEUE_DEPTH, *_BUFFERS, *_ISCSI), name=_IQN, portals=True),
    "local": Driver(
        "scst_local",
        rows(
            _QUEUE_DEPTH,
            Setting(
                "auto_rescan",
                _FLAG,
                True,
                "SCSI hosts of this target rescan by themselves when their LUNs change",
                live=True,
            ),
            Setting(
                "protection",
                _FLAG,
                False,
                "SCSI hosts of this target exchange protection information with their devices, beside the "
                "data (DIX); from the next login",
            ),
        ),
        hosts=True,
        remote=False,
    ),
    "qla2xxx": Driver("scst_qla2xxx", rows(_QUEUE_DEPTH, *_BUFFERS), name=_WWPN, ports=_QLOGIC),
}

# Of the whole.
ROOT = rows(
    Setting(
        "buffer_limit",
        _BYTES,
        0,
        "bytes of memory for data of remote commands; 0: the kernel's choice",
        live=True,
    ),
)
# Of iSCSI as a whole, of its portals, and of the users of a target or of discovery.
ISCSI = rows(
    Setting("max_connections", Number(1, 65535), 4096, "sessions and discoveries at a time", live=True),
    Setting("max_half_open", Number(1, 65535), 1024, "connections that are logging in at a time", live=True),
    Setting("login_timeout", Number(1, 3600, "seconds"), 15, "seconds that a login may take", live=True),
    Setting(
        "memory_limit",
        Number(1 << 20, (1 << 32) - 1, "bytes"),
        256 << 20,
        "bytes of memory for data that comes before its command wants it; at the limit sessions are not read",
        live=True,
    ),
    Setting(
        "isns_server",
        _WHERE_TO,
        "",
        "iSNS server that is told of enabled targets and where they are reached, port 3205 if none is said",
        live=True,
    ),
)
PORTAL = rows(
    Setting(
        "address",
        Text(
            iscsi_names.check_address,
            "* for all addresses, an IPv4 or IPv6 address, or the name of an interface",
            "^[^/ ]+$",
            iscsi_names.HOST_MAX,
        ),
        "*",
        "where it listens; what is not there yet is waited for",
        live=True,
    ),
    Setting("port", Number(1, 65535), 3260, "TCP port", live=True),
    Setting(
        "netns",
        Text(
            iscsi_names.check_netns,
            "the name of a network namespace, as `ip netns` lists them; '' for the usual one",
            "^[!-.0-~]*$",
            iscsi_names.HOST_MAX,
        ),
        "",
        "network namespace it is in",
        live=True,
    ),
    Setting(
        "advertise",
        _WHERE_TO,
        "",
        "what discovery says instead of the address: behind NAT, or a name",
        live=True,
    ),
    Setting("discovery_auth", _AUTH, "none", "what initiators prove themselves by to discovery", live=True),
)
ISCSI_USER = rows(
    Setting(
        "direction",
        Word(("in", "out")),
        "in",
        "in: initiators prove themselves so; out: the target proves itself so to them",
        live=True,
    ),
    Setting(
        "secret_file",
        Text(
            iscsi_names.check_secret_file,
            f"an absolute path, or {iscsi_names.CREDENTIAL}NAME for a systemd credential",
            f"^(?:/.*|{iscsi_names.CREDENTIAL}[^/]+|-)?$",
            iscsi_names.SOURCE_MAX,
        ),
        "",
        "file of mode 0600 with the secret, 12 to 64 bytes; left out: the secret stays as it is",
        live=True,
    ),
    Setting("expires", Moment(), "", "when no login is let in as this user any more", live=True),
    Setting(
        "uses",
        Number(0, 65535),
        0,
        "logins that are let in as this user, counted for this secret; 0: any number",
        live=True,
    ),
)
# Those that are values in the tree as they are; the secret is not.
USER_ATTRIBUTES = tuple(name for name in ISCSI_USER if name != "secret_file")
# Of every device, target, group and LUN.
DEVICE = rows(Setting("enabled", _FLAG, True, "a device that is not enabled serves nobody", live=True))
TARGET = rows(Setting("enabled", _FLAG, True, "open the target to initiators", live=True))
REL_TGT_ID = Setting(
    "rel_tgt_id",
    Number(1, names.REL_TGT_ID_MAX),
    0,
    "relative target port identifier; left out: as it is, or the first free one",
)
GROUP = rows(
    Setting(
        "priority",
        Number(high=names.PRIORITY_MAX),
        names.PRIORITY_DEFAULT,
        "among groups whose patterns match, the lowest wins",
        live=True,
    ),
)
_IOPS = Number(high=names.IOPS_MAX)
_BYTES_PER_SEC = Number(high=names.BYTES_PER_SEC_MAX, unit="bytes")
_EACH = "each initiator by itself; 0: no limit"
LUN = rows(
    Setting("read_only", _FLAG, False, "writes through this LUN are refused", live=True),
    Setting("read_iops", _IOPS, 0, f"most commands that read in a second, {_EACH}", live=True),
    Setting("write_iops", _IOPS, 0, f"most commands that write in a second, {_EACH}", live=True),
    Setting("read_bytes_per_sec", _BYTES_PER_SEC, 0, f"most bytes read in a second, {_EACH}", live=True),
    Setting("write_bytes_per_sec", _BYTES_PER_SEC, 0, f"most bytes written in a second, {_EACH}", live=True),
    Setting(
        "burst",
        Number(1, names.BURST_MAX),
        100,
        "milliseconds: what a limit lets pass at once after a rest is as much as in that time",
        live=True,
    ),
)
# ... those that are limits.
LIMITS = ("read_iops", "write_iops", "read_bytes_per_sec", "write_bytes_per_sec")
# Of device groups and their target port groups (ALUA).
DEVICE_GROUP = rows(
    Setting(
        "explicit",
        _FLAG,
        False,
        "initiators may change the states of target port groups (SET TARGET PORT GROUPS)",
        live=True,
    ),
    Setting(
        "transition_time",
        Number(high=names.TRANSITION_TIME_MAX, unit="seconds"),
        0,
        "seconds that initiators are told to wait for a change of state; 0: not told",
        live=True,
    ),
    Setting(
        "ask_ms",
        Number(high=names.ASK_MS_MAX, unit="milliseconds"),
        0,
        "what initiators ask for by SET TARGET PORT GROUPS is done when `answer` accepts it within so long; "
        "0: at once",
        live=True,
    ),
)
PORT_GROUP = rows(
    Setting("preferred", _FLAG, False, "initiators are told to prefer the ports of this group", live=True)
)
GROUP_ID = Setting(
    "group_id",
    Number(1, names.GROUP_ID_MAX),
    0,
    "identifier of the target port group; left out: as it is, or the first free one",
    live=True,
)
PORT_STATE = Setting(
    "state",
    Word(names.PORT_STATES),
    names.PORT_STATES[0],
    "how its ports can be used; left out: as it is, or active/optimized",
    live=True,
    kept=True,
)


def _printable(limit: int) -> Text:
    return Text(
        lambda text: names.check_printable(text, limit),
        f"up to {limit} printable ASCII characters",
        f"^[ -~]{{1,{limit}}}$",
    )


def _pairs(count: int) -> str:
    """A pattern of pairs of hex digits, with colons or hyphens before them or not."""
    return f"(?:[:-]?{_HEX}{{2}}){{{count}}}"


# What initiators recognise a device by. The kernel has a value for each that is not set.
IDENTITY = rows(
    Setting("vendor", _printable(8), "", "T10 vendor identification"),
    Setting("product", _printable(16), "", "product identification"),
    Setting("revision", _printable(4), "", "product revision level"),
    Setting("serial", _printable(64), "", "unit serial number; left out: as it is, or random"),
    Setting(
        "naa",
        Text(
            names.check_naa,
            "16 hex digits starting 2, 3 or 5, or 32 starting 6",
            f"^(?:0[xX]|[nN][aA][aA]\\.)?(?:[235]{_HEX}{_pairs(7)}|6{_HEX}{_pairs(15)})$",
            canonical=names.canonical_naa,
        ),
        "",
        "NAA identifier; left out: as it is, or random",
    ),
    Setting(
        "eui64",
        Text(
            names.check_eui64,
            "16, 24 or 32 hex digits",
            f"^(?:(?:0[xX]|[eE][uU][iI]\\.)?{_HEX}{{2}}(?:{_pairs(7)}|{_pairs(11)}|{_pairs(15)}))?$",
            canonical=names.canonical_eui64,
        ),
        "",
        "EUI-64 based identifier",
    ),
)

# What is shown and not saved.
ROOT_STATES = (
    State("version", "version of the module"),
    State("features", "what this module can do beyond the first release"),
    State("generation", "number of the access configuration in force"),
    State("staged", "whether changes are staged that are not in force"),
    State("settled", "newest generation such that nothing older is alive"),
)
DEVICE_STATES = (
    State("state", "disabled, opening, active, closing or parked"),
    State("error", "why the last opening of the backing failed"),
    State("active", "whether the backing is open; `activate` and `deactivate` change it"),
    State("wanted", "whether it is to be active, and is opened when its backing is there"),
    State("medium", "present, or ejected by an initiator until one loads it or the device is activated"),
    State("size", "bytes that are served; `resize` changes it"),
)
# Of devices with a backing.
BACKED_STATES = (
    State("elsewhere", "where the backing is, if not at the path"),
    State("expect", "what the next opening has to find"),
    State("backing", "what is open now"),
)
ISCSI_STATES = (State("isns_state", "off, registered, or waiting or refused and what is in the way"),)
PORTAL_STATES = (State("state", "listening, waiting for what is not there yet, or failed; and why"),)
TARGET_STATES = (State("state", "disabled, enabled, parked (its port is not there) or closing"),)
LUN_STATES = (State("state", "unmapped, or the device's state"),)
DEVICE_GROUP_STATES = (
    State(
        "question",
        "what an initiator asks for: number, milliseconds left, target, initiator, device, wanted states; "
        "`answer` answers it",
    ),
)
HOST_STATES = (State("host", "number of the SCSI host; empty while logged out"),)


# Settings of one object.


class Values(Mapping[str, Value]):
    """The settings of one object: a value for each row of its table. Immutable, and compares by value.

    Raises `InvalidInput` for a name that is not in the table, and for a value that its setting does not take.
    """

    __slots__ = ("_items", "_rows")

    _rows: Table
    _items: tuple[Value, ...]

    def __init__(self, table: Table, given: Mapping[str, Any], whose: str = "settings") -> None:
        _refuse(table, given, whose)
        self._rows = table
        self._items = _with(table, table.defaults, given)

    @classmethod
    def known(cls, table: Table, items: tuple[Value, ...]) -> Values:
        """Of values in the order of the table, which the kernel or the reader has checked already."""
        made = cls.__new__(cls)
        made._rows, made._items = table, items
        return made

    def but(self, whose: str = "settings", /, **given: Any) -> Values:
        """The same with some changed."""
        if not given:
            return self
        _refuse(self._rows, given, whose)
        return Values.known(self._rows, _with(self._rows, self._items, given))

    def __getitem__(self, name: str) -> Value:
        return self._items[self._rows.places[name]]

    def get(self, name: str, default: Any = None) -> Any:
        """The value, or `default` where the kind has no such setting."""
        place = self._rows.places.get(name)
        return default if place is None else self._items[place]

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Values) and self._rows is other._rows and self._items == other._items

    def __hash__(self) -> int:
        return hash(self._items)

    def __repr__(self) -> str:
        own = ", ".join(f"{name}={value!r}" for name, value in self.chosen() if not self._rows[name].secret)
        return f"Values({own})"

    @property
    def table(self) -> Table:
        """The rows."""
        return self._rows

    def chosen(self) -> Iterator[tuple[str, Value]]:
        """(name, value) of those that are not as they are by default."""
        for row, value in zip(self._rows.values(), self._items, strict=True):
            if value != row.default:
                yield row.name, value


def _with(table: Table, items: tuple[Value, ...], given: Mapping[str, Any]) -> tuple[Value, ...]:
    """Values in the order of the table, with those that are given in their places."""
    changed = list(items)
    for name, value in given.items():
        changed[table.places[name]] = table[name].type.meant(value)
    return tuple(changed)


def _refuse(table: Table, given: Mapping[str, Any], whose: str) -> None:
    problems = [_problem(table, name, value) for name, value in given.items()]
    wrong = [Problem(text) for text in problems if text]
    if wrong:
        raise InvalidInput(whose, wrong)


def _problem(table: Rows, name: str, value: object) -> str:
    row = table.get(name)
    if row is None:
        return f"no setting {name}{hint(name, table)}"
    reason = row.type.refuse(value)
    return f"{name}: {'' if row.secret else f'{value!r} '}{reason}" if reason else ""
