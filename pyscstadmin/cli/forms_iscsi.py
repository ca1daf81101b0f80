# SPDX-License-Identifier: GPL-2.0-or-later
"""Forms about iSCSI: portals, users, sessions."""

from __future__ import annotations

from dataclasses import replace

from pyscstadmin.cli import logins, portals
from pyscstadmin.cli.params import (
    DRIVER,
    GET_MORE,
    IN_TARGET,
    INITIATOR,
    ONE_TARGET,
    SET_MORE,
    SETTING,
    TARGET,
    YES,
    listing,
)
from pyscstadmin.cli.verbs import Form, Param
from pyscstadmin.config import names
from pyscstadmin.config.settings import ISCSI, ISCSI_USER, PORTAL

__all__ = ["FORMS"]


def _drain_seconds(text: str) -> int:
    value = names.parse_number(text)
    if value is None or not 0 <= value <= 3600:
        raise ValueError(f"{text!r} is no number of seconds, 0-3600")
    return value


_PORTAL = Param("portal", "name of the portal", source="portal", needed=True)
_USER = Param("user", "name of the user, as initiators say it (CHAP_N)", source="user", needed=True)
_OF_TARGET = replace(TARGET, help="the target whose user it is; left out: one of discovery", needed=False)
_PORTAL_MORE = """A portal is where initiators reach targets: an address and a port, or an interface, or all
addresses. A target is reached at the portals that it was given by `add portal`, and nowhere without one. What
is not there yet is waited for: the state says so."""
_USER_MORE = """The secret is in a file that only its owner can read (mode 0600), or is a systemd credential
(secret_file=credential:NAME). It is read when it is given, and at each apply if the file has changed since.
It is never shown, and no part of what `save` writes: that has the name of the file. direction=in: initiators
prove themselves so; out: the target proves itself so to them, as one user only, with another secret."""

