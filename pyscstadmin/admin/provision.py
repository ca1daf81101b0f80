# SPDX-License-Identifier: GPL-2.0-or-later
"""The provisioning interface: what the command line, the shell and scripts do, as methods.

    with Admin() as admin:
        admin.create_device(Device("da", "fileio", path="/srv/scst/da.img"))
        admin.map("local/t1", 0, "da", group="a", read_only=True)

Targets are named `DRIVER/NAME`, or `NAME` where only one driver has it. Every method that changes something
holds the lock of all writers while it works, either does all of it or changes nothing, and raises errors of
`errors.ScstError`. What a backing or initiators keep waiting is asked for under the lock, and waited for
without it. An `Admin` is for one thread.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pyscstadmin.admin.sight import Key, Sight, simulated_tree
from pyscstadmin.config import edits, reservations
from pyscstadmin.config.draft import Draft, LunSet, near
from pyscstadmin.config.edits import Edit, Needs
from pyscstadmin.config.faultpoints import FAULT, FaultPoint
from pyscstadmin.config.identity import asked
from pyscstadmin.config.layout import CLASS_ROOT, ROOT, device_dir, group_dir, target_dir
from pyscstadmin.config.model import Config, Device, Group, Lun, Target
from pyscstadmin.config.plan import Operation, Plan, Write, between, plan, settle, staged_into_force
from pyscstadmin.config.settings import HANDLERS, Values
from pyscstadmin.config.valid import (
    check_call,
    check_config,
    check_device,
    check_each,
    check_fault,
    check_group,
    check_is,
    check_lun,
    check_path,
    check_seconds,
    check_size,
)
from pyscstadmin.errors import (
    ApplyFailed,
    Conflict,
    InvalidInput,
    NotAccepted,
    NotPresent,
    OperationError,
    PartlyApplied,
    PendingChanges,
    Problem,
)
from pyscstadmin.kernel import modules, parts, prove, read, waiting
from pyscstadmin.kernel.apply import Failure, Outcome, Progress, execute, failures
from pyscstadmin.kernel.asking import Patience, arrived
from pyscstadmin.kernel.backing import Machine
from pyscstadmin.kernel.cfs import Tree
from pyscstadmin.kernel.faultpoints import change_fault, make_fault, read_faults, remove_fault
from pyscstadmin.kernel.lock import locked
from pyscstadmin.kernel.opening import MOMENT, Asked, Openings, Rebound, Resized, write_all
from pyscstadmin.kernel.prove import Proof, Was
from pyscstadmin.kernel.read import RootState, Snapshot, Use, Who
from pyscstadmin.kernel.running import settled_generation, wait_settled
from pyscstadmin.kernel.secrets import stamped
from pyscstadmin.kernel.stops import Stops, deferred
from pyscstadmin.store.note import read_note, write_note

if TYPE_CHECKING:
    from typing_extensions import Self

    from pyscstadmin.config.lint import Remark
    from pyscstadmin.config.losses import Losses
    from pyscstadmin.config.reservations import Reservations
    from pyscstadmin.kernel.logins import Drained
    from pyscstadmin.kernel.newfile import NewFile

__all__ = ["Admin", "Rebound", "Resized", "Use", "Who"]

STATE_DIR = "/run/scst"

_KILLED = "the scstadmin that made it was killed; `plan FILE` says what is missing, `apply FILE` makes it so"

_NOTHING_THERE = (Was.ABSENT, Was.SILENT)


class Admin(Sight):
    """Administration of one control plane.

    `root`: the configfs tree. `sim`: a directory that holds a simulated tree instead. `state_dir`: where the
    lock and the note about a degraded restore are kept. `lock_timeout`: seconds to wait for another writer.
    `settle`: after a change that takes access away, seconds to wait until no command runs any more that was
    admitted before (0: do not wait); `Outcome.settled` says what came of it. `fence`: such commands are
    aborted. `backings`: where disks and files are looked for. `patience`: seconds that a method keeps the
    lock, all together, for backings and initiators that do not answer.

    Signals whose handlers raise (control-C) undo what is under way. They wait until it is either undone or
    done, so a `KeyboardInterrupt` out of a method does not say which. Programs that must know handle signals
    by `stops`: an `Interrupted` means that nothing changed, and what is done returns as always.
    """

    def __init__(
        self,
        root: str = ROOT,
        *,
        sim: str | None = None,
        tree: Tree | None = None,
        class_root: str = CLASS_ROOT,
        state_dir: str | None = None,
        lock_timeout: float = 10.0,
        settle: float = 30.0,
        fence: bool = False,
        stops: Stops | None = None,
        backings: Machine | None = None,
        patience: float = 3.0,
    ) -> None:
        super().__init__(root, sim, tree, class_root, backings, patience)
        if state_dir is not None:
            check_path("state_dir", state_dir)
        check_seconds("lock_timeout", lock_timeout)
        check_seconds("settle", settle)
        self.state_dir = state_dir or sim or STATE_DIR
        self.lock_timeout = lock_timeout
        self.settle = settle
        self.fence = fence
        self.stops = stops
        self._patience = Patience(patience)
        self._deliver: Callable[[], None] | None = None
        self._openings = Openings(
            lambda: self.tree, lambda: self.backings, lambda: self._patience, self._stopped
        )
        # LUNs of targets and groups where numbers were chosen, as of a generation.
        self._sets: dict[tuple[Key, str], LunSet] = {}
        self._sets_at = 0
        self._absent: Mapping[str, OperationError] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the tree; the next call opens it again."""
        self._openings.release(every=True)
        super().close()

    # Looking.

    def _forget(self) -> None:
        super()._forget()
        self._sets.clear()

    def plan(self, wanted: Config, *, accept: Iterable[str] = ()) -> Plan:
        """What `apply` would do, with what it would refuse or warn of. Changes nothing."""
        check_config(wanted)
        remarks = self.lint(wanted, accept=accept)
        shot = self.snapshot()
        steps = plan(shot.config, stamped(wanted), settled=shot.root.settled)
        return replace(steps, remarks=remarks)

    def drop_session(self, name: str) -> None:
        """End an iSCSI session at once, by its name (session.N). Raises `Conflict`."""
        from pyscstadmin.kernel.logins import drop

        found = next((one for one in self.iscsi_sessions() if one.name == name), None)
        with self._deferred():
            self._last_chance()
            if found is None or not drop(found.tsih):
                raise Conflict(f"there is no iSCSI session {name}")

    def drain(self, target: str = "", portal: str = "", seconds: int = 30) -> Drained:
        """Ask the initiators of these sessions to log out, wait so long, and drop those that have not. Who
        logs in meanwhile is none of them.
        """
        from pyscstadmin.kernel.logins import SECONDS_MAX, ask, drain

        if type(seconds) is not int or not 0 <= seconds <= SECONDS_MAX:
            raise InvalidInput("seconds", [Problem(f"must be 0-{SECONDS_MAX}")])
        found = self.iscsi_sessions(target, portal)
        with self._deferred():
            self._last_chance()
            ask(found, seconds)
        return drain(found, seconds, self.iscsi_sessions, self._stopped)

    def answer(self, group: str, number: int, accept: bool) -> None:
        """Answer the question of a device group; what is accepted is in force on return. One of another
        number is left alone: ESTALE. The lock of all writers is not waited for: this is no change of what is
        wanted, and who asks has little time.
        """
        check_group(group)
        check_is(int, number, "question")
        check_is(bool, accept, "accept")
        if group not in self.tree.list("alua"):
            raise Conflict(f"there is no device group {group}")
        path = f"alua/{group}/{'accept' if accept else 'refuse'}"
        if simulated_tree(self.tree) is None:
            with self._deferred():
                self._last_chance()
                self.tree.write(path, str(number))
            return
        with self._writing() as tree:
            tree.write(path, str(number))

    # Whole configurations.

    def apply(
        self,
        wanted: Config,
        *,
        keep_going: bool = False,
        accept: Iterable[str] = (),
        progress: Progress | None = None,
        agree: Callable[[Losses], None] | None = None,
    ) -> Outcome:
        """Make the tree show `wanted`, loading modules it needs. `agree` is told what goes by that, if
        something does, before anything is touched; what it raises is raised.

        Raises `NotAccepted` for errors of `lint` whose rules are not in `accept`, before anything is touched,
        and `ApplyFailed` when something was refused (then nothing changed). With `keep_going`, what is
        refused is left out instead, and noted: `save` will not overwrite a good file until an apply succeeds;
        so is what needs a module that cannot be loaded; and errors of `lint` are remarks of the outcome: what
        was served before the rule was known still is.
        """
        check_config(wanted)
        check_call("progress", progress)
        check_call("agree", agree)
        remarks = self.lint(wanted, accept=accept)
        if not keep_going:
            _refuse_errors(remarks)
        with self._writing(wanted, keep_going=keep_going):
            wanted, left_out = modules.without(stamped(wanted), self._absent)
            shot = self._snapshot(asked(wanted))
            result = settle(shot.config, wanted)
            steps = between(shot.config, result, settled=shot.root.settled)
            if agree is not None and steps:
                self._ask(agree, shot.config, result, steps)
            outcome = self._execute(steps, shot, result, keep_going, progress, whole=True)
            proofs = (*outcome.proofs, *self._misplaced(outcome))
            outcome = replace(outcome, failed=(*left_out, *outcome.failed))
            outcome = replace(self._noting(outcome), remarks=remarks, proofs=proofs)
        return self._settled(outcome)

    def _misplaced(self, outcome: Outcome) -> Iterator[Proof]:
        """Devices that go on with what they have open, which is not what they are to be known by now."""
        for act in (act for operation in outcome.done for act in operation.acts):
            if not isinstance(act, Write) or not act.path.endswith("/facts"):
                continue
            directory = act.path.rpartition("/")[0]
            open_now = self.tree.read(f"{directory}/backing")
            proof = self.find(directory.rpartition("/")[2])
            if open_now and proof is not None and proof.words != open_now:
                yield proof

    def restore(
        self,
        wanted: Config,
        *,
        accept: Iterable[str] = (),
        progress: Progress | None = None,
        agree: Callable[[Losses], None] | None = None,
    ) -> Outcome:
        """Apply everything that can be applied."""
        return self.apply(wanted, keep_going=True, accept=accept, progress=progress, agree=agree)

    def _ask(self, agree: Callable[[Losses], None], old: Config, new: Config, steps: Plan) -> None:
        from pyscstadmin.config.losses import Login, losses

        disturbs = any(step.revokes or step.impact for step in steps.operations)
        found = self.sessions() if disturbs else []
        by = {one.name: one.values.get("portal", "") for one in self.iscsi_sessions()} if found else {}
        logins = [
            Login(
                one.initiator,
                one.target,
                [(lun.number, lun.device) for lun in one.luns],
                by.get(one.name, ""),
            )
            for one in found
        ]
        lost = losses(old, new, logins)
        if lost:
            agree(lost)

    def again(self) -> None:
        """What was asked for is not done and will be asked for once more: signals raise again until then."""
        if self.stops is not None:
            self.stops.begin()

    def clear(self, *, progress: Progress | None = None) -> Outcome:
        """Remove everything."""
        return self.apply(Config(), progress=progress)

    def edit(self, change: Callable[[Config], Config]) -> Outcome:
        """Apply `change(present configuration)`, with no other writer in between."""
        if not callable(change):
            raise InvalidInput("change", [Problem(f"{change!r:.70} cannot be called")])
        with self._writing():
            outcome = self._edit_locked(change)
        return self._settled(outcome)

    def commit(self) -> Outcome:
        """Bring into force what somebody left staged; false if nothing is."""
        with self._writing():
            root = read.root_state(self.tree)
            steps = staged_into_force(staged=root.staged, autocommit=root.autocommit)
            outcome = execute(self.tree, steps, root.generation, fence=self.fence, deliver=self._deliver)
        return self._settled(outcome)

    def configure(self, **settings: Any) -> Outcome:
        """Change settings of the whole: `buffer_limit`."""
        return self.change(edits.configure(settings))

    def change(self, *wanted: Edit, files: Sequence[NewFile] = (), needs: Config | None = None) -> Outcome:
        """Make these edits, all in one step or none: what is not in them stays as others left it.

        `files` are made before, and removed again if the edits fail. The cost is that of what one edit
        changes; several together look at the whole configuration once. `needs`: load the modules of this.
        """
        return self._change(lambda: edits.joined(wanted), files, needs)

    def save(self, path: str | None = None, *, force: bool = False) -> bool:
        """Write the configuration to a file (default: `default_file`); False if it holds it already.

        Holds the lock: what is saved is never the middle of another's change. Raises `SaveRefused` when the
        present state is degraded, or the file is something else than a configuration, and not `force`.
        """
        from pyscstadmin.store.save import (  # brings the whole file format, which few calls need
            degraded,
            save,
        )

        file = self.default_file if path is None else path
        check_path("file", file)
        with self._writing():
            shot = self.snapshot()
            reasons = [*read_note(self._note_path), *degraded(shot.config)]
            if not shot.root.settled:
                reasons.append("changes are staged that are not in force")
            ready = self._last_chance
            return save(shot.config, file, degraded=reasons, force=force, ready=ready, parents=path is None)

    # Devices.

    def create_device(
        self, device: Device, *, file_size: int | None = None, preallocate: bool = False
    ) -> Outcome:
        """Create a device (and enable it, unless it says otherwise). An absent backing parks it.

        `file_size`: make the file of a fileio device, of so many bytes, none of them on the disk yet unless
        `preallocate`. A file that is there already is a `Conflict`: it is never touched.
        """
        edit = edits.create_device(device)
        if file_size is not None:
            check_size(file_size)
        spec = HANDLERS[device.handler]
        if file_size is not None and (spec.exclusive or not spec.backed):
            raise Conflict(f"devices of {device.handler} have no file that could be made")
        from pyscstadmin.kernel.newfile import NewFile

        files = [] if file_size is None else [NewFile(device.path, file_size, preallocate)]
        outcome = self._change(lambda: edit, files, Config((device,)))
        return replace(outcome, remarks=_remarks(device, self.patience))

    def remove_device(self, name: str) -> Outcome:
        """Remove a device that no LUN points at."""
        return self.change(edits.remove_device(name))

    def change_device(self, name: str, **settings: Any) -> Outcome:
        """Change settings of a device, also parts of its identity (`serial="S1"`); what is not given stays.
        While it changes, its LUNs are away.
        """
        with self._writing():
            try:
                outcome = self._change_locked(edits.change_device(name, settings))
            except ApplyFailed as error:
                # EBUSY: something points at it.
                if not (isinstance(error.cause, OperationError) and error.cause.errno == errno.EBUSY):
                    raise
                # It is a LUN of somebody's: these have to be known, to be taken away and brought back.
                outcome = self._change_locked(edits.change_device(name, settings, alone=False))
            device = self._device(name) if outcome else None
        remarks = _remarks(device, self.patience) if device is not None else ()
        return replace(self._settled(outcome), remarks=remarks)

    def rename_device(self, name: str, new: str) -> Outcome:
        """Give a device another name. Its identity stays; while it changes, its LUNs are away."""
        return self.change(edits.rename_device(name, new))

    def activate(self, name: str) -> str:
        """Open the backing of a parked device; returns its state. Raises `OperationError` with the error of
        the open: ESTALE for one that is not what the device is known by; ECANCELED if somebody else has asked
        for something else meanwhile.
        """
        with self._writing() as tree:
            handler, _ = self._handler(name)
            path = device_dir(handler, name)
            self._last_chance()
            asked = self._openings.open(path)
            if asked.answered:
                return tree.read(f"{path}/state")
        return self._openings.came_of(asked)

    def deactivate(self, name: str) -> str:
        """Close the backing of a device and park it; returns its state."""
        with self._writing() as tree:
            handler, _ = self._handler(name)
            path = device_dir(handler, name)
            self._last_chance()
            asked = self._openings.switch(path, "0")
            if asked.answered:
                return tree.read(f"{path}/state")
        return self._openings.came_of(asked)

    @property
    def _bounded(self) -> Patience:
        """What is left of the patience with the lock, or all of it without."""
        return self._patience if self._locked else Patience(self.patience)

    def opening(self, handler: str, name: str) -> bool:
        """Whether this device was being opened when nobody waited for it any longer (see `release`)."""
        return self._openings.holds(device_dir(handler, name))

    def release(self) -> None:
        """Let go of what was proven of devices that are not being opened any more."""
        self._openings.release()

    def find(self, name: str) -> Proof | None:
        """What is at the path of a device now, or where else its disk is, by what it is known by; None for
        a device that has no backing. Changes nothing.
        """
        device = self._device(name)
        if not HANDLERS[device.handler].backed:
            return None
        return prove.look(name, device.handler, device.path, device.facts, self.backings, self._bounded)

    def rebind(self, name: str, path: str = "") -> Rebound:
        """From now on a device is on what is at its path, or at another one, whatever it was on before; its
        LUNs stay. An active device is closed for it, unless it is on that already.

        If it cannot be opened, or the old one not be closed in time, everything is as before, but for a
        device that was active: its backing has been closed and opened again. If it does not answer in time
        the device is on it from then on, and its opening is waited for without the lock. Raises `Conflict`,
        `OperationError`.
        """
        opening: Asked | None = None
        with self._writing() as tree:
            device = self._device(name)
            directory = device_dir(device.handler, name)
            if not HANDLERS[device.handler].backed:
                raise Conflict(f"{name} has no backing")
            found = self._openings.at(path or device.path)
            if found is None:
                raise Conflict(f"nothing is at {path or device.path} that {name} could be on")
            facts = self.backings.telling(found)
            rebound = Rebound(name, path or device.path, device.facts, facts)
            state = tree.read(f"{directory}/state")
            changes = {"path": rebound.path, "facts": facts.text() if facts is not None else ""}
            self._last_chance()
            if tree.read(f"{directory}/backing") == found.words and rebound.path == device.path:
                tree.write(f"{directory}/facts", changes["facts"])
            elif state == "disabled":
                write_all(tree, directory, changes)
            else:
                asked = self._openings.put_on(directory, state, changes)
                if not asked.answered:
                    opening = asked
            rebound = replace(rebound, state=tree.read(f"{directory}/state"))
        return rebound if opening is None else replace(rebound, state=self._openings.came_of(opening))

    def resize(self, name: str, size: int | None = None, *, shrink: bool = False) -> Resized:
        """Serve `size` bytes of a device's backing from now on; None: what it has grown to. Nothing else of
        the device changes, and no command of initiators is disturbed.

        Less than before is a `Conflict` without `shrink`: initiators may have data in what is cut off. It
        is not a setting: whenever the backing is opened anew, all of it is served.
        """
        if size is not None:
            check_size(size)
        with self._writing() as tree:
            handler, state = self._handler(name)
            path = device_dir(handler, name)
            if not HANDLERS[handler].backed:
                raise Conflict(f"{name} has no backing: its size is a setting, which `set size=` changes")
            if state != "active":
                raise Conflict(f"{name} is {state}: it gets the size of its backing when that is opened")
            before = int(tree.read(f"{path}/size"))
            if size is not None and 0 < size < before and not shrink:
                raise Conflict(
                    f"{name} has {before} bytes, and {size} is less: initiators lose what they keep beyond; "
                    "if that is meant, say so: --shrink, in the shell shrink=yes"
                )
            attribute, value = ("active", "1") if size is None else ("size", str(size))
            self._request(tree, f"{path}/{attribute}", value)
            return Resized(before, int(tree.read(f"{path}/size")), tree.read(f"{path}/state"))

    def reservations(self, name: str) -> Reservations:
        """What is reserved on a device, and for whom."""
        return reservations.parse(self.tree.read_all(f"{self._reservations_dir(name)}/state"))

    def clear_reservations(self, name: str, generation: int) -> None:
        """End what `reservations` has shown: all registrations and the persistent reservation. If it is not
        that any more, nothing is done: ESTALE.
        """
        with self._writing() as tree:
            self._request(tree, f"{self._reservations_dir(name)}/clear", str(generation))

    def import_reservations(self, name: str, wanted: Reservations) -> str:
        """Let a device, which is disabled, have these registrations and this reservation when it is enabled,
        and none that it had; returns its `pr_file`, where they are. The rest of `wanted` is not looked at.
        """
        from secrets import randbelow

        from pyscstadmin.store.save import replace_file

        with self._writing() as tree:
            device, (handler, state) = self._device(name), self._handler(name)
            path = reservations.place_for(name, state, device.settings.get("pr_file", ""))
            owner = bytes.fromhex(tree.read(f"{device_dir(handler, name)}/id/naa"))
            self._last_chance()
            replace_file(path, reservations.file_of(wanted, owner, 1 + randbelow(1 << 62)))
        return path

    def _reservations_dir(self, name: str) -> str:
        return f"{device_dir(self._handler(name)[0], name)}/pr"

    def _request(self, tree: Tree, path: str, value: str) -> None:
        """A request that is waited for with patience."""
        self._last_chance()
        if not self._patience.ask(tree, path, value):
            raise OperationError("write", f"{tree.root}/{path}", value, errno.EINPROGRESS)

    # Targets, hosts, groups.

    def create_target(self, target: Target) -> Outcome:
        """Create a target with everything in it."""
        edit = edits.create_target(target)
        return self._change(lambda: edit, needs=Config((), (target,)))

    def remove_target(self, target: str) -> Outcome:
        """Remove a target with everything in it; its sessions end."""
        return self._change_at(target, edits.remove_target)

    def change_target(self, target: str, **settings: Any) -> Outcome:
        """Change settings of a target: `enabled`, `rel_tgt_id`, `queue_depth`, `auto_rescan`, `hosts`,
        `luns`, `groups`.
        """
        return self._change_at(target, lambda key: edits.change_target(key, settings))

    def clear_target(self, target: str, what: Sequence[str] = ("luns", "groups", "hosts")) -> Outcome:
        """Remove what is in a target, or parts of that; the target stays."""
        return self._change_at(target, lambda key: edits.clear_target(key, what))

    def add_host(self, target: str, *initiators: str) -> Outcome:
        """Make SCSI hosts on this machine that log in under these initiator names (driver local)."""
        return self._change_at(target, lambda key: edits.add_hosts(key, initiators))

    def remove_host(self, target: str, *initiators: str) -> Outcome:
        """Remove such hosts."""
        return self._change_at(target, lambda key: edits.remove_hosts(key, initiators))

    def create_group(self, target: str, group: Group) -> Outcome:
        """Create a group with everything in it."""
        return self._change_at(target, lambda key: edits.create_group(key, group))

    def remove_group(self, target: str, group: str) -> Outcome:
        """Remove a group with everything in it."""
        return self._change_at(target, lambda key: edits.remove_group(key, group))

    def change_group(self, target: str, group: str, **settings: Any) -> Outcome:
        """Change `priority`, `initiators` or `luns` of a group."""
        return self._change_at(target, lambda key: edits.change_group(key, group, settings))

    def rename_group(self, target: str, group: str, new: str) -> Outcome:
        """Give a group another name, in one step: its initiators go on with the same LUNs."""
        return self._change_at(target, lambda key: edits.rename_group(key, group, new))

    def clear_group(self, target: str, group: str, what: Sequence[str] = ("luns", "initiators")) -> Outcome:
        """Remove what is in a group, or parts of that; the group stays. '' for the target's own LUNs."""
        return self._change_at(target, lambda key: edits.clear_group(key, group, what))

    def add_initiator(self, target: str, group: str, *patterns: str) -> Outcome:
        """Add initiator names or patterns to a group: all of them, or none."""
        return self._change_at(target, lambda key: edits.add_initiators(key, group, patterns))

    def remove_initiator(self, target: str, group: str, *patterns: str) -> Outcome:
        """Remove initiator names or patterns from a group: all of them, or none."""
        return self._change_at(target, lambda key: edits.remove_initiators(key, group, patterns))

    def move_initiator(self, target: str, group: str, to: str, *patterns: str) -> Outcome:
        """Move initiator names or patterns from a group to another, in one step: at no moment are they in
        none.
        """
        return self._change_at(target, lambda key: edits.move_initiators(key, group, to, patterns))

    # LUNs. These read only what they touch, so they cost the same however much is configured.

    def map(
        self,
        target: str,
        number: int | None,
        device: str,
        *,
        group: str = "",
        read_only: bool | None = None,
        replace: bool = False,
    ) -> Outcome:
        """Make a device a LUN of a group ('' for the target's own LUNs); the outcome is false if it is that
        already.

        `number` None: the first free one (`map_devices` says which). `read_only` None: as the LUN is, and no
        for a new one. `replace`: take the number even if another device has it, in one step for the
        initiators.
        """
        numbers = None if number is None else (number,)
        outcome, _ = self.map_devices(
            target, (device,), numbers, group=group, read_only=read_only, replace=replace
        )
        return outcome

    def map_devices(
        self,
        target: str,
        devices: Sequence[str],
        numbers: Sequence[int] | None = None,
        *,
        group: str = "",
        read_only: bool | None = None,
        replace: bool = False,
    ) -> tuple[Outcome, tuple[Lun, ...]]:
        """Make devices LUNs of a group, in one step; returns the LUNs as well. `numbers`: one for each
        device; None: the first free ones.
        """
        devices = check_each("devices", devices, check_device)
        numbers = None if numbers is None else check_each("LUNs", numbers, check_lun)
        if numbers is not None and len(numbers) != len(devices):
            raise Conflict(f"{len(numbers)} LUN numbers for {len(devices)} devices: say as many")
        if read_only is not None:
            check_is(bool, read_only, "read_only")
        with self._writing():
            key = self._place(target, group)
            wanted = self._numbered(key, group, devices, numbers, bool(read_only))
            edit = edits.map_luns(key, group, wanted, modes=read_only is not None, replacing=replace)
            outcome = self._change_locked(edit)
            luns = parts.luns(self.tree, key, group, tuple(lun.number for lun in wanted)) if wanted else ()
        return self._settled(outcome), luns

    def _numbered(
        self, key: Key, group: str, devices: Sequence[str], numbers: Sequence[int] | None, read_only: bool
    ) -> list[Lun]:
        if numbers is not None:
            return [Lun(number, name, read_only) for number, name in zip(numbers, devices, strict=True)]
        for device in devices:
            self._handler(device)
        return edits.numbered(self._lun_set(key, group), devices, read_only)

    def change_lun(
        self, target: str, number: int, *, group: str = "", device: str | None = None, **settings: Any
    ) -> Outcome:
        """Change what is given of a LUN that is there; the outcome is false if it is so already."""
        return self._change_luns(target, group, edits.change_lun, (number,), device, settings)

    def unmap(
        self,
        target: str,
        number: int,
        *,
        group: str = "",
        missing_ok: bool = False,
        device: str | None = None,
    ) -> Outcome:
        """Take a LUN away. One that is not there is a `Conflict`, or a false outcome with `missing_ok`.

        `device`: only if the LUN is this one; another is a `Conflict`.
        """
        return self.unmap_luns(target, ((number, device),), group=group, missing_ok=missing_ok)

    def unmap_luns(
        self,
        target: str,
        luns: Sequence[tuple[int, str | None]],
        *,
        group: str = "",
        missing_ok: bool = False,
    ) -> Outcome:
        """Take LUNs away, in one step: (number, the device it must be or None)."""
        return self._change_luns(
            target, group, lambda key, group: edits.unmap_luns(key, group, luns, missing_ok=missing_ok)
        )

    def _change_luns(self, target: str, group: str, edit: Callable[..., Edit], *arguments: object) -> Outcome:
        """Make an edit of a group's LUNs. Raises `Conflict` for a group that is not there."""
        return self._change(lambda: edit(self._place(target, group), group, *arguments))

    def lun_place(self, target: str, group: str) -> Key:
        """(driver, name) of a target that has this group ('': none is needed). Raises `Conflict`."""
        return self._place(target, group)

    def lun_set(self, target: str, group: str) -> LunSet:
        """The LUNs of a group ('' for the target's own), not to be changed. Raises `Conflict`."""
        return self._lun_set(self._place(target, group), group)

    def _lun_set(self, key: Key, group: str) -> LunSet:
        """The same, of what is remembered while its generation is in force."""
        root = read.root_state(self.tree)
        if not root.settled:
            return LunSet(parts.luns(self.tree, key, group))
        if root.generation != self._sets_at:
            self._sets.clear()
            self._sets_at = root.generation
        found = self._sets.get((key, group))
        if found is None:
            found = self._sets[key, group] = LunSet(parts.luns(self.tree, key, group))
        return found

    def _place(self, target: str, group: str) -> Key:
        check_group(group)
        key = self.target_key(target)
        if group and not self._exists(f"{group_dir(*key, group)}/priority"):
            known = self.tree.list(f"{target_dir(*key)}/groups")
            raise Conflict(f"target {target} has no group {group}{near(group, known)}")
        return key

    # Faults that are injected on purpose. They are no part of the configuration.

    def faults(self) -> list[FaultPoint]:
        """All there are, in force or not."""
        return read_faults(self.tree)

    def fault(self, name: str) -> FaultPoint:
        """One of them. Raises `Conflict`."""
        check_fault(name)
        found = {fault.name: fault for fault in self.faults()}
        if name not in found:
            raise Conflict(f"there is no fault {name}{near(name, list(found))}")
        return found[name]

    def create_fault(self, name: str, **settings: Any) -> None:
        """Make a fault; in force with `enabled=True`. Raises `Conflict`, `OperationError`."""
        check_fault(name)
        wanted = Values(FAULT, settings, f"fault {name}")
        with self._writing() as tree:
            if name in (fault.name for fault in self.faults()):
                raise Conflict(f"there is a fault {name} already")
            self._last_chance()
            make_fault(tree, name, wanted)

    def change_fault(self, name: str, **settings: Any) -> bool:
        """Change settings of a fault: all, or none. One that is in force is off for a moment, and what it
        held goes on. False: they were so. Raises `Conflict`, `OperationError`.
        """
        Values(FAULT, settings, f"fault {name}")
        with self._writing() as tree:
            old = self.fault(name)
            self._last_chance()
            return change_fault(tree, old, old.settings.but(f"fault {name}", **settings))

    def remove_fault(self, name: str) -> None:
        """End a fault, and remove it. Raises `Conflict`, `OperationError`."""
        with self._writing() as tree:
            self.fault(name)
            self._last_chance()
            remove_fault(tree, name)

    # How changes are made.

    @contextmanager
    def _writing(self, needs: Config | None = None, *, keep_going: bool = False) -> Iterator[Tree]:
        """Hold the lock, with the tree up to date and the modules of `needs` loaded; with `keep_going`, what
        is not there then is in `_absent`.
        """
        if self.sim is None and self._tree is None:
            self._find_core(needs)
        with (
            locked(os.path.join(self.state_dir, "lock"), self.lock_timeout) as waiting_for,
            self._deferred(),
        ):
            tree = self.tree
            self._openings.release()
            self._patience = Patience(self.patience, waiting_for)
            if needs is not None:
                self._absent = modules.load(tree, needs, keep_going=keep_going)
            self._locked = True
            try:
                yield tree
            except PartlyApplied as error:
                raise self._noted_as_left(error) from error.cause
            finally:
                self._locked = False
                tree.flush()

    @contextmanager
    def _deferred(self) -> Iterator[None]:
        """Signals wait, but where nothing is done yet, and between the acts of a plan."""
        with deferred(self.stops) as deliver:
            self._deliver = deliver
            try:
                yield
            finally:
                self._deliver = None

    def _last_chance(self) -> None:
        """Heed signals that came: from here on, something is done that takes one step."""
        if self._deliver is not None:
            self._deliver()

    def _find_core(self, needs: Config | None) -> None:
        """The module itself may be absent too when a configuration is to be applied."""
        try:
            self._tree = self._open()
        except NotPresent:
            if needs is None or self.root != ROOT or os.path.isdir(self.root):
                raise
            modules.modprobe(["scst"], self.root)

    def _execute(
        self,
        steps: Plan,
        shot: Snapshot,
        result: Config,
        keep_going: bool = False,
        progress: Progress | None = None,
        *,
        whole: bool = False,
    ) -> Outcome:
        """Execute a plan for the whole configuration and remember its result. `whole`: all devices of that
        were asked for, else only those that the plan is about: others' parked ones are none of its business.
        """
        self._known = None
        outcome = self._carry_out(steps, shot.root.generation, progress, keep_going)
        touched = waiting.device_states(self.tree, result, steps)
        opened = waiting.target_states(self.tree, result, steps)
        states, target_states = {**shot.device_states, **touched}, {**shot.target_states, **opened}
        if not outcome.failed:
            root = RootState(outcome.generation, False, True)
            self._known = Snapshot(result, root, states, target_states)
        concerned = {device.name for device in result.devices} if whole else set(touched)
        outcome = waiting.with_targets(outcome, result, target_states if whole else opened)
        mine = {name: state for name, state in states.items() if name in concerned}
        return waiting.with_devices(outcome, mine)

    def _slice(self, old: Config, new: Config, root: RootState | None = None) -> Outcome:
        """Change a part of the configuration that was just read, knowing nothing of the rest.

        `root`: from before it was read, where it is of what the generation counts.
        """
        root = root or read.root_state(self.tree)
        _must_be_settled(root)
        steps = plan(old, new)
        outcome = self._carry_out(steps, root.generation)
        outcome = waiting.with_targets(outcome, new, waiting.target_states(self.tree, new, steps))
        return waiting.with_devices(outcome, waiting.device_states(self.tree, new, steps))

    def _carry_out(
        self, steps: Plan, generation: int, progress: Progress | None = None, keep_going: bool = False
    ) -> Outcome:
        """Execute a plan. If this program is killed meanwhile, `save` takes what is left for what it is."""
        with self._noted_as_begun() if steps else nullcontext():
            return execute(
                self.tree,
                steps,
                generation,
                progress=progress,
                keep_going=keep_going,
                fence=self.fence,
                deliver=self._deliver,
                prove=self._openings.proven,
                patience=self._patience,
            )

    def _settled(self, outcome: Outcome) -> Outcome:
        """Wait until what was revoked is over, and backings that did not answer are open. Not under the lock:
        others may go on meanwhile.
        """
        outcome = self._opened(outcome)
        if not any(operation.revokes for operation in outcome.done):
            return outcome
        if self.settle <= 0:
            return replace(outcome, settled=None)
        pollable = "" if simulated_tree(self.tree) is not None else f"{self.class_root}/core/settled"
        over = wait_settled(
            lambda: settled_generation(self.tree), outcome.generation, self.settle, pollable, self._stopped
        )
        running = self.running() if over is False else ()
        ours = tuple(one for one in running if one.generation <= outcome.generation)
        return replace(outcome, settled=over, running=ours)

    def _opened(self, outcome: Outcome) -> Outcome:
        """Wait for devices that are being opened, all together as long as for what was revoked."""
        end = time.monotonic() + self.settle
        states = dict.fromkeys(outcome.parked, "parked")
        for name in outcome.opening:
            found = read.find_handler(self.tree, name)
            if found is not None:
                left = end - time.monotonic()
                came = arrived(lambda: self.tree, device_dir(found[0], name), self._stopped, left)
                states[name] = came.state if came is not None else found[1]
        self._openings.release()
        return waiting.with_devices(outcome, states)

    def _stopped(self) -> bool:
        return self.stops is not None and bool(self.stops.came)

    def _edit_locked(self, change: Callable[[Config], Config]) -> Outcome:
        shot = self.snapshot()
        _must_be_settled(shot.root)
        wanted = change(shot.config)
        check_config(wanted, shot.config)
        result = settle(shot.config, stamped(wanted))
        return self._execute(between(shot.config, result), shot, result)

    def _change_at(self, target: str, edit: Callable[[Key], Edit]) -> Outcome:
        """Make an edit of a target, which is looked up under the lock."""
        return self._change(lambda: edit(self.target_key(target)))

    def _change(
        self, edit: Callable[[], Edit], files: Sequence[NewFile] = (), needs: Config | None = None
    ) -> Outcome:
        with self._writing(needs), ExitStack() as new:
            for file in files:
                from pyscstadmin.kernel.newfile import made

                new.enter_context(made(file))
            outcome = self._change_locked(edit())
        return self._settled(outcome)

    def _change_locked(self, edit: Edit) -> Outcome:
        """Make an edit, having read what it needs and nothing else; a false outcome if it is so already."""
        if edit.needs.everything:
            return self._edit_locked(edit.of)
        # The generation first: whatever others change after this is noticed.
        root = read.root_state(self.tree)
        before = parts.part(self.tree, edit.needs)
        draft = Draft(before, self._names)
        edit.make(draft)
        after = draft.config()
        if before == after:
            return Outcome(root.generation)
        check_config(after, before)
        try:
            outcome = self._slice(before, after, root)
        except BaseException:
            self._sets.clear()
            raise
        self._note_luns(edit.needs, draft, root, outcome)
        return outcome

    def _note_luns(self, needs: Needs, draft: Draft, root: RootState, outcome: Outcome) -> None:
        """Keep what is remembered of LUNs as it is now."""
        if self._sets_at != root.generation:
            self._sets.clear()
        for key, group in [place for place in self._sets if place[0] == needs.target]:
            numbers = needs.luns.get(group, ())
            if numbers:
                self._sets[key, group].take_over(draft.target(key).lun_set(group), numbers)
            elif needs.whole or group in (*needs.groups, *needs.luns):
                del self._sets[key, group]
        self._sets_at = outcome.generation

    # The note about what went wrong, which `save` heeds.

    @property
    def _note_path(self) -> str:
        return os.path.join(self.state_dir, "degraded")

    @contextmanager
    def _noted_as_begun(self) -> Iterator[None]:
        """A note that is there for as long as the block takes. Where none can be made, none is."""
        before = read_note(self._note_path)
        with suppress(OperationError):
            write_note(self._note_path, [*before, f"a change was begun and never ended: {_KILLED}"])
        try:
            yield
        finally:
            with suppress(OperationError):
                write_note(self._note_path, before)

    def _noting(self, outcome: Outcome) -> Outcome:
        """Note what an apply left out, or that it left out nothing; a note that cannot be made is left out,
        too.
        """
        try:
            write_note(
                self._note_path, [f"left out by the last restore: {line}" for line in failures(outcome)]
            )
        except OperationError as error:
            missing = Failure(Operation("note for `save` what was left out", self._note_path, ()), error)
            return replace(outcome, failed=(*outcome.failed, missing))
        return outcome

    def _noted_as_left(self, error: PartlyApplied) -> PartlyApplied:
        """Note what could not be undone; returns the error, which says so if that fails."""
        failed = [f"left behind by a change that failed ({error.doing}): {line}" for line in error.left]
        try:
            write_note(self._note_path, [*read_note(self._note_path), *failed])
        except OperationError as fault:
            return PartlyApplied(error.doing, error.cause, [*error.left, f"no note for `save`: {fault}"])
        return error

    # The watcher.

    def reopen(self, handler: str, name: str, *, state: str, error: str, path: str) -> Proof | None:
        """Open the backing of a device that is still as it was seen: None, and nothing done, if it is not.

        For a caller who decided without the lock: if somebody parked the device on request meanwhile, removed
        it or gave it another path, that stands. An active device is closed first, in one request. A device
        whose backing is not there, or is another one, is or stays parked: the proof says so. One whose
        backing does not answer is being opened when this returns. Raises `OperationError` with the error of
        the open, which the device shows as well.
        """
        check_device(name)
        if handler not in tuple(HANDLERS):
            return None
        directory = device_dir(handler, name)
        with self._writing() as tree:
            if read.find_handler(tree, name) != (handler, state):
                return None
            seen = tree.read_many([f"{directory}/{part}" for part in ("error", "path", "wanted")])
            if seen != [error, path, "1"]:
                return None
            self._last_chance()
            with self._openings.proven(tree, directory) as proof:
                if proof.bound:
                    self._openings.switch(directory, "reopen", proof)
                elif state == "active" or (proof.was not in _NOTHING_THERE and error != "ESTALE"):
                    # The kernel parks it, and its directory says why.
                    with suppress(OperationError):
                        self._openings.switch(directory, "reopen")
            return proof

    def grow(self, handler: str, name: str, *, path: str) -> bool:
        """Serve what the backing of an active device has grown to: False, and nothing done, if it is not
        active at this path any more.
        """
        check_device(name)
        if handler not in tuple(HANDLERS):
            return False
        directory = device_dir(handler, name)
        with self._writing() as tree:
            if read.find_handler(tree, name) != (handler, "active") or tree.read(f"{directory}/path") != path:
                return False
            self._last_chance()
            if not Patience(MOMENT).ask(tree, f"{directory}/active", "1"):
                raise OperationError("write", f"{tree.root}/{directory}/active", "1", errno.EINPROGRESS)
        return True


def _refuse_errors(remarks: Iterable[Remark]) -> None:
    from pyscstadmin.config.lint import ERROR, problems

    errors = [remark for remark in remarks if remark.severity == ERROR]
    if errors:
        raise NotAccepted("what is wanted", problems(errors))


def _remarks(device: Device, patience: float) -> tuple[Remark, ...]:
    """What can be said of one device alone."""
    from pyscstadmin.config.lint import lint_device
    from pyscstadmin.kernel.uses import Looking

    with Looking(patience) as looking:
        return lint_device(device, looking.look)


def _must_be_settled(root: RootState) -> None:
    if not root.settled:
        raise PendingChanges
