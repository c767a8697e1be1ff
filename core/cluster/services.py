"""What a node service does beyond a driver's node: drivers attach to it, and it is one of many.

::

    driver --attach.sock--> ServiceNode         on the head      HeadNode   Scheduler
                                 |                                  |  ^
                                 '-- on any other node  AgentNode --'--'  Relay, Down / Told, Begin

A node that is not the head decides nothing: it passes on what its clients say, and performs what
comes back. So there is one scheduler, and what it says holds everywhere.

Methods run under the runtime's lock; those of `Listener` take it, as they come from the gateway.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import rllib
from rllib.core.cluster import messages
from rllib.core.cluster.credentials import is_loopback, split_address
from rllib.core.cluster.gateway import Gateway, Link, Listener
from rllib.core.cluster.outbox import TooLarge, answers, stand_in
from rllib.core.labels import DRIVERS_OWN
from rllib.core.native import platform, wire
from rllib.core.native.amounts import floats
from rllib.core.native.archives import STORE, find_archive
from rllib.core.native.connection import Connection
from rllib.core.native.copies import Copies
from rllib.core.native.instructions import Instruction, Start, Stop, Tell, Warn
from rllib.core.native.memory_monitor import size_of
from rllib.core.native.node import Node, WorkerProcess
from rllib.core.native.objects import NativeRef
from rllib.core.native.output import MAX_WAITING, Line, Valve
from rllib.core.native.peers import Peer
from rllib.core.native.reactor import WRITE
from rllib.core.native.scheduler import Scheduler
from rllib.core.native.sites import Site, key_of, new_process_id, node_key
from rllib.core.native.victims import Occupant

PYTHON = ".".join(map(str, sys.version_info[:3]))
ATTACH = "attach.sock"
"""In the session's directory: where a driver connects that wants to be on this node."""


class AttachedDriver:
    """A driver on this node, as the node sees it."""

    def __init__(self, process: bytes, control: Connection) -> None:
        self.process = process
        self.control = control
        self.pid = 0
        self._output = Valve[tuple[str, int]](MAX_WAITING)

    def send(self, record: Any) -> None:
        """Queue it; output is left out, and counted, where the driver does not read."""
        if not isinstance(record, wire.Printed) or self._shows(record):
            self.control.send(wire.record_frame(record))

    def _shows(self, printed: wire.Printed) -> bool:
        source = printed.label, printed.pid
        return self._output.lets_through(source, self.control.queued_bytes, printed.left_out)

    def flush(self) -> None:
        """Write what the kernel takes."""
        self.control.flush()
        if self._output.closed and not self.control.queued_bytes:
            for (label, pid), count in self._output.open():
                self.control.send(wire.record_frame(wire.Printed(label, pid, "", count)))
            self.control.flush()


