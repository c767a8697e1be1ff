"""`list_named_actors`: which names are taken."""

from __future__ import annotations

from typing import Any

from rllib.core import api


def list_named_actors(all_namespaces: bool = False) -> list[Any]:
    """Names of the living actors of this namespace.

    With ``all_namespaces`` a dictionary of ``name`` and ``namespace`` for each actor.
    """
    runtime = api.runtime()
    names = sorted(runtime.actor_names())
    if all_namespaces:
        return [{"name": name, "namespace": namespace} for namespace, name in names]
    return [name for namespace, name in names if namespace == runtime.namespace]
