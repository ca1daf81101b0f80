# SPDX-License-Identifier: GPL-2.0-or-later
"""Names and addresses of iSCSI: what is allowed, as the kernel decides it, but for names of targets, of which
it takes any. Pure.
"""

from __future__ import annotations

import errno
import ipaddress
import re

from pyscstadmin.config.names import Fault, check_printable, check_target_name

__all__ = [
    "ALGORITHMS",
    "ALIAS_MAX",
    "BY_HAND",
    "CREDENTIAL",
    "HOST_MAX",
    "HOST_PORT_MAX",
    "NAME_PATTERN",
    "SEGMENT_MAX",
    "SEGMENT_MIN",
    "SOURCE_MAX",
    "canonical_name",
    "check_address",
    "check_algorithms",
    "check_alias",
    "check_host_port",
    "check_name",
    "check_netns",
    "check_portal_name",
    "check_secret_file",
    "check_user_name",
]

ALGORITHMS = ("sha3-256", "sha256", "sha1", "md5")
# Bytes: the ranges of RFC 7143 13.12 to 13.14.
SEGMENT_MIN, SEGMENT_MAX = 512, 0xFFFFFF
HOST_MAX, ALIAS_MAX, SOURCE_MAX = 255, 255, 200
HOST_PORT_MAX = HOST_MAX + len("[]:65535")
# Where a secret is not in a file, but a systemd credential; what the kernel says of one that somebody wrote.
CREDENTIAL, BY_HAND = "credential:", "-"

_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_IQN = rf"iqn\.[0-9]{{4}}-(?:0[1-9]|1[0-2])\.{_LABEL}(?:\.{_LABEL})*(?::[a-z0-9.:-]+)?"
_TAG = r"(?:,t,0x[0-9a-f]{4})?"
_NAME = re.compile(rf"(?:{_IQN}|eui\.[0-9a-f]{{16}}|naa\.(?:[0-9a-f]{{16}}|[0-9a-f]{{32}})){_TAG}\Z")
_FIRST_TAG, _NO_TAG = ",t,0x0001", ",t,0x0000"
# As JSON Schema can say it, in any spelling.
NAME_PATTERN = r"^(?:[iI][qQ][nN]|[eE][uU][iI]|[nN][aA][aA])\.[A-Za-z0-9.:-]+(?:,[tT],0[xX][0-9a-fA-F]{4})?$"
_PORTAL = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:-]*\Z")
_USER = re.compile(r"[!-.0-~]+\Z")
_DIGITS = re.compile(r"[0-9.]+\Z")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\Z")
_INTERFACE = re.compile(r"[^\s/:*%]{1,15}\Z")


def canonical_name(text: str) -> str:
    """The one spelling of a target's name: small letters, and nothing about portal group 1. What is none
    stays as it is.
    """
    found = text.lower()
    return found.removesuffix(_FIRST_TAG) if _NAME.match(found) else text


def check_name(text: str) -> Fault | None:
    """An iSCSI name (RFC 7143 4.2.7), with a target portal group tag perhaps."""
    fault = check_target_name(text)
    if fault is not None:
        return fault
    if not _NAME.match(text):
        return Fault(errno.EINVAL, f"is no iSCSI name; {_advice(text)}")
    if text.endswith(_NO_TAG):
        return Fault(errno.EINVAL, "has 0 as its target portal group tag, which must be 1 or more")
    return None


def _advice(text: str) -> str:
    kind = text[:4].lower()
    if kind == "eui.":
        return "eui. takes 16 hex digits after it"
    if kind == "naa.":
        return "naa. takes 16 or 32 hex digits after it"
    if "," in text:
        return "behind the name there may be ,t,0x and 4 hex digits, the target portal group tag"
    return "one is iqn.2026-11.com.example:disk1: year and month, a domain reversed, a name of your choice"


def check_portal_name(text: str) -> Fault | None:
    """Portals: 1-63 of `A-Z a-z 0-9 _ . : -`."""
    if len(text) > 63:
        return Fault(errno.ENAMETOOLONG, "longer than 63 characters")
    good = "must have A-Z a-z 0-9 _ . : - only, and begin with none of . -"
    return None if _PORTAL.match(text) else Fault(errno.EINVAL, good)


def check_user_name(text: str) -> Fault | None:
    """Users: 1-223 printable ASCII characters without blank and `/`."""
    if len(text) > 223:
        return Fault(errno.ENAMETOOLONG, "longer than 223 characters")
    if not _USER.match(text):
        return Fault(errno.EINVAL, "must be printable ASCII characters without blank and /")
    if text in (".", ".."):
        return Fault(errno.EEXIST, "names a directory that is always there")
    return None


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _is_ipv6(text: str) -> bool:
    try:
        return "%" not in text and bool(ipaddress.IPv6Address(text).exploded)
    except ValueError:
        return False


