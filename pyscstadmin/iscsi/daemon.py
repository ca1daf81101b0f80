# SPDX-License-Identifier: GPL-2.0-or-later
"""`scst-iscsid`: logs iSCSI initiators in, and hands their connections to the kernel.

No session depends on it: it may be stopped, killed or replaced at any time, and finds out what there is when
it starts. What it listens on follows the configuration and the addresses of the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address

from pyscstadmin.config.layout import CLASS_ROOT, ROOT
from pyscstadmin.iscsi import device as kernel
from pyscstadmin.iscsi import registration
from pyscstadmin.iscsi.device import Device, Kernel, Kind
from pyscstadmin.iscsi.listeners import Listeners
from pyscstadmin.iscsi.policy import Policy
from pyscstadmin.iscsi.portals import Machine, Netlink, look, space_of, wanted
from pyscstadmin.iscsi.refusals import FILE, Refusals
from pyscstadmin.iscsi.registrar import Registrar
from pyscstadmin.iscsi.serve import Server
from pyscstadmin.iscsi.source import Seat, Source
from pyscstadmin.iscsi.systemd import Manager
from pyscstadmin.iscsi.text import Sessions
from pyscstadmin.iscsi.uses import FILE as USES

__all__ = ["Daemon", "main"]

# Seconds: between looks while something is missing, and in quiet times; until several changes are one.
RETRY, QUIET, TOGETHER = 1.0, 30.0, 0.05
MACHINE_ID = "/etc/machine-id"
# Texts of sessions that are answered before others have a turn.
TEXTS = 32

_log = logging.getLogger("scst-iscsid")


class Daemon:
    """The program. `open_device`: how to get at the kernel's part; raises OSError while that is not there."""

    def __init__(
        self,
        source: Source,
        refusals: Refusals,
        open_device: Callable[[], Device],
        manager: Manager | None = None,
    ) -> None:
        self._manager = manager or Manager({})
        self._source = source
        self._refusals = refusals
        self._open_device = open_device
        self._server = Server(source, refusals)
        self._listeners = Listeners(self._server, self._manager)
        self._texts = Sessions(source.send_targets)
        self._netlinks: dict[str, Netlink] = {}
        self._machines: dict[str, Machine | None] = {}
        self._states: dict[str, str] = {}
        self._registrar = Registrar(self._wake_up)
        self._isns = ""
        self._stale = True
        self._stopping = False
        self._saving: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self._entity = registration.entity_of(_machine_id(), socket.gethostname())
        refusals.noted = self._save_soon

    async def run(self) -> None:
        """Until `stop`."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(ValueError, RuntimeError):
                loop.add_signal_handler(number, self.stop)
        with suppress(ValueError, RuntimeError):
            loop.add_signal_handler(signal.SIGHUP, self._changed)
        self._registrar.start()
        try:
            while not self._stopping:
                pause = self._try_round()
                self._manager.tell(f"READY=1\nWATCHDOG=1\nSTATUS={self._status()}")
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), pause)
                    await asyncio.sleep(TOGETHER)
                self._wake.clear()
        finally:
            self._manager.tell("STOPPING=1")
            await self._close()

    def stop(self) -> None:
        """End."""
        self._stopping = True
        self._wake.set()

    def _wake_up(self) -> None:
        self._wake.set()

    async def _close(self) -> None:
        self._listeners.close()
        await asyncio.gather(self._server.close(), self._registrar.close())
        self._let_go()
        for netlink in self._netlinks.values():
            asyncio.get_running_loop().remove_reader(netlink.fileno())
            netlink.close()
        if self._saving is not None:
            self._saving.cancel()
        self._save()

    def _changed(self) -> None:
        self._stale = True
        self._wake.set()

    # A round: look at everything, and do what is due.

    def _try_round(self) -> float:
        """For want of a descriptor nobody's login is to end: all of it is due again in a while."""
        try:
            return self._round()
        except OSError as error:
            _log.warning("%s: %s", error.filename or "looking", error.strerror)
            self._stale = True
            return RETRY

    def _round(self) -> float:
        """Returns after how many seconds to look again, if nothing happens before."""
        self._take()
        stale = self._stale or not self._source.policy.available
        if stale:
            self._stale = False
            self._source.read()
        policy = self._source.policy
        self._look(policy)
        plans = wanted(policy.portals.values(), self._machines)
        # Until it is known what there is, those who come wait in the sockets of the daemon before.
        states = self._listeners.follow(plans) if self._source.known else {}
        self._source.place({name: plan.addresses for name, plan in plans.items()})
        if stale:
            self._end_misplaced(policy)
        self._tell(states)
        self._register(states)
        settled = policy.available and all(state == "listening" for state in states.values())
        # Nobody says when the name of a network namespace comes to mean none, or another one.
        return QUIET if settled and not any(self._machines) else RETRY

    def _save_soon(self) -> None:
        if self._saving is None:
            self._saving = asyncio.get_running_loop().call_later(RETRY, self._save)

    def _save(self) -> None:
        self._saving = None
        self._refusals.save()

    def _status(self) -> str:
        listening = sum(state.startswith("listening") for state in self._states.values())
        return f"{listening} of {len(self._states)} portals listening, {self._server.logins} logins"

    def _take(self) -> None:
        """Get hold of the device."""
        if self._source.device is not None:
            return
        try:
            device = self._open_device()
        except OSError:
            return
        self._source.device = device
        self._states.clear()
        self._isns = ""
        self._stale = True
        asyncio.get_running_loop().add_reader(device.fileno(), self._hear, device)
        self._answer(device)

    def _hear(self, device: Device) -> None:
        try:
            events = device.events()
        except OSError as error:
            _log.warning("%s: %s", kernel.DEVICE, error.strerror)
            self._let_go()
            self._changed()
            return
        for event in events:
            if event.kind == Kind.GONE:
                _log.info("session %d is gone: %s", event.tsih, _reason(event.reason))
                self._texts.forget(event.tsih)
            if event.lost:
                self._texts.forget_all()
            if event.kind == Kind.CONFIG or event.lost:
                self._changed()
        if any(event.kind == Kind.TEXT or event.lost for event in events):
            self._answer(device)

    def _answer(self, device: Device, after: int = 0) -> None:
        """Answer the texts that wait, behind the one of that number."""
        for _ in range(TEXTS):
            if device is not self._source.device:
                return
            try:
                asked = device.text(after)
            except OSError as error:
                _log.warning("%s: %s", kernel.DEVICE, error.strerror)
                return
            if asked is None:
                return
            after = asked.number
            with suppress(OSError):  # it does not wait any more
                device.answer(after, self._texts.answer(asked))
        asyncio.get_running_loop().call_soon(self._answer, device, after)

    def _let_go(self) -> None:
        device, self._source.device = self._source.device, None
        if device is not None:
            asyncio.get_running_loop().remove_reader(device.fileno())
            device.close()

    def _tell(self, states: dict[str, str]) -> None:
        """Have the portals show their states."""
        device = self._source.device
        for name, state in states.items():
            if self._states.get(name) == state:
                continue
            _log.info("portal %s: %s", name, state)
            if device is not None:
                try:
                    device.portal_state(name, state)
                except OSError:  # it went meanwhile: its removal is heard of
                    continue
            self._states[name] = state
        for name in self._states.keys() - states.keys():
            del self._states[name]

    def _register(self, states: Mapping[str, str]) -> None:
        """Have the iSNS server know what there is; and tell how that goes."""
        policy = self._source.policy
        listening = {name for name, state in states.items() if state.startswith("listening")}
        server = policy.isns_server
        if self._source.sure:  # else nobody is to be told that there is nothing any more
            self._registrar.want(server, registration.wanted(self._entity, policy, listening, server))
        state, device = self._registrar.state, self._source.device
        if device is not None and state != self._isns:
            with suppress(OSError):
                device.isns_state(state)
                self._isns = state

    # The machine.

    def _look(self, policy: Policy) -> None:
        spaces = {portal.netns for portal in policy.portals.values()}
        for netns in self._machines.keys() - spaces:
            del self._machines[netns]
            self._deaf(netns)
        for netns in spaces:
            self._listen_to(netns)
            before, now = self._machines.get(netns), self._seen(netns)
            if before is not None:
                self._left(policy, netns, before, now)
            self._machines[netns] = now

    def _seen(self, netns: str) -> Machine | None:
        try:
            found = look(netns)
        except OSError as error:
            _log.warning("addresses%s: %s", f" in {netns}" if netns else "", error.strerror)
            return self._machines.get(netns)
        if found is None:
            self._deaf(netns)
        return found

    def _listen_to(self, netns: str) -> None:
        known = self._netlinks.get(netns)
        if known is not None:
            if not netns or known.space == space_of(netns):
                return
            self._deaf(netns)
        try:
            netlink = Netlink(netns)
        except OSError:
            return
        self._netlinks[netns] = netlink
        asyncio.get_running_loop().add_reader(netlink.fileno(), self._moved, netlink)

    def _deaf(self, netns: str) -> None:
        netlink = self._netlinks.pop(netns, None)
        if netlink is not None:
            asyncio.get_running_loop().remove_reader(netlink.fileno())
            netlink.close()

    def _moved(self, netlink: Netlink) -> None:
        netlink.drain()
        self._wake.set()

    def _left(self, policy: Policy, netns: str, before: Machine, now: Machine | None) -> None:
        """Sessions whose address is not this machine's any more end at once: their initiators have other
        paths to go on by.
        """
        there = {address.ip for address in now.addresses} if now and now.space == before.space else set()
        gone = {address.ip for address in before.addresses} - there
        device = self._source.device
        if not gone or device is None:
            return
        for seat in self._source.lives():
            portal = policy.portals.get(seat.portal)
            if (portal.netns if portal else "") == netns and _ip(seat.local) in gone:
                _log.info("session %d ends: its address %s has left", seat.live.tsih, seat.local)
                with suppress(OSError):
                    device.drop(seat.live.tsih)

    def _end_misplaced(self, policy: Policy) -> None:
        """Sessions by a portal that is elsewhere now, or at which their target is not any more, end."""
        device = self._source.device
        if device is None or not policy.available:
            return
        for seat in self._source.lives():
            why = misplaced(seat, policy)
            if why:
                _log.info("session %d ends: %s", seat.live.tsih, why)
                with suppress(OSError):
                    device.drop(seat.live.tsih)


