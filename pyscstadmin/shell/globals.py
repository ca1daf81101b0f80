# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands that every place of the shell has. The docstring of a command is its help."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any

from configshell import ExecutionError

from pyscstadmin.config import names
from pyscstadmin.errors import Conflict, NotPresent

if TYPE_CHECKING:
    from pyscstadmin.admin import Admin
    from pyscstadmin.config.model import Config
    from pyscstadmin.kernel.apply import Outcome
    from pyscstadmin.shell.node import Node
    from pyscstadmin.shell.session import Session

__all__ = ["Globals", "UsageError", "boolean"]

_INTRODUCTION = """Places:   /devices/HANDLER/NAME   what can be served: files, block devices, null devices
          /targets/DRIVER/NAME    who may see what: groups of initiators, and their LUNs
          /sessions               who is logged in, and what each sees
Line:     [PLACE] COMMAND [VALUE ...] [NAME=VALUE ...]     Tab completes and shows what is possible.

First steps: create a device, create a target, create a group in it, map the device to the group, save.
  /devices/blockio create disk1 /dev/disk/by-id/...
  /targets/local create t1
  /targets/local/t1/groups create backup iqn.2026-11.com.example:backup1
  /targets/local/t1 map disk1 group=backup read_only=yes
  save
"""


class UsageError(ExecutionError):  # type: ignore[misc]
    """The line asks for something that cannot be: exit code 2."""


def boolean(name: str, text: str) -> bool:
    """A yes or no. Raises `UsageError`."""
    from pyscstadmin.shell.line import to_bool

    try:
        return to_bool(text)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None


