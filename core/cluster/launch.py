"""Starting node services, finding those of this machine, and being a driver on one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import msgspec
import psutil

from rllib.core.cluster.attached import AttachedRuntime, attach
from rllib.core.cluster.credentials import (
    ClusterError,
    Tls,
    home,
    is_loopback,
    is_same,
    split_address,
)
from rllib.core.cluster.service import RECORD, Order, Running
from rllib.core.labels import DRIVERS_OWN
from rllib.core.native.session import base_directory

_START_S = 30.0
_STOP_S = 10.0
_BOOTSTRAP = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); import msgspec; "
    "from rllib.core.cluster.service import Order, main; "
    "main(msgspec.json.decode(sys.argv[1], type=Order))"
)


class Service:
    """A node service that this process has started; it ends with this process at the latest."""

    def __init__(self, order: Order) -> None:
        read_end, self._lifeline = os.pipe()
        os.set_inheritable(self._lifeline, False)
        order.lifeline = read_end
        try:
            self._process, self.running = _spawn(order, [read_end], None)
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            os.close(read_end)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def stop(self) -> None:
        """End it and all that it started."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it as ``kill -9`` does."""
        self._process.kill()
        self._process.wait()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1


def start_detached(order: Order) -> Running:
    """Start a node service that goes on when this process has ended. Raises `ClusterError`."""
    folder = home() / "logs"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"node-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    with path.open("wb") as log:
        _process, running = _spawn(order, [], log)
    return running


def _spawn(
    order: Order, inherited: list[int], log: IO[bytes] | None
) -> tuple[subprocess.Popen[bytes], Running]:
    """Start the process and wait for its answer."""
    read_end, order.ready = os.pipe()
    arguments = [msgspec.json.encode(order).decode(), json.dumps(sys.path)]
    process = subprocess.Popen(
        [sys.executable, "-c", _BOOTSTRAP, *arguments],
        pass_fds=[*inherited, order.ready],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,  # out of reach of the terminal's Ctrl-C
    )
    os.close(order.ready)
    with os.fdopen(read_end) as stream:
        line = stream.readline()  # ends with the process, if nothing else comes
    said = json.loads(line) if line else {"error": "the node service ended before it had begun"}
    if "error" in said:
        process.wait()
        raise ClusterError(said["error"])
    return process, Running(**said)


def local_services() -> Iterator[Running]:
    """Node services of this user on this machine."""
    for record in sorted(base_directory().glob(f"*/{RECORD}")):
        with contextlib.suppress(OSError, ValueError, TypeError):
            running = Running(**json.loads(record.read_text()))
            if psutil.pid_exists(running.pid):
                yield running


def stop_all(timeout_s: float = _STOP_S) -> list[Running]:
    """End all node services of this user on this machine; which it were."""
    found = list(local_services())
    processes = []
    for running in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(running.pid)
            process.send_signal(signal.SIGTERM)
            processes.append(process)
    _gone, alive = psutil.wait_procs(processes, timeout_s)
    for process in alive:
        process.kill()
    return found


def connect(
    address: str,
    namespace: str,
    amounts: Mapping[str, float],
    *,
    log_to_driver: bool,
    runtime_env: Mapping[str, Any],
    tls: Tls | None = None,
    insecure: bool = False,
) -> AttachedRuntime:
    """Be a driver of the cluster with that head: on the node of this machine if there is one, else
    on one that is started for this process, with ``amounts``, or nothing, to offer.

    Raises `ClusterError`.
    """
    split_address(address)
    running, release = _node_for(address, amounts, tls, insecure=insecure)
    try:
        runtime = attach(
            Path(running.session), namespace, log_to_driver=log_to_driver, release=release
        )
    except BaseException:
        release()
        raise
    runtime.set_environment(runtime_env)
    return runtime


def _node_for(
    address: str, amounts: Mapping[str, float], tls: Tls | None, *, insecure: bool
) -> tuple[Running, Callable[[], None]]:
    here = [each for each in local_services() if _is_of(each, address)]
    here.sort(key=lambda each: not _is_at(each, address))
    if here:
        if amounts:
            raise ClusterError(
                f"{here[0].address} is a node of this machine already: what it has was said when "
                f"it was started, and cannot be {dict(amounts)} now"
            )
        return here[0], _nothing
    offered = {"CPU": 0.0, "GPU": 0.0, "memory": 0.0, **amounts}
    labels = {DRIVERS_OWN: "true"}
    service = Service(
        Order(head=address, amounts=offered, labels=labels, tls=tls, insecure=insecure, quiet=True)
    )
    return service.running, service.stop


def _is_of(running: Running, address: str) -> bool:
    """Whether it is a node of the cluster with that address."""
    return _is_at(running, address) or is_same(running.head, address)


def _is_at(running: Running, address: str) -> bool:
    if is_same(running.address, address):
        return True
    host, port = split_address(address)
    return running.everywhere and port == split_address(running.address)[1] and is_loopback(host)


def _nothing() -> None:
    pass
