# SPDX-License-Identifier: GPL-2.0-or-later
"""The configuration of the running LIO, read through rtslib.

rtslib makes what it looks at: `RTSRoot()` loads modules and sets where LIO keeps its state, its `dump()`
loads the iSCSI target, and a loopback portal group without an initiator gets one. So the parts are asked for
one by one, of those fabrics only that are there; and what rtslib leaves out but initiators see is read beside
it.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyscstadmin.config.document import Document
from pyscstadmin.errors import ScstError

__all__ = ["SOURCE", "NoLio", "running"]

SOURCE = "the running LIO"
_FILE = "give the file that it was saved to (/etc/target/saveconfig.json)"
# What initiators are told, in the order of the tree.
_SHOWN = ("vendor_id", "product_id", "revision", "company_id")
_NO_RESERVATION = ("No ", "SPC_RESERVATIONS_DISABLED", "Passthrough")


class NoLio(ScstError):
    """There is no running LIO to read."""

    exit_code = 5


def running() -> Document:
    """What a saveconfig.json of this moment would have, and what initiators see beyond it. Changes nothing.

    Raises `NoLio`, and `ScstError` if it cannot be read.
    """
    with warnings.catch_warnings():
        # rtslib uses what its libraries advise against.
        warnings.simplefilter("ignore")
        rtslib = _rtslib()
        if not os.path.isdir(f"{rtslib.RTSRoot.configfs_dir}/core"):
            where = rtslib.RTSRoot.configfs_dir
            raise NoLio(f"no LIO is running (there is no {where}/core): {_FILE}")
        try:
            with _only_looking(rtslib):
                return Document(SOURCE, _dump(rtslib))
        except ScstError:
            raise
        except PermissionError as error:
            raise ScstError(
                f"{SOURCE} cannot be read: {error.strerror} ({error.filename}); run as root"
            ) from error
        except Exception as error:  # whatever rtslib stumbles over
            why = f"{type(error).__name__}: {error}"
            raise ScstError(
                f"{SOURCE} cannot be read by rtslib ({why}); it may be changing: repeat, or {_FILE}"
            ) from error


def _rtslib() -> Any:
    try:
        import rtslib
    except ImportError as error:
        raise ScstError(
            f"rtslib cannot be used ({error}): install rtslib-fb and libudev, or {_FILE}"
        ) from error
    return rtslib


@contextmanager
def _only_looking(rtslib: Any) -> Iterator[None]:
    kept = rtslib.TPG._set_nexus
    rtslib.TPG._set_nexus = lambda self, nexus_wwn=None: None
    try:
        yield
    finally:
        rtslib.TPG._set_nexus = kept


def _dump(rtslib: Any) -> dict[str, Any]:
    from rtslib.tcm import StorageObject

    fabrics = [fabric for fabric in rtslib.FabricModule.all() if fabric.exists]
    targets = [_target(target) for fabric in fabrics for target in fabric.targets]
    known = {"core", *(Path(fabric.path).name for fabric in fabrics)}
    return {
        "storage_objects": [_store(store) for store in StorageObject.all()],
        "targets": [*targets, *_strangers(Path(rtslib.RTSRoot.configfs_dir), known)],
        "fabric_modules": [
            fabric.dump()
            for fabric in fabrics
            if fabric.has_feature("discovery_auth") and fabric.discovery_enable_auth
        ],
    }


def _store(store: Any) -> dict[str, Any]:
    """A storage object, with what initiators see of it that rtslib leaves out."""
    if not store.is_configured():
        return {"plugin": store.plugin, "name": store.name, "configured": False}
    data: dict[str, Any] = store.dump()
    for key in _SHOWN:
        text = _read(f"{store.path}/wwn/{key}")
        if text is not None:
            data[key] = text
    holder = _read(f"{store.path}/pr/res_holder")
    if holder and not holder.startswith(_NO_RESERVATION):
        data["reservation"] = holder
    return data


def _target(target: Any) -> dict[str, Any]:
    """A target, with the initiators that LIO has made for loopback."""
    data: dict[str, Any] = target.dump()
    nexus = {group.tag: group.nexus for group in target.tpgs if group.has_feature("nexus")}
    for group in data["tpgs"]:
        if nexus.get(group["tag"]):
            group["nexus"] = nexus[group["tag"]]
    return data


def _strangers(root: Path, known: set[str]) -> Iterator[dict[str, Any]]:
    """Targets of fabrics that rtslib does not know."""
    for fabric in sorted(path for path in root.iterdir() if path.is_dir() and path.name not in known):
        for target in sorted(path for path in fabric.iterdir() if path.is_dir()):
            if target.name != "discovery_auth":
                yield {"fabric": fabric.name, "wwn": target.name}


def _read(path: str) -> str | None:
    """A value; None where the kernel does not have it."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape").rstrip("\n")
    except FileNotFoundError:
        return None
