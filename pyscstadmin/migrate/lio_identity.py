# SPDX-License-Identifier: GPL-2.0-or-later
"""What initiators recognise a disk of LIO by. Pure.

LIO derives all of it from two things: the unit serial number (`wwn` of a saved file), and, for the product,
the name of the storage object or the kind of its backing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pyscstadmin.config import names
from pyscstadmin.config.model import Identity
from pyscstadmin.config.where import Path
from pyscstadmin.migrate.account import Verdict
from pyscstadmin.migrate.lio_rules import COMPANY, PRODUCTS, REVISION, VENDOR
from pyscstadmin.migrate.reader import Reader

__all__ = ["Known", "identity_of", "naa_of"]

# (part, text) -> the device that has it.
Known = Mapping[tuple[str, str], str]

# As many characters of an object's name as LIO puts into the product identification.
_MODEL = 15
# So many digits of a serial number have room in an NAA identifier.
_DIGITS = 25
_COMPANY_MAX = 0xFFFFFF
_SERIAL_MAX = 64


def naa_of(serial: str, company: int = COMPANY) -> str:
    """The NAA identifier that LIO shows for a unit serial number: 6, the company, the serial's hex digits,
    and zeroes up to 32 digits.
    """
    digits = re.sub(r"[^0-9a-fA-F]", "", serial).lower()[:_DIGITS]
    return f"6{company:06x}{digits:0<{_DIGITS}}"


def identity_of(store: Reader, plugin: str, name: str, here: Path, known: Known) -> Identity:
    """The identity of a storage object, which becomes the device at `here`. What cannot be kept is None, and
    noted.

    `vendor_id`, `product_id`, `revision` and `company_id` are known of a running LIO only.
    """
    place = (*here, "id")
    vendor = _text(store, "vendor_id", VENDOR, (*place, "vendor"), 8)
    revision = _text(store, "revision", REVISION, (*place, "revision"), 4)
    product = _product(store, plugin, name, (*place, "product"))
    serial, naa = _recognised(store, place, known)
    return Identity(vendor, product, revision, serial, naa)


def _product(store: Reader, plugin: str, name: str, place: Path) -> str | None:
    attributes = store.object("attributes")
    shown = name[:_MODEL] if attributes.flag("emulate_model_alias", False) else PRODUCTS[plugin]
    if "product_id" not in store:
        return _told(attributes, "emulate_model_alias", shown, place, 16)
    attributes.same("product_id is what initiators see", "emulate_model_alias")
    return _text(store, "product_id", shown, place, 16)


def _text(store: Reader, key: str, usual: str, place: Path, limit: int) -> str | None:
    return _told(store, key, store.text(key, usual).rstrip(), place, limit)


def _told(reader: Reader, key: str, text: str, place: Path, limit: int) -> str | None:
    """The text, None if ours cannot be that; the key is what it comes from."""
    fault = names.check_printable(text, limit)
    if fault is None:
        reader.mapped(key, place)
        return text
    why = f"{text[:40]!a} as {place[-1]} {fault.reason}: initiators will see that of scst"
    reader.note(key, Verdict.LOST, why)
    return None


def _recognised(store: Reader, place: Path, known: Known) -> tuple[str | None, str | None]:
    """Serial number and NAA identifier."""
    serial = store.text("wwn").strip()
    company = store.number("company_id", COMPANY)
    if not 0 <= company <= _COMPANY_MAX:
        store.account.wrong(store.at("company_id"), f"must be 0-{_COMPANY_MAX:#x}")
        company = COMPANY
    if not serial:
        text = (
            "no serial number: LIO makes a new one at each start; the running LIO has the present one, else "
            "a random one replaces it"
        )
        store.account.note(store.at("wwn"), Verdict.LOST, text)
        store.note("company_id", Verdict.LOST, text)
        return None, None
    found = {"serial": serial, "naa": naa_of(serial, company)}
    return _kept(store, place, found, known)


def _kept(store: Reader, place: Path, found: dict[str, str], known: Known) -> tuple[str | None, str | None]:
    """Of the two that LIO shows those that this device can have."""
    why = {
        part: f"device {known[part, text]!r} has it" for part, text in found.items() if (part, text) in known
    }
    fault = names.check_printable(found["serial"], _SERIAL_MAX)
    if fault:
        why["serial"] = fault.reason
    kept = {part: text for part, text in found.items() if part not in why}
    places = [(*place, part) for part in kept]
    if why:
        text = "; ".join(
            f"{part} cannot be kept ({reason}), a random one replaces it" for part, reason in why.items()
        )
        store.note("wwn", Verdict.LOST, text)
        store.note("company_id", Verdict.LOST if "naa" in why else Verdict.SAME, "see wwn")
    else:
        store.mapped("wwn", *places)
        store.mapped("company_id", (*place, "naa"))
    return kept.get("serial"), kept.get("naa")
