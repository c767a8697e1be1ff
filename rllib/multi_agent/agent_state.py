"""What agents have, one after the other, as state trees."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rllib.checkpoints.array_state import array_from_state, array_to_state

State = Mapping[str, NDArray[Any]]


class Agent(NamedTuple):
    """One agent among all environments."""

    env_index: int
    agent_id: Any


def agents_to_state(
    things: Iterable[tuple[Agent, Any]], to_state: Callable[[Any], Any]
) -> list[Any]:
    """Agents, each with the state tree of what it has, in this order."""
    return [[int(agent.env_index), agent.agent_id, to_state(each)] for agent, each in things]


def agents_from_state(
    state: Iterable[Any], from_state: Callable[[Any], Any]
) -> list[tuple[Agent, Any]]:
    """What `agents_to_state` was given."""
    return [(Agent(env_index, agent_id), from_state(each)) for env_index, agent_id, each in state]


def row_to_state(row: Any) -> Any:
    """One agent's part of an array, be it a number of numpy's, a structured one or an array."""
    return array_to_state(np.asarray(row))


def row_from_state(state: Any) -> Any:
    """The row of `row_to_state`."""
    return array_from_state(state)[()]


def rows_to_state(rows: State) -> dict[str, Any]:
    """Rows by name, such as what a module or a connector remembers of an agent."""
    return {name: row_to_state(row) for name, row in rows.items()}


def rows_from_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """The rows of `rows_to_state`."""
    return {name: row_from_state(each) for name, each in state.items()}
