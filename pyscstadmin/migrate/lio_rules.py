# SPDX-License-Identifier: GPL-2.0-or-later
"""What LIO's attributes are here: tables. Pure.

A saved file has every attribute that the kernel showed, most of them with a default that nobody chose. A rule
says which values are such, and what becomes of them and of others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pyscstadmin.migrate.account import Verdict
from pyscstadmin.migrate.reader import Reader

__all__ = [
    "ACL_RULES",
    "COMPANY",
    "DEFAULT_GROUP",
    "FABRICS",
    "MISC_RULES",
    "PORT_GROUPS",
    "PRODUCTS",
    "REVISION",
    "STORE_RULES",
    "TARGET_RULES",
    "TPG_RULES",
    "UNMAP_OFFERS",
    "UNMAP_OF_MEMORY",
    "UNMAP_RULES",
    "UNUSABLE",
    "VENDOR",
    "Fabric",
    "Rule",
    "apply_rules",
]

SAME, DIFFERS, LOST = Verdict.SAME, Verdict.DIFFERS, Verdict.LOST

VENDOR = "LIO-ORG"
REVISION = "4.0"
# The company in NAA identifiers, unless it was changed.
COMPANY = 0x001405
DEFAULT_GROUP = "default_tg_pt_gp"
# The product identification that initiators see unless `emulate_model_alias` makes it the object's name.
PRODUCTS = {"fileio": "FILEIO", "block": "IBLOCK", "ramdisk": "RAMDISK-MCP"}


class Rule(NamedTuple):
    """What becomes of an attribute whose value is in `usual` (None: whatever it is), and of any other."""

    usual: tuple[int, ...] | None
    verdict: Verdict
    text: str
    other: Verdict = LOST
    other_text: str = ""

    def apply(self, value: int) -> tuple[Verdict, str]:
        """The verdict on a value, and why."""
        if self.usual is None or value in self.usual:
            return self.verdict, self.text
        return self.other, self.other_text or self.text


def apply_rules(reader: Reader, rules: Mapping[str, Rule], driver: str = "") -> None:
    """Note what becomes of the members that the rules are about; `driver`: who does otherwise."""
    for key in reader.members:
        if key in rules:
            verdict, text = rules[key].apply(reader.number(key, 0))
            reader.note(key, verdict, text.replace("{driver}", f"driver {driver}"))


def _offered(what: str, consequence: str) -> Rule:
    """Something that LIO offers unless told not to, and scst does not have."""
    return Rule(
        (0,), SAME, f"{what} was not offered", DIFFERS, f"LIO offers {what}, scst does not: {consequence}"
    )


_RESERVATIONS = "only about reservations, of which emulate_pr speaks"
_MACHINE = "describes the machine"
_HINT = "a hint to initiators; scst gives the one that suits the backing"
_INSIDE = "how LIO works inside"
_PROTECTION = (
    "protection information (T10 PI) is not taken over, which LIO keeps in another form: initiators see a "
    "disk without it (`protection` of the device begins anew)"
)
# Of a device, and of a LUN that is in one.
PORT_GROUPS = (
    "target port groups (ALUA) are not taken over: all paths of the device are alike and active, until "
    "`create alua` and `create tpg` say otherwise"
)

STORE_RULES: Mapping[str, Rule] = {
    "alua_support": _offered("ALUA unasked", "it is for devices that are in a device group"),
    "atomic_alignment": Rule((0,), SAME, "atomic writes were not offered", DIFFERS, "see atomic_max_len"),
    "atomic_granularity": Rule((0,), SAME, "atomic writes were not offered", DIFFERS, "see atomic_max_len"),
    "atomic_max_boundary": Rule((0,), SAME, "atomic writes were not offered", DIFFERS, "see atomic_max_len"),
    "atomic_max_len": _offered("atomic writes", "initiators use ordinary ones"),
    "atomic_max_with_boundary": Rule(
        (0,), SAME, "atomic writes were not offered", DIFFERS, "see atomic_max_len"
    ),
    "complete_type": Rule(None, SAME, _INSIDE),
    "emulate_3pc": Rule(
        (1,), SAME, "EXTENDED COPY is offered", DIFFERS, "LIO denied EXTENDED COPY, scst offers it"
    ),
    "emulate_caw": Rule(
        (1,), SAME, "COMPARE AND WRITE is done", DIFFERS, "LIO refused COMPARE AND WRITE, scst does it"
    ),
    "emulate_dpo": Rule(None, SAME, "DPO is accepted"),
    "emulate_fua_read": Rule(None, SAME, "FUA is honoured"),
    "emulate_fua_write": Rule((1,), SAME, "FUA is honoured", DIFFERS, "LIO denied FUA, scst honours it"),
    "emulate_pr": Rule(
        (1,), SAME, "reservations are done", DIFFERS, "LIO refused reservations, scst does them"
    ),
    "emulate_rest_reord": Rule(
        (0,), SAME, "commands may be reordered", LOST, "scst has no restricted reordering of commands"
    ),
    "emulate_rsoc": Rule(
        (1,),
        SAME,
        "REPORT SUPPORTED OPERATION CODES is done",
        DIFFERS,
        "LIO refused REPORT SUPPORTED OPERATION CODES, scst does it",
    ),
    "emulate_tas": Rule(
        (0,),
        SAME,
        "aborted commands of others are not answered",
        DIFFERS,
        "LIO ends aborted commands of others with TASK ABORTED, scst does not answer them",
    ),
    "emulate_ua_intlck_ctrl": Rule((0,), SAME, "no interlock", LOST, "scst has no unit attention interlock"),
    "enforce_pr_isids": Rule(None, SAME, _RESERVATIONS),
    "fabric_max_sectors": Rule(None, DIFFERS, _HINT),
    "force_pr_aptpl": Rule(
        (0,), SAME, _RESERVATIONS, LOST, "to keep reservations over power loss the device needs a `pr_file`"
    ),
    "hw_block_size": Rule(None, SAME, _MACHINE),
    "hw_max_sectors": Rule(None, SAME, _MACHINE),
    "hw_pi_prot_type": Rule(None, SAME, _MACHINE),
    "hw_queue_depth": Rule(None, SAME, _MACHINE),
    "max_sectors": Rule(None, DIFFERS, _HINT),
    "max_write_same_len": Rule(None, DIFFERS, "initiators are told that WRITE SAME may be up to 1 GiB"),
    "optimal_sectors": Rule(None, DIFFERS, _HINT),
    "pgr_support": Rule(None, SAME, _RESERVATIONS),
    "pi_prot_format": Rule((0,), SAME, "no protection information", LOST, _PROTECTION),
    "pi_prot_type": Rule((0,), SAME, "no protection information", LOST, _PROTECTION),
    "pi_prot_verify": Rule((0,), SAME, "no protection information", LOST, _PROTECTION),
    "queue_depth": Rule(
        None, SAME, "LIO shows it and limits nothing by it; here a target's queue_depth limits its initiators"
    ),
    "submit_type": Rule(None, SAME, _INSIDE),
}

_ABOUT_UNMAP = (
    "max_unmap_block_desc_count",
    "max_unmap_lba_count",
    "unmap_granularity",
    "unmap_granularity_alignment",
    "unmap_zeroes_data",
)
UNMAP_OFFERS = ("emulate_tpu", "emulate_tpws")
# There is nothing to give back behind a device that keeps nothing.
UNMAP_OF_MEMORY = Rule((0,), SAME, "was not offered", LOST, "nullio offers no UNMAP")
# By whether LIO offered UNMAP; if it did not, what describes it means nothing.
UNMAP_RULES: Mapping[bool, Mapping[str, Rule]] = {
    offered: {
        key: Rule(None, *((DIFFERS, _HINT) if offered else (SAME, "UNMAP was not offered")))
        for key in _ABOUT_UNMAP
    }
    for offered in (False, True)
}

_PROTOCOL = "about the protocol of LIO's fabric; {driver} has no such setting"
_CHAP = "initiators had to authenticate; {driver} cannot ask them to: whoever knows a name is let in"

TPG_RULES: Mapping[str, Rule] = {
    "authentication": Rule((0,), SAME, "initiators did not have to authenticate", LOST, _CHAP),
    "cache_dynamic_acls": Rule(None, SAME, "groups and the target's own LUNs decide, nothing is remembered"),
    "default_cmdsn_depth": Rule(None, DIFFERS, _PROTOCOL),
    "default_erl": Rule((0,), SAME, _PROTOCOL),
    "demo_mode_discovery": Rule(None, DIFFERS, _PROTOCOL),
    "fabric_prot_type": Rule((0,), SAME, "no protection information", LOST, _PROTECTION),
    "jam_host": Rule((0,), SAME, _PROTOCOL),
    "login_keys_workaround": Rule(None, DIFFERS, _PROTOCOL),
    "login_timeout": Rule(None, DIFFERS, _PROTOCOL),
    "netif_timeout": Rule(None, DIFFERS, _PROTOCOL),
    "prod_mode_write_protect": Rule(None, SAME, "each mapped LUN says itself whether it is read-only"),
    "t10_pi": Rule((0,), SAME, "no protection information", LOST, _PROTECTION),
    "tpg_enabled_sendtargets": Rule(None, DIFFERS, _PROTOCOL),
}

ACL_RULES: Mapping[str, Rule] = {
    "authentication": Rule((-1, 0), SAME, "as the target portal group says", LOST, _CHAP),
    "dataout_timeout": Rule(None, DIFFERS, _PROTOCOL),
    "dataout_timeout_retries": Rule(None, DIFFERS, _PROTOCOL),
    "default_erl": Rule(None, DIFFERS, _PROTOCOL),
    "nopin_response_timeout": Rule(None, DIFFERS, _PROTOCOL),
    "nopin_timeout": Rule(None, DIFFERS, _PROTOCOL),
    "random_datain_pdu_offsets": Rule(None, DIFFERS, _PROTOCOL),
    "random_datain_seq_offsets": Rule(None, DIFFERS, _PROTOCOL),
    "random_r2t_offsets": Rule(None, DIFFERS, _PROTOCOL),
}

TARGET_RULES: Mapping[str, Rule] = {
    "cmd_completion_affinity": Rule(None, SAME, _INSIDE),
    "default_submit_type": Rule(None, SAME, _INSIDE),
    "direct_submit_supported": Rule(None, SAME, _INSIDE),
    "default_complete_type": Rule(None, SAME, _INSIDE),
    "direct_complete_supported": Rule(None, SAME, _INSIDE),
}

# Beside the attributes.
MISC_RULES: Mapping[str, Rule] = {
    "exclusive": Rule(
        (1,), SAME, "scst opens the disk for itself", LOST, "scst does not share a disk it serves"
    ),
    "exists": Rule(None, SAME, "what rtslib noted, no setting"),
}

# Plugins whose objects cannot be served, and what to do instead.
UNUSABLE: Mapping[str, str] = {
    "pscsi": "scst has no handler that passes a SCSI device through; a disk can be served by blockio, as "
    "another disk to initiators",
    "ramdisk": "scst has no RAM disk that keeps data; a file on tmpfs, served by fileio, is one",
    "user": "scst has no handler for programs that serve data; if the image can be had as a block device "
    "(rbd, nbd), blockio serves that",
}


class Fabric(NamedTuple):
    """A fabric of LIO: our driver for it (there may be none of that name), and what its portal groups do with
    initiators that have no ACL unless their attributes say otherwise: let them in, let them see nothing,
    protect what they see.
    """

    driver: str
    generate: bool
    login_only: bool
    protect: bool


_LOCKED = (False, False, True)
_OPEN = (True, False, False)
_LOGIN_ONLY = (True, True, True)

FABRICS: Mapping[str, Fabric] = {
    "efct": Fabric("efct", *_LOGIN_ONLY),
    "ibmvscsis": Fabric("ibmvscsis", *_OPEN),
    "iscsi": Fabric("iscsi", *_LOCKED),
    "loopback": Fabric("local", *_OPEN),
    "qla2xxx": Fabric("qla2xxx", *_LOGIN_ONLY),
    "sbp": Fabric("sbp", *_OPEN),
    "srpt": Fabric("srpt", *_LOCKED),
    "tcm_fc": Fabric("fcoe", *_LOCKED),
    "usb_gadget": Fabric("usb_gadget", *_OPEN),
    "vhost": Fabric("vhost", *_OPEN),
    "xen-pvscsi": Fabric("xen", *_OPEN),
}
