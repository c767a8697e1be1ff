"""``rllib status``."""

import json
import time
from typing import Annotated, Any

import typer

from rllib.cli.shared import fail

_RETRY_S = 0.5
_MOST_DEATHS = 10
Report = dict[str, Any]


def status(
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="By default a node of this machine.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    nodes: Annotated[
        int, typer.Option(metavar="COUNT", help="Fail unless there are so many nodes.")
    ] = 0,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long to wait for them.")
    ] = 0.0,
) -> None:
    """Show nodes, their object stores, resources, actors and recent deaths of a cluster.

    Example: rllib status --nodes 4 --wait 300
    """
    from rllib import core

    deadline = time.monotonic() + wait
    _connect(address, deadline)
    try:
        report = _report()
        while (there := sum(node["alive"] for node in report["nodes"])) < nodes:
            if time.monotonic() > deadline:
                fail(f"there are {there} nodes, not {nodes}")
            time.sleep(_RETRY_S)
            report = _report()
        for line in [json.dumps(report, indent=2)] if as_json else _lines(report):
            typer.echo(line)
    finally:
        core.shutdown()


def _connect(address: str | None, deadline: float) -> None:
    """Be a driver of the cluster, as soon as it can be reached."""
    from rllib import core
    from rllib.core.cluster.credentials import ClusterError
    from rllib.core.cluster.launch import local_services

    while True:
        here = next(iter(local_services()), None)
        try:
            if address is None and here is None:
                raise ClusterError(
                    "there is no node of yours on this machine: give --address, or see "
                    "`rllib start`"
                )
            core.init(address=address or (here.head if here else ""), log_to_driver=False)
        except ClusterError as error:
            if time.monotonic() > deadline:
                fail(str(error))
            time.sleep(_RETRY_S)
        except ValueError as error:  # that is no address
            fail(str(error))
        else:
            return


def _report() -> Report:
    """All that is shown."""
    from rllib import core
    from rllib.core.util import state

    total, free = core.cluster_resources(), core.available_resources()
    stores = {store.node_id: store.asdict() for store in state.list_stores(timeout=5.0)}
    nodes = state.list_nodes(limit=10_000)
    actors = state.list_actors(limit=10_000)
    objects = state.list_objects(limit=100_000, timeout=5.0, raise_on_missing_output=False)
    return {
        "nodes": [
            {
                "id": node.node_id,
                "address": node.node_ip,
                "name": node.node_name,
                "alive": node.state == "ALIVE",
                "head": node.is_head_node,
                "resources": node.resources_total,
                "labels": node.labels,
                "store": {k: v for k, v in stores.get(node.node_id, {}).items() if k != "node_id"},
            }
            for node in nodes
        ],
        "resources": {
            name: {"total": amount, "used": amount - free.get(name, 0.0)}
            for name, amount in sorted(total.items())
        },
        "actors": [
            {
                "id": actor.actor_id,
                "class": actor.class_name,
                "name": actor.name,
                "state": actor.state,
                "node": actor.node_id,
                "pid": actor.pid,
                "restarts": actor.num_restarts,
            }
            for actor in actors
            if actor.state != "DEAD"
        ],
        "objects": {
            "references": len(objects),
            "bytes": sum(max(each.object_size, 0) for each in objects),
        },
        "deaths": [
            *(
                {"what": f"node {node.node_id[:12]}", "why": node.state_message}
                for node in nodes
                if node.state == "DEAD"
            ),
            *(
                {"what": f"actor {actor.class_name}", "why": actor.death_cause or ""}
                for actor in actors
                if actor.state == "DEAD"
            ),
        ],
    }


def _lines(report: Report) -> list[str]:
    """For a terminal."""
    living = [node for node in report["nodes"] if node["alive"]]
    objects, deaths = report["objects"], report["deaths"][-_MOST_DEATHS:]
    return [
        f"Nodes: {len(living)}",
        *(f"  {_node_line(node)}" for node in living),
        "Resources in use",
        *(f"  {name}: {_used(name, each)}" for name, each in report["resources"].items()),
        f"Actors: {len(report['actors'])}",
        *(f"  {line}" for line in _actor_lines(report["actors"])),
        f"References to objects: {objects['references']} ({_mebibytes(objects['bytes'])})",
        *(["Last deaths"] if deaths else []),
        *(f"  {death['what']}: {death['why'].partition(chr(10))[0]}" for death in deaths),
    ]


def _node_line(node: Report) -> str:
    amounts = ", ".join(f"{name} {_amount(name, v)}" for name, v in node["resources"].items())
    head = "  head" if node["head"] else ""
    return (
        f"{node['id'][:12]}  {node['address']:15}  {node['name']}  {amounts}"
        f"{_store(node['store'])}{head}"
    )


def _store(store: Report) -> str:
    if not store:
        return ""
    spilled = f", {_mebibytes(store['spilled'])} on disk" if store["spilled"] else ""
    share = store["used"] / store["capacity"]
    return f"  store {_mebibytes(store['used'])} ({share:.0%}){spilled}"


def _actor_lines(actors: list[Report]) -> list[str]:
    """One for each class: how many are in which state."""
    counts: dict[str, dict[str, int]] = {}
    for actor in actors:
        states = counts.setdefault(actor["class"], {})
        states[actor["state"]] = states.get(actor["state"], 0) + 1
    return [
        f"{name}: " + ", ".join(f"{count} {state.lower()}" for state, count in states.items())
        for name, states in counts.items()
    ]


def _used(name: str, amounts: Report) -> str:
    return f"{_amount(name, amounts['used'])} of {_amount(name, amounts['total'])}"


def _amount(name: str, value: float) -> str:
    return f"{value / 2**30:.1f} GiB" if name == "memory" else f"{value:g}"


def _mebibytes(size: float) -> str:
    return f"{size / 2**20:,.1f} MiB"