class ServiceNode(Node, Listener):
    """A node of a cluster. ``gateway`` is set by whoever makes it."""

    gateway: Gateway

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.site = self._scheduler.home
        self._drivers: dict[bytes, AttachedDriver] = {}
        self.copies = Copies(self._runtime)
        self._runtime.values.lendings.discover = self._archive
        self._attach = self._listen()

    # -- drivers -------------------------------------------------------------------------------

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self._directory / ATTACH))
        listener.listen(64)
        listener.setblocking(False)
        self._reactor.register(listener.fileno(), self._accept)
        return listener

    @property
    def _directory(self) -> Path:
        return Path(self._runtime.where().session)

    def _accept(self, _mask: int) -> None:
        try:
            sock, _address = self._attach.accept()
        except BlockingIOError:
            return
        except OSError:  # out of descriptors
            self._reactor.rest(self._attach.fileno())
            return
        if platform.peer_user(sock) != os.getuid():
            sock.close()
            return
        driver = AttachedDriver(new_process_id(self.site.key), Connection(sock))
        self._drivers[driver.process] = driver
        self._reactor.register(driver.control.fd, lambda mask: self._on_driver(driver, mask))
        order = self._keeper.order(driver.process, self._runtime.namespace, "")
        driver.send(order)
        self._flush_driver(driver)

    def _flush_driver(self, driver: AttachedDriver) -> None:
        driver.flush()
        self._watch(driver.control)

    def _on_driver(self, driver: AttachedDriver, mask: int) -> None:
        if mask & WRITE:
            driver.control.blocked = False
            self._flush_driver(driver)
        if mask & ~WRITE and not self._read_driver(driver):
            self._driver_gone(driver)

    def _read_driver(self, driver: AttachedDriver) -> bool:
        try:
            for frame in driver.control.receive():
                record = wire.read_record(frame[-1])
                if isinstance(record, wire.Made):
                    driver.pid = record.pid
                    self._attached(driver)
                else:
                    self._decide(driver.process, record)
        except (EOFError, wire.WireError):
            return False
        return True

    def _driver_gone(self, driver: AttachedDriver) -> None:
        del self._drivers[driver.process]
        self._reactor.unregister(driver.control.fd)
        driver.control.close()
        self._runtime.peers.bury(driver.process)
        self._perform(self._keeper.gone(driver.process))
        self._detached(driver)

    def _attached(self, driver: AttachedDriver) -> None:
        """It has told its process id."""

    def _detached(self, driver: AttachedDriver) -> None:
        """It is gone."""
        raise NotImplementedError

    def _deliver(self, client: bytes, message: Any) -> None:
        if client == self._runtime.me and isinstance(message, wire.MakeRoom):
            self.copies.make_room()
        driver = self._drivers.get(client)
        if driver is None:
            super()._deliver(client, message)
        else:
            driver.send(message)
            self._flush_driver(driver)

    def fetch_for(self, peer: Peer, wanted: wire.FetchFor) -> None:
        """Get it, or a copy of it that is here."""
        self.copies.serve(peer, wanted)

    def keep(self, peer: Peer, result: wire.Keep) -> None:
        """Until its owner frees it, or ends."""
        self.copies.keep(peer, result)

    def claimed(self, claim: int) -> None:
        """Its owner knows of it."""
        self.copies.claimed(claim)

    def _archive(self, number: int) -> NativeRef | None:
        """That of a snapshot which a process of this node has taken."""
        stored = find_archive(self._directory / STORE, self._runtime.me, number)
        if stored is None:
            return None
        ref = NativeRef(self._runtime.me, number)
        ref.resolve(stored)
        return ref

    # -- the gateway ---------------------------------------------------------------------------

    @contextlib.contextmanager
    def _in_turn(self) -> Iterator[None]:
        """What the gateway's thread does is done as if the reactor's had."""
        with self._runtime.lock:
            yield
            self.copies.expire()
            self._runtime.flush()
        self._reactor.announce()

    def broken(self, process: bytes, reason: str) -> None:
        """End that process, for who has called it cannot know what became of that."""
        with self._in_turn():
            self._decide(self._runtime.me, wire.Accuse(process, f"the way to it broke ({reason})"))

    def _release_all(self) -> None:
        super()._release_all()
        for driver in self._drivers.values():
            self._reactor.unregister(driver.control.fd)
            driver.control.close()
        self._drivers.clear()
        self._reactor.unregister(self._attach.fileno())
        self._attach.close()


class Member:
    """A node that has joined, as the head sees it."""

    def __init__(self, join: messages.Join, link: Link) -> None:
        self.link = link
        self.address = join.address
        self.name = f"node {join.node[:12]} ({join.host}, {join.address})"
        self.drivers: dict[bytes, int] = {}
        self.pids: dict[bytes, int] = {}
        self.service = join.service
        self.is_drivers_own = DRIVERS_OWN in join.labels


def _is_at_home(address: str) -> bool:
    return is_loopback(split_address(address)[0])