def misplaced(seat: Seat, policy: Policy) -> str:
    """Why a session cannot be by the portal that it is by; '' if it can. Addresses of interfaces are followed
    elsewhere.
    """
    portal = policy.portals.get(seat.portal)
    target = next((one for one in policy.targets if one.name == seat.live.target), None)
    if target is None:  # its end is the kernel's
        return ""
    if portal is None or seat.portal not in target.portals:
        return f"its target is not at portal {seat.portal} any more"
    if portal.port != seat.port or _ip(portal.address) not in (None, _ip(seat.local)):
        return f"portal {seat.portal} is elsewhere"
    return ""


def _ip(text: str) -> object:
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _reason(number: int) -> str:
    return kernel.Reason(number).name.lower() if number in set(kernel.Reason) else str(number)


def _machine_id() -> str:
    try:
        with open(MACHINE_ID, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser("scst-iscsid", description="Logs iSCSI initiators in to SCST targets.")
    made.add_argument("--device", default=kernel.DEVICE, metavar="PATH", help="the kernel module's device")
    made.add_argument("--root", default=ROOT, metavar="PATH", help="where the configuration is")
    made.add_argument(
        "--class", default=CLASS_ROOT, metavar="PATH", dest="sessions", help="where sessions are"
    )
    made.add_argument("--logins", default=FILE, metavar="PATH", help="file of the last refused logins")
    made.add_argument("--uses", default=USES, metavar="PATH", help="file of the uses of users with `uses`")
    made.add_argument("--verbose", action="store_true", help="say more")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """The program."""
    options = parser().parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO if options.verbose else logging.WARNING, format="%(message)s"
    )
    source = Source(options.root, options.sessions, options.uses)
    daemon = Daemon(source, Refusals(options.logins), lambda: Kernel(options.device), Manager())
    asyncio.run(daemon.run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
