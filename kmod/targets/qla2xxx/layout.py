#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Writes qla2xxx-layout.h: what this driver uses of the private structures of one build of qla2xxx.ko.

    layout.py --find RELEASE BUILD-FOLDER       prints VMLINUX and QLA2XXX.KO of an installed kernel
    layout.py VMLINUX QLA2XXX.KO >qla2xxx-layout.h

The in-box driver's headers are in no package that stays. Its module describes its own types (BTF), and so
does the kernel: structures are written from that, with the members that are wanted at the places where this
build has them, and the prototypes of what it exports. A member that is gone or has become another type is an
error here or of the compiler; none is ever looked for in a wrong place. What BTF does not know are the values
of macros: they are in qla2xxx-values.h. Exit status 1: with a word about what is missing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import btf
from btf import Btf, BtfError, Member

# Members by structure; those of embedded structures with dots. "*": all of them. A "?": not in all kernels.
STRUCTURES: Mapping[str, Sequence[str]] = {
    "qla_tgt_func_tmpl": ("*", "get_cmd_ref?"),
    "scsi_qlt_host": ("target_lport_ptr", "qla_tgt"),
    "scsi_qla_host": (
        "host", "hw", "port_name", "vha_tgt", "qlini_mode", "unknown_atio_list", "dpc_flags",
    ),
    "qla_hw_data": (
        "pdev", "model_number", "tgt.tgt_ops", "tgt.q_full_lock", "tgt.num_qfull_cmds_alloc",
        "fw_major_version", "fw_minor_version", "fw_subminor_version", "chip_reset",
    ),
    "qla_qpair": ("chip_reset", "qp_lock_ptr", "req"),
    "req_que": ("outstanding_cmds", "num_outstanding_cmds"),
    "fc_port": (
        "conf_compl_supported", "d_id", "free_work", "logout_on_delete", "loop_id", "se_sess", "sess_kref",
    ),
    "qla_tgt_cmd": (
        "se_cmd", "sess", "qpair", "reset_count", "state", "sense_buffer", "write_data_transferred",
        "cmd_sent_to_fw", "aborted", "sg_mapped", "q_full", "cmd_list", "sg", "sg_cnt", "bufflen", "offset",
        "unpacked_lun", "dma_data_direction", "ctio_flags", "atio.u.isp24.exchange_addr",
        "atio.u.isp24.fcp_cmnd.lun", "cdb_len?",
    ),
    "qla_tgt_mgmt_cmd": ("fc_tm_rsp", "se_cmd", "sess", "vha"),
}  # fmt: skip
# The module's own, passed by value.
TYPEDEFS = ("be_id_t", "port_id_t")
FUNCTIONS = (
    "qlt_abort_cmd", "qlt_enable_vha", "qlt_free_cmd", "qlt_free_mcmd", "qlt_lport_deregister",
    "qlt_lport_register", "qlt_rdy_to_xfer", "qlt_stop_phase1", "qlt_stop_phase2", "qlt_unreg_sess",
    "qlt_xmit_response", "qlt_xmit_tm_rsp",
)  # fmt: skip

Wanted = dict[str, "Wanted"]


def tree(paths: Sequence[str]) -> Wanted:
    """``a.b`` as {"a": {"b": {}}}."""
    root: Wanted = {}
    for path in paths:
        at = root
        for name in path.split("."):
            at = at.setdefault(name, {})
    return root