def _other_versions(join: messages.Join) -> str:
    """What differs, in words: of the versions of Python and of this library the first two parts
    have to be the same, or functions and values of the one mean nothing to the other."""
    pairs = ("Python", join.python, PYTHON), ("rllib", join.release, rllib.__version__)
    for what, theirs, ours in pairs:
        if theirs.split(".")[:2] != ours.split(".")[:2]:
            return f"it runs {what} {theirs}, and this head {what} {ours}: install the same"
    return ""


class HeadNode(ServiceNode):
    """The node with the scheduler."""

    _scheduler: Scheduler

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._members: dict[bytes, Member] = {}

    # -- performing ----------------------------------------------------------------------------

    def _perform_one(self, instruction: Instruction) -> None:
        """On the node that it concerns."""
        member = None if isinstance(instruction, Warn) else self._member_of(instruction)
        if member is None:
            super()._perform_one(instruction)
            return
        match instruction:
            case Tell(client, message):
                self._tell_there(member, client, message)
            case Start(worker):
                member.link.send(messages.Begin(worker))
            case Stop(worker):
                member.link.send(messages.End(worker))

    def _tell_there(self, member: Member, client: bytes, record: Any) -> None:
        try:
            member.link.send(messages.Told(client, record))
        except TooLarge as error:
            short = stand_in(record)
            if short is None:
                name = type(record).__name__
                self._printer.warn(f"a process on {member.name} is not told {name}: {error}")
            else:
                member.link.send(messages.Told(client, short))

    def _member_of(self, instruction: Tell | Start | Stop) -> Member | None:
        process = instruction.client if isinstance(instruction, Tell) else instruction.worker
        return self._members.get(key_of(process))

    def _condemn(self, process: bytes, offence: str) -> None:
        member = self._members.get(key_of(process))
        if member is None:
            super()._condemn(process, offence)
        else:
            member.link.send(messages.Accused(process, offence))

    def _concerned(self, topic: wire.Topic) -> set[bytes]:
        found = super()._concerned(topic)
        if topic == "stores":
            return found | {member.service for member in self._members.values()}
        found |= set(self._drivers)
        for member in self._members.values():
            found |= {member.service, *member.drivers, *member.pids}
        return found & self._scheduler.lessees if topic == "idle leases" else found

    def _table(self, seq: int) -> wire.WorkerTable:
        table = super()._table(seq)
        pids = {driver.process: driver.pid for driver in self._drivers.values()}
        for member in self._members.values():
            pids |= member.drivers | member.pids
        table.workers += [wire.WorkerRow(process, pid) for process, pid in pids.items()]
        return table

    def _show(self, process: WorkerProcess, line: str) -> None:
        process.last_lines.append(line)
        self._print(process.worker, process.pid, line)

    def _print(self, worker: bytes, pid: int, text: str, left_out: int = 0) -> None:
        """Show what a worker prints here, and to all drivers."""
        label = self._scheduler.label(worker)
        if self._log_to_driver:
            self._printer.show(Line(text, label, pid, left_out=left_out))
        drivers = [*self._drivers, *(d for m in self._members.values() for d in m.drivers)]
        printed = wire.Printed(label, pid, text, left_out)
        self._perform([Tell(driver, printed) for driver in drivers])

    def _detached(self, driver: AttachedDriver) -> None:
        self._client_gone(driver.process)

    def _client_gone(self, client: bytes) -> None:
        self._perform(self._scheduler.client_down(client))
        self._perform(self._census.gone(client))

    # -- what the gateway tells ----------------------------------------------------------------

    def joined(self, link: Link, join: messages.Join) -> str:
        """Add a node."""
        if reason := self._objection(join):
            return reason
        with self._in_turn():
            key = node_key(join.node)
            if key in self._members or key == self.site.key:
                return f"a node of id {join.node} is here already"
            self._members[key] = Member(join, link)
            link.send(messages.Welcome(self._runtime.namespace))
            self._spread_directory()
            self._perform(self._scheduler.node_joined(self._new_site(key, join)))
        return ""

    def _objection(self, join: messages.Join) -> str:
        if join.protocol != messages.PROTOCOL:
            return f"it speaks protocol {join.protocol}, and this head {messages.PROTOCOL}"
        if reason := _other_versions(join):
            return reason
        if _is_at_home(join.address) and not _is_at_home(self.site.address):
            return (
                f"other nodes cannot reach it at {join.address}: join {self.site.address}, or say "
                "--host ADDRESS"
            )
        return ""

    def _new_site(self, key: bytes, join: messages.Join) -> Site:
        return Site(
            join.node,
            key,
            join.total,
            lambda: new_process_id(key),
            self._scheduler.out,
            join.gpus,
            join.labels,
            join.host,
            join.address,
        )

    def _spread_directory(self) -> None:
        addresses = {key: member.address for key, member in self._members.items()}
        addresses[self.site.key] = self.site.address
        self.gateway.learn(addresses)
        for member in self._members.values():
            member.link.send(messages.Directory(addresses))

    def _key_of(self, link: Link) -> bytes:
        return next((key for key, each in self._members.items() if each.link is link), b"")

    def heard(self, link: Link, said: Sequence[Any]) -> None:
        """Do what a node says."""
        with self._in_turn():
            key = self._key_of(link)
            if key:
                self._perform(self._scheduler.node_heard(key))
                for message in said:
                    self._on_message(key, self._members[key], message)

    def _on_message(self, key: bytes, member: Member, message: Any) -> None:
        match message:
            case messages.Relay(client, record):
                self._check(key, client)
                self._decide(client, record)
            case messages.Attached(client, pid):
                member.drivers[client] = pid
            case messages.Detached(client):
                member.drivers.pop(client, None)
                self._client_gone(client)
            case messages.Began(worker, pid):
                member.pids[worker] = pid
            case messages.Down(worker, reason, fate, unbegun):
                self._check(key, worker)
                member.pids.pop(worker, None)
                down = self._scheduler.worker_down(worker, reason, fate, unbegun=unbegun)
                self._perform(down)
                self._perform(self._census.gone(worker))
            case messages.Shown(worker, pid, line, left_out):
                self._print(worker, pid, line, left_out)

    @staticmethod
    def _check(key: bytes, process: bytes) -> None:
        if key_of(process) != key:
            raise wire.WireError("a node speaks for a process of another one")

    def silent(self, link: Link) -> None:
        """Nothing new goes there."""
        with self._in_turn():
            key = self._key_of(link)
            if key:
                text = f"{self._members[key].name} has not been heard of for a while"
                self._perform([Warn(text), *self._scheduler.node_silent(key)])

    def left(self, link: Link, reason: str) -> None:
        """What was there is gone."""
        with self._in_turn():
            key = self._key_of(link)
            if not key:
                return
            member = self._members.pop(key)
            self._spread_directory()
            story = f"{member.name} is gone: {reason}"
            clients = [member.service, *member.drivers]
            if not member.is_drivers_own:  # such a one ends with its driver, who knows
                self._perform([Warn(story)])
            self._perform(self._scheduler.node_down(key, story, clients))
            for process in (*clients, *member.pids):
                self._perform(self._census.gone(process))