FORMS: tuple[Form, ...] = (
    Form(
        "create",
        "portal",
        portals.create_portal,
        "Make an iSCSI portal: an address and a port at which initiators reach targets.",
        (_PORTAL,),
        named=(replace(TARGET, help="a target to be reached there", needed=False),),
        table=lambda: PORTAL,
        more=_PORTAL_MORE,
        example="create portal lan address=10.0.0.1",
    ),
    Form(
        "create",
        "user",
        portals.create_user,
        "Make a user who proves himself by CHAP, of a target or of discovery.",
        (_USER,),
        named=(_OF_TARGET,),
        table=lambda: ISCSI_USER,
        more=_USER_MORE + " It asks for nothing by itself: `set target T auth=chap` does.",
        example="create user joe target=iqn.2026-11.com.example:disk secret_file=/etc/scst/joe.secret",
    ),
    Form(
        "add",
        "portal",
        portals.add_links,
        "Let a target be reached at portals: all of them, or none.",
        rest=_PORTAL,
        named=(IN_TARGET,),
        more=_PORTAL_MORE,
        example="add portal lan target=iqn.2026-11.com.example:disk",
    ),
    Form(
        "delete",
        "portal",
        portals.delete_portal,
        "Remove a portal at which no target is reached.",
        (_PORTAL,),
        removes=True,
        example="delete portal lan",
    ),
    Form(
        "delete",
        "user",
        portals.delete_user,
        "Remove a user of a target or of discovery. Who is logged in stays so.",
        (_USER,),
        named=(_OF_TARGET,),
        removes=True,
        example="delete user joe target=iqn.2026-11.com.example:disk",
    ),
    Form(
        "remove",
        "portal",
        portals.remove_links,
        "Let a target not be reached at portals any more; sessions by them end. All of them, or none.",
        rest=_PORTAL,
        named=(IN_TARGET,),
        removes=True,
        example="remove portal lan target=iqn.2026-11.com.example:disk",
    ),
    Form(
        "set",
        "driver",
        portals.set_driver,
        "Change settings of a target driver that all its targets share; iscsi has some.",
        (replace(DRIVER, needed=True),),
        table=lambda: ISCSI,
        more=SET_MORE,
        example="set driver iscsi login_timeout=30",
    ),
    Form(
        "set",
        "portal",
        portals.set_portal,
        "Change settings of a portal.",
        (_PORTAL,),
        table=lambda: PORTAL,
        more="Sessions by this portal end when its address, port or network namespace changes.",
        example="set portal lan address=eth0",
    ),
    Form(
        "set",
        "user",
        portals.set_user,
        "Change the direction or the secret of a user. Who is logged in stays so.",
        (_USER,),
        named=(_OF_TARGET,),
        table=lambda: ISCSI_USER,
        more=_USER_MORE,
        example="set user joe target=iqn.2026-11.com.example:disk secret_file=/etc/scst/joe.secret",
    ),
    Form(
        "get",
        "driver",
        portals.get_driver,
        "Show settings of a target driver that all its targets share; iscsi has some.",
        (replace(DRIVER, needed=True),),
        SETTING,
        more=GET_MORE,
        example="get driver iscsi",
    ),
    Form(
        "get",
        "portal",
        portals.get_portal,
        "Show settings of a portal, and whether it is listened at.",
        (_PORTAL,),
        SETTING,
        more=GET_MORE,
        example="get portal lan state",
    ),
    Form(
        "get",
        "user",
        portals.get_user,
        "Show settings of a user, and where the secret was taken from; never the secret.",
        (_USER,),
        SETTING,
        (_OF_TARGET,),
        more=GET_MORE + " secret_file - is a secret that somebody wrote by hand.",
        example="get user joe target=iqn.2026-11.com.example:disk",
    ),
    Form(
        "drop",
        "session",
        portals.drop_session,
        "End an iSCSI session at once. Its initiator may log in again.",
        (Param("session", "name of the session, as `sessions` says it", source="session", needed=True),),
        named=(YES,),
        silent=True,
        removes=True,
        example="drop session.1 yes=yes",
    ),
    Form(
        "drain",
        "",
        portals.drain,
        "Ask iSCSI initiators to log out, wait, and drop the sessions of those that have not.",
        named=(
            ONE_TARGET,
            replace(_PORTAL, help="by this portal only", needed=False),
            Param("timeout", "seconds that they have; left out: 30", _drain_seconds),
            YES,
        ),
        more="""Exit code 3: some had to be dropped. Who logs in meanwhile is not asked: disable the target,
or take it from the portal, to keep initiators out.""",
        removes=True,
        example="drain timeout=5 yes=yes",
    ),
    Form(
        "logins",
        "",
        logins.logins,
        "Show the iSCSI logins that were refused last, why, and what to do.",
        named=(replace(INITIATOR, help="of this initiator only", needed=False), ONE_TARGET),
        more="""The newest last, up to 256. scst-iscsid keeps them in /run/scst/iscsi-logins.json. An
initiator is told much less.""",
        absent=True,
        example="logins",
    ),
    Form(
        "explain-login",
        "",
        logins.explain_login,
        "Say whether an iSCSI initiator would be let in, and if not, which rule is in the way.",
        (replace(INITIATOR, help="exact name"), TARGET),
        named=(
            Param("user", "as whom it proves itself, where it has to"),
            replace(_PORTAL, help="by this portal only", needed=False),
        ),
        more="Nobody logs in, and secrets are not compared.",
        example="explain-login iqn.2026-11.com.example:b target=iqn.2026-11.com.example:disk user=joe",
    ),
    Form(
        "discover",
        "",
        logins.discover,
        "Say what an iSCSI initiator is told by discovery: targets, and the addresses that it can reach.",
        (replace(INITIATOR, help="exact name"),),
        named=(
            Param("from", "where the initiator is: its address", words="ADDRESS"),
            Param("at", "where it asks: an address of this machine", words="ADDRESS"),
        ),
        more="from=: by the address of this machine that is on the way to the initiator.",
        example="discover iqn.2026-11.com.example:b from=10.0.0.77",
    ),
    listing("portal", "List iSCSI portals, with their states.", ONE_TARGET, example="list portals"),
    listing("user", "List users of iSCSI targets and of discovery.", ONE_TARGET, example="list users"),
)
