# SPDX-License-Identifier: GPL-2.0-or-later
"""Formats: PDUs, names, the page of keys, and the kernel's device against its header."""

from __future__ import annotations

import ctypes
import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyscstadmin.iscsi import device, keys, pdu
from pyscstadmin.iscsi.names import canonical, port_of, why_no_name
from tests.unit.iscsi_client import NAMES, TARGET, Initiator, split

HERE = Path(__file__).parents[2]
UAPI = HERE / "kmod" / "include" / "uapi" / "scst_iscsi.h"

BITS = {"stage": 2, "next": 2, "tsih": 16, "cid": 16, "status": 16, "time2wait": 16, "time2retain": 16}
BYTES = ("version_max", "version_min", "version_active", "response", "event", "code")
KINDS = (
    pdu.LoginRequest,
    pdu.LoginResponse,
    pdu.TextRequest,
    pdu.TextResponse,
    pdu.NopOut,
    pdu.NopIn,
    pdu.LogoutRequest,
    pdu.LogoutResponse,
    pdu.Reject,
    pdu.AsyncMessage,
)


def field(kind: type, name: str, annotation: str) -> st.SearchStrategy[object]:
    """Values of a field."""
    if annotation == "bool":
        return st.booleans()
    if name == "data":
        return st.binary(max_size=100)
    if annotation == "bytes":
        length = 6 if name == "isid" else 8
        return st.binary(min_size=length, max_size=length)
    if annotation.startswith("tuple"):
        return st.tuples(*[st.integers(0, 0xFFFF)] * 3)
    if name == "reason":
        return st.integers(0, 0x7F)
    return st.integers(0, (1 << (8 if name in BYTES else BITS.get(name, 32))) - 1)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_round_trip(kind: type, data: st.DataObject) -> None:
    fields = {
        item.name: data.draw(field(kind, item.name, str(item.type))) for item in dataclasses.fields(kind)
    }
    made = kind(**fields)
    raw = made.build()
    assert len(raw) % 4 == 0
    assert kind.parse(*split(raw)) == made  # type: ignore[attr-defined]


def test_i01_layout_of_a_login_request() -> None:
    request = pdu.LoginRequest(
        True,
        False,
        1,
        3,
        bytes(range(1, 7)),
        0x0708,
        0x090A0B0C,
        0x0D0E,
        0x11121314,
        0x21222324,
        data=b"A=b\0\0",
    )
    raw = request.build()
    assert raw[:8].hex() == "4387000000000005"
    assert raw[8:32].hex() == "0102030405060708090a0b0c0d0e00001112131421222324"
    assert raw[32:48] == bytes(16)
    assert raw[48:] == b"A=b\0\0\0\0\0"[:8]
    assert pdu.sizes(raw) == pdu.Sizes(0, 5, 3)


def test_i48_place_of_the_status() -> None:
    initiator = Initiator()
    step = initiator.feed(initiator.request(b"", 1))
    assert step.send[36:38] == b"\x02\x07"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_other_pdus_are_malformed(kind: type) -> None:
    for header, data in (
        (bytes(47), b""),
        (b"\x3e" + bytes(47), b""),
        (bytes(7) + b"\4" + bytes(40), b"abc"),
    ):
        with pytest.raises(pdu.Malformed):
            kind.parse(header, data)  # type: ignore[attr-defined]


def test_i46_names() -> None:
    for good in (
        TARGET,
        TARGET.upper(),
        "eui.02004567A425678D",
        "naa.52004567BA64678D",
        "naa.62004567BA64678D0123456789ABCDEF",
        "iqn.2001-04.com.example",
        "iqn.2001-04.com.example:stör",
    ):
        assert why_no_name(good) == ""
        assert why_no_name(canonical(good)) == ""
    for bad in (
        "",
        "disk",
        "iqn.2001-13.com.example",
        "iqn.01-04.com.example",
        "eui.02004567A425678",
        "naa.52004567BA64678D0",
        TARGET + " x",
        TARGET + "/x",
        TARGET + "\n",
        TARGET + "_",
        "iqn.2001-04.com.example:" + "x" * 200,
    ):
        assert why_no_name(bad), bad


def test_ports_of_folders() -> None:
    assert port_of(TARGET) == (TARGET, 1)
    assert port_of(TARGET + ",t,0x00a2") == (TARGET, 0xA2)


def test_page_of_keys_is_that_of_the_table() -> None:
    assert (HERE / "docs" / "iscsi-keys.md").read_text() == keys.page()


