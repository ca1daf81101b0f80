# SPDX-License-Identifier: GPL-2.0-or-later
"""By which rule a login is refused, in one word, and what an administrator does about it. Pure."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["RULES", "Obstacle"]


class Obstacle(NamedTuple):
    """Why a login cannot succeed. `rule`: one of `RULES`."""

    rule: str
    reason: str


# docs/iscsi.md has these, too: a test compares the two.
RULES = {
    "no-such-target": "compare with `scstadmin list targets`; a name has to be the same letter by letter",
    "not-at-portal": "let the target be reached there (`scstadmin add portal PORTAL target=TARGET`), or have "
    "the initiator use another of its portals (`scstadmin list portals target=TARGET`)",
    "not-in-a-group": "add the initiator to a group of the target, or map LUNs to the target itself; "
    "`scstadmin explain INITIATOR target=TARGET` says which patterns do not match it",
    "not-enabled": "`scstadmin enable target TARGET`",
    "unavailable": "load the module: `modprobe scst_iscsi`; the initiator comes again by itself",
    "no-authentication": "the target has auth=chap: give the initiator a user and a secret",
    "authentication-not-wanted": "the target has auth=none: let the initiator offer None, too",
    "no-algorithm": "allow one that the initiator knows (`scstadmin set target TARGET chap_algorithms=...`)",
    "unknown-user": "compare the initiator's user name with `scstadmin list users target=TARGET`",
    "wrong-secret": "give the initiator the secret that is in the file that `scstadmin list users` names; "
    "after a change of that file, `scstadmin set user USER secret_file=FILE target=TARGET`",
    "wrong-direction": "that user is the one the target proves itself with; the initiator needs one of "
    "direction in",
    "no-secret": "give the user a secret: `scstadmin set user USER secret_file=FILE target=TARGET`",
    "expired": "give the user more time: `scstadmin set user USER expires=... target=TARGET`",
    "used-up": "give the user a new secret, or more logins (`uses`)",
    "no-record": "make room there, or mend the file: until then users with `uses` are not let in",
    "no-proof": "the initiator wants the target to prove itself: give the target a user of direction out, or "
    "take the second secret from the initiator",
    "same-secret": "take another secret for one of the directions",
    "reflection": "somebody has the target answer its own question: look who is at that address",
    "limit": "`scstadmin sessions --iscsi` says who has them; raise the limit that the reason names",
    "older-session": "the commands of the initiator's older session hang: see "
    "`scstadmin sessions --commands`; it comes again by itself",
    "newer-session": "nothing: the later login is the one that counts. If they end each other again and "
    "again, two machines have one initiator name",
    "not-finished": "the initiator has given up, or something between takes packets: look at its log",
    "protocol": "what came is not as RFC 7143 wants it: look at the initiator's log and version",
    "kernel": "the kernel did not take the connection: look at its log",
}
