# SPDX-License-Identifier: GPL-2.0-or-later
"""One run of the shell: where its output goes, and what is to be said of it in the end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyscstadmin.cli.context import Context
from pyscstadmin.errors import NotPresent

if TYPE_CHECKING:
    from pyscstadmin.admin import Admin
    from pyscstadmin.cli.verbs import Result
    from pyscstadmin.kernel.apply import Outcome

__all__ = ["Session"]


class Session:
    """One run of the shell: where its output goes, and what is to be said of it in the end.

    `interactive`: a person is there, and can be asked. `keep`: results are kept as data and not said.
    """

    def __init__(
        self,
        admin: Admin,
        say: Callable[[str], None] = print,
        *,
        interactive: bool = False,
        keep: bool = False,
        context: Context | None = None,
    ) -> None:
        from pyscstadmin.shell.tree import draw

        self.admin = admin
        self._print = say
        self._unheard = False
        self.context = context or Context(
            admin, _asked if interactive else None, owns_input=True, collects=keep, draw=draw
        )
        self.results: list[Any] | None = [] if keep else None
        self._left_out = False
        self._parked: set[str] = set()
        self._unsettled = 0

    def say(self, line: str) -> None:
        """Print a line. If nobody takes it, what is done is done, and the other lines are not tried."""
        try:
            if not self._unheard:
                self._print(line)
        except OSError:
            self._unheard = True

    def take(self, result: Result, number: int = 0) -> None:
        """Say what a command has to say, and keep what matters in the end."""
        if self.results is None:
            for line in result.lines:
                self.say(line)
        elif result.data is not None:
            self.results.append({"line": number, "command": self.context.said, "result": result.data})
        if result.outcome is not None:
            self._note(result.outcome)

    def _note(self, outcome: Outcome) -> None:
        self._left_out = self._left_out or bool(outcome.failed)
        self._parked.update(outcome.parked, outcome.opening)
        if outcome.settled is False:
            self._unsettled = max(self._unsettled, outcome.generation)

    @property
    def exit_code(self) -> int:
        """The worst of what was done, as it is now: 4 if something was left out or access that a command
        revoked is still in use, 3 if a device that a command found parked still is, else 0.
        """
        if self._left_out or self._in_use():
            return 4
        return 3 if any(self._waits(name) for name in self._parked) else 0

    def _in_use(self) -> bool:
        return bool(self._unsettled) and any(
            one.generation <= self._unsettled for one in self.admin.running()
        )

    def _waits(self, name: str) -> bool:
        try:
            found = self.admin.standing((name,)).get(name)
        except NotPresent:
            return False
        return found is not None and found.state in ("parked", "opening")


def _asked(question: str) -> bool:
    from pyscstadmin.cli.main import agreed

    return sys.stdin.isatty() and agreed(question)
