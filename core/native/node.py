"""The node service: performs what the scheduler decides. Embedded in the driver.

::

    clients --records--> Node --events--> Scheduler --instructions--> Node
                           |                                           |
                           +--- template (makes workers) <-------------+
                           +--- workers (control socket, output) <-----+

All methods run under the runtime's lock.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from rllib.core.native import wire
from rllib.core.native.census import Census
from rllib.core.native.connection import Connection
from rllib.core.native.control_groups import Usage
from rllib.core.native.engine import NativeRuntime
from rllib.core.native.failures import shortened
from rllib.core.native.instructions import Instruction, Start, Stop, Tell, Warn
from rllib.core.native.memory_monitor import explain, size_of
from rllib.core.native.node_link import NodeLink
from rllib.core.native.output import MAX_LINE, Folder, Line, Printer
from rllib.core.native.peers import Peer
from rllib.core.native.reactor import READ, WRITE
from rllib.core.native.sites import Site
from rllib.core.native.spawn import TemplateProcess
from rllib.core.native.storekeeper import StoreKeeper
from rllib.core.native.victims import Occupant, choose_victim

_LAST_LINES = 20
_MAX_LAST = 1_000
"""Characters of each."""
_UNREADABLE = "it sent what could not be read"


class WorkerProcess:
    """A worker as the node sees it."""

    def __init__(self, worker: bytes, control: Connection, output: int) -> None:
        self.worker = worker
        self.control = control
        self.output = output
        self.pid = 0
        self.ended = False
        """Its control socket is at its end."""
        self.why = ""
        """It is ended on purpose, because of that."""
        self.fate: wire.Fate = ""
        self.rest = b""
        self.last_lines: deque[str] = deque(maxlen=_LAST_LINES)

    def close(self) -> None:
        """Let go of everything that belongs to it."""
        self.control.close()
        os.close(self.output)

    def how_it_ended(self, status: int) -> str:
        """Its death in words, with the last lines of its output."""
        if os.WIFSIGNALED(status):
            how = f"was killed by {_signal_name(os.WTERMSIG(status))}"
        else:
            how = f"exited with code {os.waitstatus_to_exitcode(status)}"
        if self.why:
            how += f", because {self.why}"
        text = f"worker process {self.pid} {how}"
        if self.last_lines:
            lines = (shortened(line, _MAX_LAST) for line in self.last_lines)
            text += "; its last output:\n    " + "\n    ".join(lines)
        return text


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


class Decider(Protocol):
    """Who decides: the scheduler, or on nodes that have none, the way to it."""

    home: Site

    def handle(self, client: bytes, message: Any) -> list[Instruction]:
        """A message of a client."""

    def worker_down(
        self, worker_id: bytes, reason: str, fate: wire.Fate = "", *, unbegun: bool = False
    ) -> list[Instruction]:
        """A worker is gone."""

    def label(self, worker_id: bytes) -> str:
        """What to call a worker in front of its output."""

    def occupants(self) -> list[Occupant]:
        """The workers that are in use."""

    @property
    def lessees(self) -> set[bytes]:
        """The processes that have leases."""


class Node(NodeLink):
    """See the module's text."""

    def __init__(
        self,
        runtime: NativeRuntime,
        scheduler: Decider,
        start_template: Callable[[], TemplateProcess],
        make_order: Callable[[bytes], wire.Make],
        keeper: StoreKeeper,
        log_to_driver: bool,
        bare_output: bool,
    ) -> None:
        self._runtime = runtime
        self._reactor = runtime.reactor
        self._scheduler = scheduler
        self._start_template = start_template
        self._make_order = make_order
        self._keeper = keeper
        self._log_to_driver = log_to_driver
        self._bare_output = bare_output
        self._census = Census()
        self._workers: dict[bytes, WorkerProcess] = {}
        self._agenda: deque[Instruction] = deque()
        self._performing = False
        fold = os.environ.get("RLLIB_DEDUP_LOGS", "1") != "0"
        self._printer = Printer(Folder() if fold else None)
        self._template: TemplateProcess | None = self._new_template()

    # -- deciding and performing ---------------------------------------------------------------

    def tell(self, record: Any) -> None:
        """A message of the driver itself; what comes of it may be what another thread awaits."""
        self.tell_for(self._runtime.me, record)

    def tell_for(self, client: bytes, record: Any) -> None:
        """A message of a client that came through the driver's own socket."""
        self._decide(client, record)
        self._reactor.announce()

    def _decide(self, client: bytes, record: Any) -> None:
        if isinstance(record, (wire.NeedRoom, wire.RoomMade)):
            self._perform(self._keeper.handle(client, record))
        elif isinstance(record, wire.AskWorkers):
            self._perform([Tell(client, self._table(record.seq))])
        elif isinstance(record, wire.AskAll):
            self._perform(self._census.ask(client, record, self._concerned(record.topic)))
        elif isinstance(record, wire.Account):
            self._perform(self._census.account(client, record))
        elif isinstance(record, wire.Accuse):
            self._condemn(record.process, record.offence)
        else:
            self._perform(self._scheduler.handle(client, record))

    def _table(self, seq: int) -> wire.WorkerTable:
        workers = [wire.WorkerRow(each.worker, each.pid) for each in self._workers.values()]
        return wire.WorkerTable(seq, [wire.WorkerRow(self._runtime.me, os.getpid()), *workers])

    def _concerned(self, topic: wire.Topic) -> set[bytes]:
        """Whom to ask about it."""
        if topic == "idle leases":
            return self._scheduler.lessees
        if topic == "stores":
            return {self._runtime.me}
        return {self._runtime.me, *self._workers}

    def _perform(self, instructions: Sequence[Instruction]) -> None:
        """Do them in order, also those that come up while doing them."""
        self._agenda.extend(instructions)
        if self._performing:
            return
        self._performing = True
        try:
            while self._agenda:
                self._perform_one(self._agenda.popleft())
        finally:
            self._performing = False

    def _perform_one(self, instruction: Instruction) -> None:
        match instruction:
            case Tell(client, message):
                self._deliver(client, message)
            case Start(worker):
                self._start(worker)
            case Stop(worker):
                self._stop(worker)
            case Warn(text):
                self._printer.warn(text)

    def fetch_for(self, peer: Peer, wanted: wire.FetchFor) -> None:
        """A process wants what is owned on another node."""
        raise wire.WireError("there are no other nodes")

    def keep(self, peer: Peer, result: wire.Keep) -> None:
        """A worker has made something for an owner on another node."""
        raise wire.WireError("there are no other nodes")

    def claimed(self, claim: int) -> None:
        """An owner on another node knows what is kept for him."""

    def _deliver(self, client: bytes, message: Any) -> None:
        if client == self._runtime.me:
            self._runtime.on_node(message)
        elif client in self._workers:
            process = self._workers[client]
            process.control.send(wire.record_frame(message))
            self._flush(process)

    def _flush(self, process: WorkerProcess) -> None:
        process.control.flush()
        if not process.ended:
            self._watch(process.control)

    def _watch(self, conn: Connection) -> None:
        """Have the reactor wait for room where something is left to write."""
        self._reactor.modify(conn.fd, READ | WRITE if conn.blocked else READ)

    # -- the template --------------------------------------------------------------------------

    def _new_template(self) -> TemplateProcess:
        template = self._start_template()
        self._reactor.register(template.conn.fd, lambda mask: self._on_template(template, mask))
        self._flush_template(template)
        return template

    def _flush_template(self, template: TemplateProcess) -> None:
        template.conn.flush()
        self._watch(template.conn)

    def _on_template(self, template: TemplateProcess, mask: int) -> None:
        if mask & WRITE:
            template.conn.blocked = False
            self._flush_template(template)
        try:
            records = template.receive()
        except EOFError:
            self._template_died(template)
            return
        for record in records:
            self._on_news(record)

    def _on_news(self, record: Any) -> None:
        """A message of the template."""
        match record:
            case wire.Made(worker, pid):
                self._began(worker, pid)
            case wire.Exited(worker, status):
                process = self._workers[worker]
                self._drain(process)
                self._worker_down(process, process.how_it_ended(status))
            case wire.Notice(text):
                self._printer.warn(text)

    def _began(self, worker: bytes, pid: int) -> None:
        self._workers[worker].pid = pid

    def _template_died(self, template: TemplateProcess) -> None:
        """All its workers died with it; the next worker starts a new one."""
        self._reactor.unregister(template.conn.fd)
        self._template = None
        how = template.close()
        for process in list(self._workers.values()):
            if process.pid:
                _kill_group(process.pid)  # what it has started itself
            self._drain(process)
            name = f"worker process {process.pid}" if process.pid else "a worker process"
            reason = f"{name} ended because its template {how}"
            self._worker_down(process, reason, unbegun=True)

    # -- workers -------------------------------------------------------------------------------

    def _start(self, worker: bytes) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        if self._template is None:
            self._template = self._new_template()
        self._template.make(self._make_order(worker), [theirs.fileno(), write_end])
        self._flush_template(self._template)
        theirs.close()
        os.close(write_end)
        process = WorkerProcess(worker, Connection(ours), read_end)
        self._workers[worker] = process
        self._reactor.register(process.control.fd, lambda mask: self._on_control(process, mask))
        self._reactor.register(read_end, lambda _mask: self._on_output(process))

    def _on_control(self, process: WorkerProcess, mask: int) -> None:
        if mask & WRITE:
            process.control.blocked = False
            self._flush(process)
        if mask & ~WRITE and not self._read_control(process):
            # The socket ended, so the process is ending; its exit is reported in a moment.
            self._reactor.unregister(process.control.fd)
            process.ended = True
            self._stop(process.worker)

    def _condemn(self, process: bytes, offence: str) -> None:
        if process in self._workers:  # a driver that sends nonsense cannot be called anyway
            self._workers[process].why = f"{_UNREADABLE}: {offence}"
            self._stop(process)

    def occupants(self) -> list[Occupant]:
        """The workers that are in use, with what they are to the system."""
        found = []
        for occupant in self._scheduler.occupants():
            process = self._workers.get(occupant.worker)
            if process is not None and process.pid:
                size = size_of(process.pid)
                found.append(occupant._replace(pid=process.pid, size=size))
        return found

    def relieve(self, usage: Usage, threshold: float) -> int:
        """Memory runs out: end a worker. Its pid; 0 where there is none in use."""
        occupants = self.occupants()
        victim = choose_victim(occupants)
        if victim is None:
            return 0
        process = self._workers[victim.worker]
        process.why, process.fate = explain(usage, threshold, occupants), "out of memory"
        self._perform([Warn(f"{victim.name} (pid {victim.pid}) is ended, because {process.why}")])
        self._stop(victim.worker)
        return victim.pid

    def _stop(self, worker: bytes) -> None:
        """End it. The template does so, for only a parent's signals cannot hit another process."""
        if worker in self._workers and self._template is not None:
            self._template.kill(worker)
            self._flush_template(self._template)

    def _read_control(self, process: WorkerProcess) -> bool:
        try:
            for frame in process.control.receive():
                record = wire.read_record(frame[-1])
                self._decide(process.worker, record)
        except EOFError:
            return False
        except wire.WireError as error:
            process.why = f"{_UNREADABLE}: {error}"
            return False
        return True

    def _on_output(self, process: WorkerProcess) -> None:
        self._read_output(process)

    def _read_output(self, process: WorkerProcess) -> bool:
        """Show what it prints; ``False`` when there is nothing more for now."""
        try:
            data = os.read(process.output, 1 << 16)
        except BlockingIOError:
            return False
        if not data:  # the end of a pipe would be reported for ever
            self._reactor.unregister(process.output)
            return False
        *lines, process.rest = (process.rest + data).split(b"\n")
        if len(process.rest) > MAX_LINE:
            lines.append(process.rest)
            process.rest = b""
        for line in lines:
            self._show(process, line.decode(errors="replace"))
        return True

    def _show(self, process: WorkerProcess, line: str) -> None:
        process.last_lines.append(line)
        if self._log_to_driver:
            label = self._scheduler.label(process.worker)
            self._printer.show(Line(line, label, process.pid, self._bare_output))

    def _drain(self, process: WorkerProcess) -> None:
        """Read what a dead worker has left in its socket and its pipe."""
        process.control.drained = False
        while not process.control.drained and self._read_control(process):
            continue
        while self._read_output(process):
            continue
        if process.rest:
            self._show(process, process.rest.decode(errors="replace"))

    def _worker_down(self, process: WorkerProcess, reason: str, *, unbegun: bool = False) -> None:
        del self._workers[process.worker]
        self._release(process)
        self._runtime.peers.bury(process.worker)
        down = self._scheduler.worker_down(process.worker, reason, process.fate, unbegun=unbegun)
        self._perform(down)
        self._perform(self._keeper.gone(process.worker))
        self._perform(self._census.gone(process.worker))

    def _release(self, process: WorkerProcess) -> None:
        self._reactor.unregister(process.control.fd)
        self._reactor.unregister(process.output)
        process.close()

    def close(self) -> None:
        """End the template, which ends the workers and removes the session directory."""
        self._release_all()
        if self._template is not None:
            self._reactor.unregister(self._template.conn.fd)
            self._template.end()
        self._printer.close()

    def abandon(self) -> None:
        """In a forked child: let go of what belongs to the parent."""
        self._release_all()
        if self._template is not None:
            self._template.abandon()

    def _release_all(self) -> None:
        for process in self._workers.values():
            self._release(process)
        self._workers.clear()
