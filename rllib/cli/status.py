"""``rllib status``."""

import json
import os
import time
from collections import Counter
from shutil import get_terminal_size
from textwrap import wrap
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
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Trust the network: no TLS on the way there.")
    ] = False,
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
    from rllib.core.cluster.options import INSECURE_VARIABLE

    if insecure:
        os.environ[INSECURE_VARIABLE] = "1"
    deadline = time.monotonic() + wait
    _connect(address, deadline)
    try:
        report = _report()
        while (there := _standing(report)) < nodes:
            if time.monotonic() > deadline:
                fail(f"there are {there} nodes, not {nodes}")
            time.sleep(_RETRY_S)
            report = _report()
        width = get_terminal_size().columns
        for line in [json.dumps(report, indent=2)] if as_json else lines(report, width):
            typer.echo(line)
    finally:
        core.shutdown()


def _standing(report: Report) -> int:
    """How many nodes live, without those that were started for one driver and end with it."""
    from rllib.core.labels import DRIVERS_OWN

    return sum(node["alive"] and DRIVERS_OWN not in node["labels"] for node in report["nodes"])


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
    """All that is shown; if a node was started for this command alone, that is not."""
    from rllib import core
    from rllib.core.labels import DRIVERS_OWN
    from rllib.core.util import state

    total, free = core.cluster_resources(), core.available_resources()
    stores = {store.node_id: store.asdict() for store in state.list_stores(timeout=5.0)}
    me = core.get_runtime_context().get_node_id()
    nodes = [
        node
        for node in state.list_nodes(limit=10_000)
        if node.node_id != me or DRIVERS_OWN not in node.labels
    ]
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
                if node.state == "DEAD" and DRIVERS_OWN not in node.labels
            ),
            *(
                {"what": f"actor {actor.class_name}", "why": actor.death_cause or ""}
                for actor in actors
                if actor.state == "DEAD"
            ),
        ],
    }


def lines(report: Report, width: int) -> list[str]:
    """For a terminal of so many columns."""
    living = [node for node in report["nodes"] if node["alive"]]
    objects = report["objects"]
    deaths = _death_lines(report["deaths"][-_MOST_DEATHS:])
    return [
        f"Nodes: {len(living)}",
        *(line for row in _node_rows(living) for line in _packed(row, width)),
        "Resources in use",
        *(f"  {name}: {_used(name, each)}" for name, each in report["resources"].items()),
        f"Actors: {len(report['actors'])}",
        *(line for text in _actor_lines(report["actors"]) for line in _wrapped(text, width)),
        f"References to objects: {objects['references']} ({_mebibytes(objects['bytes'])})",
        *(["Last deaths"] if deaths else []),
        *(line for text in deaths for line in _wrapped(text, width)),
    ]


def _wrapped(text: str, width: int) -> list[str]:
    return wrap(text, width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


def _packed(fields: list[str], width: int) -> list[str]:
    """As many fields in a line as fit; none is divided."""
    packed = [f"  {fields[0]}"]
    for field in fields[1:]:
        if len(packed[-1]) + 2 + len(field.rstrip()) <= width:
            packed[-1] += f"  {field}"
        else:
            packed.append(f"    {field}")
    return [line.rstrip() for line in packed]


def _node_rows(nodes: list[Report]) -> list[list[str]]:
    """What is said of each; the first four fields stand below each other."""
    texts = [
        [node["id"][:12], node["address"], node["name"], "head" if node["head"] else ""]
        for node in nodes
    ]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return [
        [
            *(text.ljust(size) for text, size in zip(row, widths, strict=True)),
            *(f"{name} {_amount(name, amount)}" for name, amount in node["resources"].items()),
            *_store(node["store"]),
        ]
        for row, node in zip(texts, nodes, strict=True)
    ]


def _store(store: Report) -> list[str]:
    if not store:
        return []
    spilled = f", {_mebibytes(store['spilled'])} on disk" if store["spilled"] else ""
    share = store["used"] / store["capacity"]
    return [f"store {_mebibytes(store['used'])} ({share:.0%}){spilled}"]


def _death_lines(deaths: list[Report]) -> list[str]:
    """What died of the same is said once, and how many those were."""
    counts = Counter((death["what"], death["why"].partition("\n")[0]) for death in deaths)
    return [
        f"{what}{f' ({count} times)' if count > 1 else ''}: {why}"
        for (what, why), count in counts.items()
    ]


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
