"""``rllib start``, ``stop``, ``status`` and ``token``: nodes of a cluster of one's own."""

import json
import sys
from typing import Annotated, Any

import typer

PORT = 6379


def start(
    head: Annotated[bool, typer.Option("--head", help="Be the head of a new cluster.")] = False,
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Join the cluster of that head.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Where to listen; by default what only this machine reaches.")
    ] = "",
    port: Annotated[
        int | None, typer.Option(help=f"{PORT} for a head; else one that is free.")
    ] = None,
    num_cpus: Annotated[float | None, typer.Option(help="By default all cores.")] = None,
    num_gpus: Annotated[float | None, typer.Option(help="By default all that are there.")] = None,
    resources: Annotated[str, typer.Option(metavar="JSON", help="Further amounts.")] = "{}",
    labels: Annotated[str, typer.Option(metavar="JSON", help="Labels of the node.")] = "{}",
    object_store_memory: Annotated[
        int | None, typer.Option(metavar="BYTES", help="By default 30 % of the memory.")
    ] = None,
    tls_cert: Annotated[str, typer.Option(metavar="FILE", help="Certificate of the nodes.")] = "",
    tls_key: Annotated[str, typer.Option(metavar="FILE", help="Its key.")] = "",
    tls_ca: Annotated[str, typer.Option(metavar="FILE", help="Who has signed it.")] = "",
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Trust the network: no TLS beyond this machine.")
    ] = False,
    block: Annotated[bool, typer.Option("--block", help="Stay until it is stopped.")] = False,
) -> None:
    """Start a node of a cluster: the head, or one that joins it.

    Example: rllib start --head, and on other machines rllib start --address HEAD:6379
    """
    if head == bool(address):
        _fail("say --head for a new cluster, or --address HOST:PORT to join one")
    from rllib.core.cluster.credentials import ClusterError
    from rllib.core.cluster.launch import start_detached
    from rllib.core.cluster.options import tls_of
    from rllib.core.cluster.service import Order, main
    from rllib.core.init_options import machine_amounts
    from rllib.core.labels import check_labels
    from rllib.workers import PRELOAD

    try:
        order = Order(
            head=address or "",
            host=host,
            port=(PORT if head else 0) if port is None else port,
            amounts=machine_amounts(num_cpus, num_gpus, _object("resources", resources)),
            labels=check_labels(_object("labels", labels)),
            object_store_memory=object_store_memory,
            preload=PRELOAD,
            tls=tls_of(tls_cert, tls_key, tls_ca),
            insecure=insecure,
        )
        if block:
            main(order)
        running = start_detached(order)
    except (ClusterError, TypeError, ValueError) as error:
        _fail(str(error))
    typer.echo(f"node {running.node[:12]} runs at {running.address}, process {running.pid}")
    if head:
        typer.echo(f"join it:  rllib start --address {running.address}")
        typer.echo(f"use it:   rllib train --config NAME --address {running.address}")
        typer.echo("end it:   rllib stop")


def stop() -> None:
    """End all nodes of yours on this machine, and what runs on them."""
    from rllib.core.cluster.launch import stop_all

    stopped = stop_all()
    for running in stopped:
        typer.echo(f"stopped the node at {running.address}")
    if not stopped:
        typer.echo("there is no node of yours on this machine")


def status(
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="By default a node of this machine.")
    ] = None,
) -> None:
    """Show nodes, resources, actors and recent deaths of a cluster."""
    from rllib.core.cluster.credentials import ClusterError
    from rllib.core.cluster.launch import local_services

    here = next(iter(local_services()), None)
    if address is None and here is None:
        _fail("there is no node of yours on this machine: give --address, or see `rllib start`")
    from rllib import core

    try:
        core.init(address=address or (here.head if here else ""), log_to_driver=False)
    except ClusterError as error:
        _fail(str(error))
    for line in _status_lines():
        typer.echo(line)
    core.shutdown()


def _status_lines() -> list[str]:
    from rllib import core
    from rllib.core.util import state

    total, free = core.cluster_resources(), core.available_resources()
    lines = ["Nodes"]
    for node in core.nodes():
        lines.append(
            f"  {node['NodeID'][:12]}  {node['NodeManagerAddress']:15}  {node['NodeName']}  "
            f"{_amounts(node['Resources'])}"
        )
    lines.append("Resources in use")
    lines += [f"  {name}: {_used(name, total, free)}" for name in sorted(total)]
    actors = state.list_actors(limit=10_000)
    living = [actor for actor in actors if actor.state != "DEAD"]
    lines.append(f"Actors: {len(living)}")
    for name, states in state.summarize_actors()["cluster"]["summary"].items():
        lines.append(f"  {name}: {_counts(states['state_counts'])}")
    objects = state.list_objects(limit=100_000, raise_on_missing_output=False)
    megabytes = sum(max(each.object_size, 0) for each in objects) / 2**20
    lines.append(f"References to objects: {len(objects)} ({megabytes:,.1f} MiB)")
    dead = [actor for actor in actors if actor.state == "DEAD"][-5:]
    lines += ["Last deaths", *(f"  {each.class_name}: {_first(each)}" for each in dead)]
    return lines if dead else lines[:-1]


def _amounts(amounts: dict[str, float]) -> str:
    return ", ".join(f"{name} {_amount(name, value)}" for name, value in amounts.items())


def _amount(name: str, value: float) -> str:
    return f"{value / 2**30:.1f} GiB" if name == "memory" else f"{value:g}"


def _used(name: str, total: dict[str, float], free: dict[str, float]) -> str:
    used = total[name] - free.get(name, 0.0)
    return f"{_amount(name, used)} of {_amount(name, total[name])}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {state.lower()}" for state, count in counts.items())


def _first(actor: Any) -> str:
    return str(actor.death_cause or "").partition("\n")[0]


def token(
    set_it: Annotated[
        bool, typer.Option("--set", help="Keep the token that comes on standard input.")
    ] = False,
) -> None:
    """Print the token that opens your clusters, which only you should see; made on first use."""
    from rllib.core.cluster.credentials import ClusterError, read_token, token_file, write_token

    try:
        if set_it:
            write_token(sys.stdin.readline().strip())
            typer.echo(f"kept in {token_file()}")
        else:
            typer.echo(read_token(make=True))
    except ClusterError as error:
        _fail(str(error))


def _object(name: str, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(f"--{name} takes JSON such as '{{\"a\": 1}}': {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"--{name} takes an object of JSON, got {text}")
    return found


def _fail(text: str) -> Any:
    typer.echo(f"error: {text}", err=True)
    raise typer.Exit(2)