class Globals:
    """Mixed into every place."""

    shell: Any
    path: str

    # Shorthands.

    @property
    def session(self) -> Session:
        """What all places share."""
        found: Session = self.shell.session
        return found

    @property
    def admin(self) -> Admin:
        """The provisioning interface."""
        return self.session.admin

    def say(self, line: str) -> None:
        """Print a line."""
        self.session.say(line)

    def report(self, outcome: Outcome) -> None:
        """Say what is not as it was asked for."""
        self.session.report(outcome)

    def map(self, place: tuple[str, str], device: str, lun: str, read_only: str, replace: str) -> None:
        """Make a device a LUN, from texts."""
        target, group = place
        if lun and (fault := names.check_lun(lun)):
            raise UsageError(f"lun {lun!r} {fault.reason}")
        flags = {"read_only": boolean("read_only", read_only), "replace": boolean("replace", replace)}
        number = int(lun) if lun else self._number(target, group, device)
        outcome = self.admin.map(target, number, device, group=group, **flags)
        whom = f"group {group}" if group else "initiators that no group claims"
        mode = "read-only" if flags["read_only"] else "read-write"
        self.say(f"{device} is LUN {number} for {whom} of {target}, {mode}")
        self.report(outcome)

    def unmap(self, place: tuple[str, str], lun: str) -> None:
        """Take a LUN away, given its number or its device."""
        target, group = place
        number = self.session.lun_number(place, lun)
        # By its device: if the number has another one by now, it is not what was meant.
        device = None if names.check_lun(lun) is None else lun
        self.report(self.admin.unmap(target, number, group=group, device=device))

    def _number(self, target: str, group: str, device: str) -> int:
        """The first free number; the one the device has already would make a second LUN of it."""
        for lun in self.session.luns(target, group):
            if lun.device == device:
                raise Conflict(f"{device} is LUN {lun.number} there already; to map it twice, say lun=NUMBER")
        return self.session.free_lun(target, group)

    # Looking.

    def ui_command_ls(self, place: str = ".", depth: str = "0") -> None:
        """Show the tree from here.

        ls [PLACE] [depth=LEVELS]
        """
        if not depth.isdigit():
            raise UsageError(f"depth: {depth!r} is not a number of levels")
        self._present()
        node = self.get_node(place)
        for line in self._render_tree(node, depth=int(depth) or None).splitlines():
            self.say(line.rstrip())

    if TYPE_CHECKING:

        def get_node(self, path: str | None) -> Node: ...

        def _render_tree(self, root: Node, *, depth: int | None) -> str: ...

        def list_commands(self) -> tuple[str, ...]: ...

        def get_command_method(self, command: str) -> Any: ...

    def _present(self) -> None:
        if self.session.snapshot is None:
            raise NotPresent(self.admin.root)

    def ui_command_cd(self, place: str = "/") -> Node:
        """Go to a place.

        cd [PLACE]      .. is the place above; without a place: to the top
        """
        return self.get_node(place)

    def ui_command_pwd(self) -> None:
        """Say where you are."""
        self.say(self.path)

    def ui_command_status(self) -> None:
        """The present state in a few lines: what is parked, and whether it is saved."""
        for line in self.session.status():
            self.say(line)

    def ui_command_refresh(self) -> None:
        """Look again. Every command does so by itself."""
        self._present()

    def ui_command_explain(self, initiator: str, target: str = "") -> None:
        """Say what an initiator sees, and why.

        explain INITIATOR [target=TARGET]
        """
        from pyscstadmin.cli.render import decision_lines

        target = target or self._only_target()
        decision = self.admin.explain(target, initiator)
        standing = self.admin.standing(lun.device for lun in decision.luns)
        for line in decision_lines(decision, target, standing, settled=self.admin.settled()):
            self.say(line)

    def _only_target(self) -> str:
        """The target this place belongs to, or the only one there is."""
        node: Any = self
        while node is not None:
            if hasattr(node, "full_name"):
                return str(node.full_name)
            node = node.parent
        found = self.session.target_names()
        if len(found) == 1:
            return found[0]
        raise UsageError(f"say target=TARGET; there are {', '.join(found) or 'none'}")

    def ui_command_help(self, topic: str = "") -> None:
        """Say what can be done here, or explain one command.

        help [COMMAND]
        """
        if topic:
            self._topic(topic)
            return
        for line in _INTRODUCTION.splitlines():
            self.say(line)
        self.say("")
        self.say(f"Commands at {self.path} (`help COMMAND` says more):")
        for name in self.list_commands():
            text = inspect.getdoc(self.get_command_method(name)) or ""
            self.say(f"  {name:<11} {text.splitlines()[0]}")

    def _topic(self, topic: str) -> None:
        known = self.list_commands()
        if topic not in known:
            raise UsageError(f"no command {topic} at {self.path}; there are {', '.join(known)}")
        for line in (inspect.getdoc(self.get_command_method(topic)) or "").splitlines():
            self.say(line)
        for row in self.get_node(".").keywords(topic).values():
            self.say(f"  {row.name}=    {row.help} ({row.type.words})")

    # Whole configurations.

    def ui_command_save(self, file: str = "", force: str = "no") -> None:
        """Write the configuration to a file, keeping the nine before it. Nothing is saved by itself.

        save [FILE] [force=yes]     default: the file that is restored at boot

        Refused for a degraded state, unless forced.
        """
        path = file or self.admin.default_file
        written = self.admin.save(path, force=boolean("force", force))
        self.say(f"{path}: {'saved' if written else 'unchanged'}")

    def ui_command_plan(self, file: str, accept: str = "") -> None:
        """Show what `apply` would do.

        plan FILE [accept=RULE,...]
        """
        from pyscstadmin.cli.render import plan_lines

        for line in plan_lines(self.admin.plan(self._wanted(file), accept=_words(accept))):
            self.say(line)

    def ui_command_apply(self, file: str, accept: str = "") -> None:
        """Make the configuration what a file says: all of it, or nothing.

        apply FILE [accept=RULE,...]

        What is surely a mistake is refused (`lint` says what, and by which rule), unless that is accepted.
        """
        self._finish(self.admin.apply(self._wanted(file), accept=_words(accept)))

    def ui_command_restore(self, file: str = "", accept: str = "") -> None:
        """Apply all of a file that can be applied.

        restore [FILE] [accept=RULE,...]      default: the file that `save` writes
        """
        path = file or self.admin.default_file
        self._finish(self.admin.restore(self._wanted(path), accept=_words(accept)))

    def ui_command_lint(self, file: str = "", accept: str = "") -> None:
        """Look for what is hardly meant: in the present configuration, or in a file.

        lint [FILE] [accept=RULE,...]      without what these rules would say

        Errors are what `apply` refuses. docs/scstadmin.md has the rules.
        """
        from pyscstadmin.cli.render import remark_lines

        config = self._wanted(file) if file else None
        remarks = self.admin.lint(config, accept=_words(accept))
        for line in (
            remark_lines(remarks, most=len(remarks), refused=True) if remarks else ("nothing to remark",)
        ):
            self.say(line)

    def _wanted(self, file: str) -> Config:
        from pyscstadmin.cli.main import wanted

        return wanted(self.admin, _not_stdin(file))

    def ui_command_clear(self, confirm: str = "no") -> None:
        """Remove everything; all sessions end. What was saved stays saved.

        clear [confirm=yes]
        """
        from pyscstadmin.cli.render import config_counts

        if not boolean("confirm", confirm) and not self._agreed(config_counts(self.session.config)):
            raise UsageError("nothing changed; `clear confirm=yes` does it")
        self._finish(self.admin.clear())

    def _agreed(self, what: str) -> bool:
        from pyscstadmin.cli.main import agreed

        if not self.shell.interactive or not sys.stdin.isatty():
            return False
        return agreed(f"Remove {what}? All sessions end. [y/N] ")

    def _finish(self, outcome: Outcome) -> None:
        count = len(outcome.done)
        self.say(f"{count} operations done" if count else "nothing to do")
        self.report(outcome)

    def ui_command_exit(self) -> str:
        """Leave the shell. What was not saved stays in force until the next boot."""
        return "EXIT"


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def _not_stdin(file: str) -> str:
    if file == "-":
        raise UsageError("the standard input is the shell's own; give a file")
    return file
