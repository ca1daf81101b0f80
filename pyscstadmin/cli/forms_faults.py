# SPDX-License-Identifier: GPL-2.0-or-later
"""Forms about faults that are injected on purpose."""

from __future__ import annotations

from pyscstadmin.cli import faultpoints
from pyscstadmin.cli.params import GET_MORE, SET_MORE, SETTING, listing
from pyscstadmin.cli.verbs import Form, Param
from pyscstadmin.config.faultpoints import FAULT

__all__ = ["FORMS"]

_FAULT = Param("fault", "name of the fault", source="fault", needed=True)
_FAULT_MORE = """Faults are for tests of those who use this target: a cluster, multipath, a hypervisor. They
are no part of the configuration: `save` does not write them, `restore` and `clear` leave them, and they are
gone when the module is. What they have done is told as such by `sessions --commands`, `recorder` and trace
points. * is any target, group or LUN; - is the group of those that no group claims."""

FORMS: tuple[Form, ...] = (
    Form(
        "create",
        "fault",
        faultpoints.create_fault,
        "Inject a fault on purpose: drop, delay or refuse commands of some initiators.",
        (_FAULT,),
        table=lambda: FAULT,
        more=_FAULT_MORE + " Without enabled=yes it does nothing yet.",
        example="create fault f1 target=t1 group=backup action=sense commands=reads enabled=yes",
    ),
    Form(
        "delete",
        "fault",
        faultpoints.delete_fault,
        "End a fault and remove it. Commands that it holds go on as if there had been none.",
        (_FAULT,),
        removes=True,
        example="delete fault f1",
    ),
    Form(
        "set",
        "fault",
        faultpoints.set_fault,
        "Change settings of a fault, bring it into force (enabled=yes) or end it (enabled=no).",
        (_FAULT,),
        table=lambda: FAULT,
        more=SET_MORE
        + " One in force is off for a moment, and begins anew: with its seed, and with no hits.",
        example="set fault f1 enabled=no",
    ),
    Form(
        "get",
        "fault",
        faultpoints.get_fault,
        "Show settings of a fault, and how many commands it has struck.",
        (_FAULT,),
        SETTING,
        more=GET_MORE,
        example="get fault f1 hits",
    ),
    listing("fault", "List faults that are injected, or can be."),
)
