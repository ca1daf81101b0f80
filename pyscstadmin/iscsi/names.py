# SPDX-License-Identifier: GPL-2.0-or-later
"""iSCSI names (RFC 7143 4.2.7) and the names of target ports. Pure.

Which spellings are one name is decided in `config.spelling`; here is what may be one at all.
"""

from __future__ import annotations

import re

from pyscstadmin.config.spelling import fold

__all__ = ["NAME_MAX", "canonical", "port_of", "why_no_name"]

NAME_MAX = 223

_IQN = re.compile(r"iqn\.[0-9]{4}-(?:0[1-9]|1[0-2])\.[^.:][^:]*(?::.*)?")
_EUI = re.compile(r"eui\.[0-9a-f]{16}")
_NAA = re.compile(r"naa\.(?:[0-9a-f]{16}|[0-9a-f]{32})")
_PORT = re.compile(r"(?P<name>.+),t,0x(?P<tag>[0-9a-f]{1,4})", re.I)
# RFC 3722: what is left of ASCII after stringprep.
_ASCII = re.compile(r"[a-z0-9.:-]*")


def canonical(text: str) -> str:
    """The spelling that names are compared in."""
    return fold(text)


def why_no_name(text: str) -> str:
    """Why a text is no iSCSI name; '' for one that is. Case is no matter."""
    folded = canonical(text)
    if not folded:
        return "it is empty"
    if len(folded.encode()) > NAME_MAX:
        return f"it is longer than {NAME_MAX} bytes"
    if not _ASCII.fullmatch(folded):
        wrong = next((c for c in folded if not (_ASCII.fullmatch(c) or (ord(c) >= 128 and c.isalnum()))), "")
        if wrong:
            return f"it has {wrong!a}, which iSCSI names cannot have"
    if _IQN.fullmatch(folded) or _EUI.fullmatch(folded) or _NAA.fullmatch(folded):
        return ""
    return "it is none of iqn.YYYY-MM.DOMAIN[:NAME], eui. with 16 hex digits, naa. with 16 or 32"


def port_of(folder: str) -> tuple[str, int]:
    """The iSCSI name and the portal group tag of a folder in targets/iscsi: `iqn...`, `iqn...,t,0x0002`."""
    found = _PORT.fullmatch(folder)
    if found is None:
        return canonical(folder), 1
    return canonical(found["name"]), int(found["tag"], 16)