CLAUSE_13 = (
    "HeaderDigest DataDigest MaxConnections SendTargets TargetName InitiatorName TargetAlias InitiatorAlias "
    "TargetAddress TargetPortalGroupTag InitialR2T ImmediateData MaxRecvDataSegmentLength MaxBurstLength "
    "FirstBurstLength DefaultTime2Wait DefaultTime2Retain MaxOutstandingR2T DataPDUInOrder "
    "DataSequenceInOrder ErrorRecoveryLevel SessionType TaskReporting iSCSIProtocolLevel OFMarker IFMarker "
    "OFMarkInt IFMarkInt X#NodeArchitecture"
)


def test_every_key_is_of_a_clause_and_says_what_is_answered() -> None:
    for key in keys.KEYS.values():
        assert key.clause.startswith(("12.1", "13."))
        assert key.answer, key.name
        assert not (key.declarative and key.negotiated)
    assert {key.name for key in keys.KEYS.values() if key.clause.startswith("13.")} == set(CLAUSE_13.split())


# The device.

STRUCTS = {
    "scst_iscsi_adopt": device.AdoptStruct,
    "scst_iscsi_secret": device.SecretStruct,
    "scst_iscsi_portal_state": device.PortalStateStruct,
    "scst_iscsi_isns_state": device.IsnsStateStruct,
    "scst_iscsi_drop": device.DropStruct,
    "scst_iscsi_event": device.EventStruct,
    "scst_iscsi_text": device.TextStruct,
    "scst_iscsi_text_answer": device.TextAnswerStruct,
}
NUMBERS = {
    "SCST_ISCSI_ADOPT": device.ADOPT,
    "SCST_ISCSI_SECRET": device.SECRET,
    "SCST_ISCSI_PORTAL": device.PORTAL,
    "SCST_ISCSI_DROP": device.DROP,
    "SCST_ISCSI_TEXT": device.TEXT,
    "SCST_ISCSI_TEXT_ANSWER": device.TEXT_ANSWER,
    "SCST_ISCSI_ISNS": device.ISNS,
}


def test_device_is_that_of_the_header(tmp_path: Path) -> None:
    """As the C compiler has it: sizes, places of all fields, numbers."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "a C compiler is needed"
    lines, expected = [], []
    for name, struct in STRUCTS.items():
        lines.append(f"sizeof(struct {name})")
        expected.append(ctypes.sizeof(struct))
        for item in struct._fields_:
            lines.append(f"offsetof(struct {name}, {item[0]})")
            expected.append(getattr(struct, item[0]).offset)
    lines += NUMBERS
    expected += NUMBERS.values()
    for kind in device.Kind:
        lines.append(f"SCST_ISCSI_EVENT_{kind.name}")
        expected.append(kind)
    for reason in device.Reason:
        lines.append(f"SCST_ISCSI_REASON_{reason.name}")
        expected.append(reason)
    lines.append("SCST_ISCSI_REASONS")
    expected.append(len(device.Reason))
    body = "".join(f'printf("%lu\\n", (unsigned long)({line}));' for line in lines)
    (tmp_path / "a.c").write_text(
        f'#include <stddef.h>\n#include <stdio.h>\n#include "{UAPI}"\nint main(void) {{ {body} return 0; }}\n'
    )
    subprocess.run([compiler, "-o", tmp_path / "a", tmp_path / "a.c"], check=True)
    found = subprocess.run([tmp_path / "a"], check=True, capture_output=True, text=True).stdout.split()
    assert [int(number) for number in found] == expected


def test_every_structure_of_the_header_is_there() -> None:
    assert set(re.findall(r"^struct (\w+) \{", UAPI.read_text(), re.M)) == set(STRUCTS)


def test_what_is_handed_over() -> None:
    initiator = Initiator()
    initiator.say(NAMES, 1)
    initiator.say(
        [("MaxRecvDataSegmentLength", "65536"), ("InitialR2T", "No"), ("HeaderDigest", "CRC32C")], 3
    )
    end = initiator.logged_in()
    made = device.adopt_struct(end, 9, 5000)
    assert (made.fd, made.target.decode(), made.wait_ms) == (9, TARGET, 5000)
    assert (made.max_xmit, made.max_recv, made.initial_r2t, made.header_digest) == (65536, 262144, 0, 1)
    assert (made.stat_sn, made.exp_cmd_sn, bytes(made.isid)) == (end.stat_sn, 5, end.isid)
    assert made.response_len == len(end.response)
    assert made.response_len % 4 == 0
