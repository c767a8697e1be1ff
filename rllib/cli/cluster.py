"""``rllib start``, ``stop`` and ``token``: nodes of a cluster of one's own."""

import json
import sys
from typing import Annotated, Any

import typer

from rllib.cli.shared import fail

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
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long to try to reach the head.")
    ] = 10.0,
    block: Annotated[bool, typer.Option("--block", help="Stay until it is stopped.")] = False,
) -> None:
    """Start a node of a cluster: the head, or one that joins it.

    Example: rllib start --head, and on other machines rllib start --address HEAD:6379
    """
    if head == bool(address):
        fail("say --head for a new cluster, or --address HOST:PORT to join one")
    from rllib.core.cluster.credentials import ClusterError
    from rllib.core.cluster.launch import start_detached
    from rllib.core.cluster.options import tls_of
    from rllib.core.cluster.service import Order, main
    from rllib.core.init_options import machine_amounts
    from rllib.core.labels import check_labels
    from rllib.preload import PRELOAD

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
            join_timeout_s=wait,
        )
        if block:
            main(order)
        running = start_detached(order)
    except (ClusterError, TypeError, ValueError) as error:
        fail(str(error))
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
        fail(str(error))


def _object(name: str, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(f"--{name} takes JSON such as '{{\"a\": 1}}': {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"--{name} takes an object of JSON, got {text}")
    return found