def check_address(text: str) -> Fault | None:
    """Where a portal listens: `*`, an IPv4 or IPv6 address, or an interface."""
    if len(text) > HOST_MAX:
        return Fault(errno.ENAMETOOLONG, f"longer than {HOST_MAX} characters")
    if text == "*":
        return None
    address, percent, zone = text.partition("%")
    if ":" in text:
        good = _is_ipv6(address) and (not percent or bool(_interface(zone)))
    elif _DIGITS.match(text):
        good = _is_ipv4(text)
    else:
        good = _interface(text)
    said = "is none of: * for all addresses, an IPv4 address, an IPv6 address, the name of an interface"
    return None if good else Fault(errno.EINVAL, said)


def _interface(text: str) -> bool:
    return text not in (".", "..") and _INTERFACE.match(text) is not None and text.isprintable()


def check_netns(text: str) -> Fault | None:
    """A network namespace by its name in /run/netns; '' for that of the daemon."""
    if len(text) > HOST_MAX:
        return Fault(errno.ENAMETOOLONG, f"longer than {HOST_MAX} characters")
    good = text not in (".", "..") and (not text or _USER.match(text) is not None)
    return (
        None if good else Fault(errno.EINVAL, "is no name of a network namespace, as `ip netns` lists them")
    )


def check_host_port(text: str) -> Fault | None:
    """Where initiators are sent to: '' or HOST or HOST:PORT; an IPv6 address is in brackets."""
    if not text:
        return None
    if len(text) > HOST_PORT_MAX:
        return Fault(errno.ENAMETOOLONG, f"longer than {HOST_MAX} characters")
    host, colon, port = text.partition("]" if text.startswith("[") else ":")
    if text.startswith("["):
        good, bare = bool(colon) and _is_ipv6(host[1:]), not port
        port = port.removeprefix(":") if port.startswith(":") else "?"
    else:
        good, bare = _is_host(host) and ":" not in port, not colon
    if not good:
        said = "must be a name, an IPv4 address, or an IPv6 address in brackets, then :PORT or nothing"
        return Fault(errno.EINVAL, said)
    if bare:
        return None
    if not port.isascii() or not port.isdigit():
        return Fault(errno.EINVAL, "must have a number behind the colon")
    return None if 1 <= int(port) <= 65535 else Fault(errno.ERANGE, "must have a port of 1-65535")


def _is_host(text: str) -> bool:
    """A name, or an IPv4 address: what ends with a number is that, or nothing."""
    if not _HOST.match(text) or len(text) > HOST_MAX:
        return False
    last = text.rpartition(".")[2]
    return _is_ipv4(text) if last.isdigit() else True


def check_alias(text: str) -> Fault | None:
    """What initiators are told of a target: up to 255 bytes on one line."""
    if len(text.encode(errors="surrogateescape")) > ALIAS_MAX:
        return Fault(errno.ENAMETOOLONG, f"longer than {ALIAS_MAX} bytes")
    control = any(char < " " or char == "\x7f" for char in text)
    return Fault(errno.EINVAL, "must be text on one line") if control else None


def check_algorithms(text: str) -> Fault | None:
    """Algorithms of CHAP with commas between them, each once."""
    words = text.split(",")
    if set(words) <= set(ALGORITHMS) and len(set(words)) == len(words):
        return None
    return Fault(
        errno.EINVAL, f"must be some of {', '.join(ALGORITHMS)}, each once, with commas between them"
    )


def check_secret_file(text: str) -> Fault | None:
    """Where a secret is: an absolute path, or a systemd credential; '' for not said."""
    if not text or text == BY_HAND:
        return None
    if len(text.encode(errors="surrogateescape")) > SOURCE_MAX:
        return Fault(errno.ENAMETOOLONG, f"longer than {SOURCE_MAX} bytes")
    name = text.removeprefix(CREDENTIAL)
    if name != text:
        fault = check_printable(name, SOURCE_MAX)
        good = fault is None and "/" not in name and name not in ("", ".", "..")
        return None if good else Fault(errno.EINVAL, "is no name of a systemd credential")
    if not text.startswith("/") or check_alias(text) is not None:
        return Fault(errno.EINVAL, f"must be an absolute path, or {CREDENTIAL}NAME for a systemd credential")
    return None