class Writer:
    """C text of one module's types."""

    def __init__(self, types: Btf) -> None:
        self.types = types

    def structure(self, name: str, paths: Sequence[str]) -> Iterator[str]:
        """A structure with what is wanted of it, and what must be true of it."""
        number = self.types.find(btf.STRUCT, name)
        paths = [path for path in paths if not path.endswith("?") or self._has(number, path[:-1])]
        wanted = self._wanted(number, paths)
        yield f"struct {name} {{"
        yield from self._body(number, wanted, 1)
        yield "};"
        yield f"static_assert(sizeof(struct {name}) == {self.types.size(number)});"
        yield from self._truths(f"struct {name}", "", 0, number, wanted)
        for path in paths:
            if path.endswith("?"):
                yield f"#define QLA_HAS_{name}_{path[:-1]}\t1"

    def _has(self, number: int, name: str) -> bool:
        return any(member.name == name for member in self.types.types[number].members)

    def _wanted(self, number: int, paths: Sequence[str]) -> Wanted:
        if "*" in paths:
            return tree([member.name for member in self.types.types[number].members])
        return tree([path.rstrip("?") for path in paths])

    def _truths(self, name: str, path: str, bit: int, number: int, wanted: Wanted) -> Iterator[str]:
        """Where the compiler must have put it, and how large it must find it."""
        for member in self.types.types[self.types.bare(number)].members:
            if member.name not in wanted or member.bits:
                continue
            at, below = bit + member.bit, wanted[member.name]
            yield f"static_assert(offsetof({name}, {path}{member.name}) == {at // 8});"
            if below:
                yield from self._truths(name, f"{path}{member.name}.", at, member.type, below)
            else:
                size = self.types.size(member.type)
                yield f"static_assert(sizeof_field({name}, {path}{member.name}) == {size});"

    def typedef(self, name: str) -> Iterator[str]:
        """A type without another name, whole."""
        number = self.types.bare(self.types.find(btf.TYPEDEF, name))
        kind = "union" if self.types.types[number].kind == btf.UNION else "struct"
        yield f"typedef {kind} {{"
        yield from self._whole(number, 1)
        yield f"}} {name};"
        yield f"static_assert(sizeof({name}) == {self.types.size(number)});"

    def _whole(self, number: int, depth: int) -> Iterator[str]:
        return self._body(number, tree([member.name for member in self.types.types[number].members]), depth)

    def _body(self, number: int, wanted: Wanted, depth: int) -> Iterator[str]:
        made = self.types.types[number]
        indent = "\t" * depth
        members = {member.name: member for member in made.members}
        if lost := set(wanted) - set(members):
            raise BtfError(f"{made.name or 'a structure'} has no {', '.join(sorted(lost))}")
        chosen = sorted((members[name] for name in wanted), key=lambda member: member.bit)
        if made.kind == btf.UNION:
            for member in chosen:
                yield from self._member(member, wanted[member.name], depth)
            yield f"{indent}u8 whole[{made.size}];"
            return
        at = 0
        for member in chosen:
            yield from self._gap(at, member, indent)
            yield from self._member(member, wanted[member.name], depth)
            at = member.bit + (member.bits or 8 * self.types.size(member.type))
        if (rest := made.size - (at + 7) // 8) > 0:
            yield f"{indent}u8 rest[{rest}];"

    def _gap(self, at: int, member: Member, indent: str) -> Iterator[str]:
        """From bit *at* to the member: whole bytes, then bits of its own unit."""
        if member.bits:
            unit = 8 * self.types.size(member.type)
            start = max(at, member.bit // unit * unit)
        else:
            start = member.bit
        if start // 8 > (at + 7) // 8:
            yield f"{indent}u8 before_{member.name}[{start // 8 - (at + 7) // 8}];"
        if member.bits and member.bit > start:
            yield f"{indent}{self.types.word(member.type)} : {member.bit - start};"

    def _member(self, member: Member, wanted: Wanted, depth: int) -> Iterator[str]:
        indent = "\t" * depth
        bare = self.types.bare(member.type)
        made = self.types.types[bare]
        if wanted or (made.kind in (btf.STRUCT, btf.UNION) and not made.name and not self._named(member)):
            yield f"{indent}{'union' if made.kind == btf.UNION else 'struct'} {{"
            yield from self._body(bare, wanted, depth + 1) if wanted else self._whole(bare, depth + 1)
            yield f"{indent}}} {member.name};"
        else:
            width = f" : {member.bits}" if member.bits else ""
            yield f"{indent}{self.types.declare(member.type, member.name)}{width};"

    def _named(self, member: Member) -> bool:
        return self.types.types[member.type].kind == btf.TYPEDEF

    def function(self, name: str) -> str:
        """A prototype."""
        return f"{self.types.declare(self.types.types[self.types.find(btf.FUNC, name)].ref, name)};"


def header(types: Btf, build_id: bytes, release: str) -> Iterator[str]:
    """The file's lines."""
    writer = Writer(types)
    yield "/* SPDX-License-Identifier: GPL-2.0-only */"
    yield "/* Made by layout.py; of one build of qla2xxx.ko. */"
    yield "#ifndef QLA2XXX_LAYOUT_H"
    yield "#define QLA2XXX_LAYOUT_H"
    yield ""
    yield "#include <generated/utsrelease.h>"
    yield ""
    # A constant for the compiler, but not for sparse.
    yield "#ifndef __CHECKER__"
    same = f'__builtin_strcmp(UTS_RELEASE, "{release}") == 0'
    yield f'static_assert({same}, "qla2xxx of another kernel: {release}");'
    yield "#endif"
    yield f"#define QLA_BUILD_ID\t{{ {', '.join(f'0x{byte:02x}' for byte in build_id)} }}"
    yield ""
    for name in STRUCTURES:
        yield f"struct {name};"
    yield ""
    for name in TYPEDEFS:
        yield from writer.typedef(name)
        yield ""
    for name, paths in STRUCTURES.items():
        yield from writer.structure(name, paths)
        yield ""
    for name in FUNCTIONS:
        yield writer.function(name)
    yield ""
    yield "#endif /* QLA2XXX_LAYOUT_H */"


# Where a kernel describes its types, and where its modules are; {0}: release, {1}: build folder. A kernel
# that is not installed has its modules beside that.
KERNELS = (
    "{1}/vmlinux",
    "{1}/vmlinux.btf",
    "/boot/vmlinuz-{0}",
    "/usr/lib/modules/{0}/vmlinuz",
    "/usr/lib/debug/boot/vmlinux-{0}",
)
INBOX = "kernel/drivers/scsi/qla2xxx"
MODULES = (
    *(
        f"/lib/modules/{{0}}/{folder}/qla2xxx.ko{suffix}"
        for folder in (INBOX, "updates", "updates/dkms")
        for suffix in ("", ".xz", ".zst", ".gz")
    ),
    f"{{1}}/../{INBOX}/qla2xxx.ko",
)


def first(patterns: Sequence[str], release: str, build: str) -> str | None:
    """The first of some files that is there."""
    paths = (pattern.format(release, build) for pattern in patterns)
    return next((path for path in paths if Path(path).exists()), None)


def find(release: str, build: str) -> int:
    """Print what to read for a kernel: two paths, or nothing and the reason on standard error."""
    kernel = "/sys/kernel/btf/vmlinux" if os.uname().release == release else None
    if kernel is None or not Path(kernel).exists():
        kernel = first(KERNELS, release, build)
    module = first(MODULES, release, build)
    if kernel and module:
        print(kernel, module)
        return 0
    lost = "qla2xxx.ko" if kernel else "description of types (BTF)"
    print(f"scst_qla2xxx is not built: no {lost} of {release} is installed", file=sys.stderr)
    return 1


def main(argv: Sequence[str]) -> int:
    """Entry point."""
    if len(argv) == 3 and argv[0] == "--find":
        return find(argv[1], argv[2])
    if len(argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    kernel, module = (Path(word) for word in argv)
    try:
        types = btf.of_module(module, btf.of_kernel(kernel))
        lines = list(header(types, btf.build_id(module), btf.release(module)))
    except (OSError, BtfError) as error:
        print(f"layout.py: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