class Uplink:
    """What the scheduler is to other nodes: whoever asks is asking the head."""

    def __init__(self, home: Site) -> None:
        self.home = home
        self.link: Link | None = None

    def send(self, message: Any) -> None:
        """Tell the head; before this node has joined there is nothing to tell."""
        if self.link is not None:
            self.link.send(message)

    def handle(self, client: bytes, message: Any) -> list[Instruction]:
        """Pass it on; what comes of it comes back as messages."""
        try:
            self.send(messages.Relay(client, message))
        except TooLarge as error:
            return self._instead(client, message, str(error))
        return []

    def _instead(self, client: bytes, message: Any, why: str) -> list[Instruction]:
        """Of what is too large, the head hears in short, or its client that it is."""
        short = stand_in(message)
        if short is not None:
            self.send(messages.Relay(client, short))
            return []
        told: list[Instruction] = [Tell(client, each) for each in answers(message, why)]
        return told or [Warn(f"the head is not told {type(message).__name__}: {why}")]

    def worker_down(
        self, worker_id: bytes, reason: str, fate: wire.Fate = "", *, unbegun: bool = False
    ) -> list[Instruction]:
        """Pass it on."""
        self.send(messages.Down(worker_id, reason, fate, unbegun))
        return []

    def label(self, worker_id: bytes) -> str:
        """The head knows."""
        return ""

    def occupants(self) -> list[Occupant]:
        """The head knows; here all workers are alike."""
        return []

    @property
    def lessees(self) -> set[bytes]:
        """The head knows."""
        return set()


class AgentNode(ServiceNode):
    """A node without a scheduler. ``ended`` is called, once, when the head is gone."""

    _scheduler: Uplink

    def __init__(self, runtime: Any, scheduler: Scheduler, *args: Any, **kwargs: Any) -> None:
        super().__init__(runtime, Uplink(scheduler.home), *args, **kwargs)
        self.ended: Any = None

    def join(self, address: str, timeout_s: float) -> None:
        """Join the cluster of that head. Raises `ClusterError`."""
        site = self.site
        join = messages.Join(
            messages.PROTOCOL,
            site.node,
            site.host,
            site.address,
            floats(site.pool.total),
            list(site.pool.devices),
            site.labels,
            self._runtime.me,
            PYTHON,
            rllib.__version__,
        )
        link = self.gateway.join(address, join, timeout_s)
        with self._runtime.lock:
            self._scheduler.link = link

    # -- deciding ------------------------------------------------------------------------------

    def _decide(self, client: bytes, record: Any) -> None:
        """What concerns this node's memory alone is decided here."""
        match record:
            case wire.NeedRoom() | wire.RoomMade():
                super()._decide(client, record)
            case wire.Accuse(process) if key_of(process) == self.site.key:
                super()._decide(client, record)
            case _:
                self._perform(self._scheduler.handle(client, record))

    def _attached(self, driver: AttachedDriver) -> None:
        self._scheduler.send(messages.Attached(driver.process, driver.pid))

    def _detached(self, driver: AttachedDriver) -> None:
        self._scheduler.send(messages.Detached(driver.process))

    def _began(self, worker: bytes, pid: int) -> None:
        super()._began(worker, pid)
        self._scheduler.send(messages.Began(worker, pid))

    def _show(self, process: WorkerProcess, line: str) -> None:
        process.last_lines.append(line)
        self._scheduler.send(messages.Shown(process.worker, process.pid, line))

    def occupants(self) -> list[Occupant]:
        """All workers: which of them can be done again, the head knows and this node does not."""
        return [
            Occupant(each.worker, b"", True, turn, "a worker", each.pid, size_of(each.pid))
            for turn, each in enumerate(self._workers.values())
            if each.pid
        ]

    # -- what the gateway tells ----------------------------------------------------------------

    def joined(self, link: Link, join: messages.Join) -> str:
        """Only the head has members."""
        return "this node is not the head of its cluster"

    def heard(self, link: Link, said: Sequence[Any]) -> None:
        """Do what the head says."""
        with self._in_turn():
            for message in said:
                self._on_message(message)

    def _on_message(self, message: Any) -> None:
        match message:
            case messages.Told(client, record):
                self._perform([Tell(client, record)])
            case messages.Begin(worker):
                self._perform([Start(worker)])
            case messages.End(worker):
                self._perform([Stop(worker)])
            case messages.Accused(process, offence):
                self._condemn(process, offence)
            case messages.Directory(addresses):
                self.gateway.learn(addresses)

    def silent(self, link: Link) -> None:
        """Wait: it may come back."""

    def left(self, link: Link, reason: str) -> None:
        """Without a head nobody can use what is here."""
        if self.ended is not None:
            self.ended(f"the head is gone: {reason}")
