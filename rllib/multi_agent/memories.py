"""What connectors remember of agents who come, go and skip turns.

    observed: memory of these agents --into--> connectors --on_reset, on_step--> out again

Connectors know rows, not agents. Each time some agents observe, their memories are made the rows of
the connectors, and taken out afterwards.

Legend: B agents of one module.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib.connectors.base import Memory, Pipeline, last_step, step_within
from rllib.multi_agent.agent_state import (
    Agent,
    agents_from_state,
    agents_to_state,
    rows_from_state,
    rows_to_state,
)
from rllib.multi_agent.trajectories import Acted


class AgentMemories:
    """A pipeline of connectors that remember, with the memory of every agent that is there.

    Args:
        pipeline: connected to one row, which is that of an agent who begins.

    Attributes:
        rows: of each agent its part of the connectors' memory.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.blank = _row(pipeline.get_memory() or {}, 0)
        self.rows: dict[Agent, Memory] = {}

    def observe(
        self, agents: Sequence[Agent], obs: NDArray[Any], acted: Sequence[Acted | None]
    ) -> NDArray[Any]:
        """[B, ...] what each of B agents sees when it is to act on ``obs`` [B, ...].

        Args:
            agents: who observe.
            obs: as the environment gave them.
            acted: what each did last, whose reward becomes what the connectors make of it; ``None``
                of one who has just come.
        """
        first = [b for b, done in enumerate(acted) if done is None]
        later = [b for b, done in enumerate(acted) if done is not None]
        if not first:
            return self._go_on(agents, obs, acted)
        if not later:
            return self._begin(agents, obs)
        parts = [
            self._begin([agents[b] for b in first], obs[first]),
            self._go_on([agents[b] for b in later], obs[later], acted),
        ]
        seen: NDArray[Any] = np.concatenate(parts)[np.argsort([*first, *later])]
        return seen

    def _begin(self, agents: Sequence[Agent], obs: NDArray[Any]) -> NDArray[Any]:
        self._load(agents)
        seen = self.pipeline.on_reset(obs)
        self._keep(agents)
        return seen

    def _go_on(
        self, agents: Sequence[Agent], obs: NDArray[Any], acted: Sequence[Acted | None]
    ) -> NDArray[Any]:
        done = [each for each in acted if each is not None]
        self._load(agents)
        step = self.pipeline.on_step(step_within(obs, _rewards(done)), _actions(done))
        self._keep(agents)
        for each, reward in zip(done, step.reward, strict=True):
            each.reward = float(reward)
        return step.obs

    def end(
        self, agent: Agent, obs: NDArray[Any], acted: Acted | None, terminated: bool
    ) -> NDArray[Any]:
        """[...] what an agent that is gone saw last, ``obs`` [...]; nothing is known of it then."""
        self._load([agent])
        self.rows.pop(agent, None)
        if acted is None:
            seen: NDArray[Any] = self.pipeline.on_reset(obs[None])[0]
            return seen
        step = last_step(obs[None], _rewards([acted]), np.array([terminated]))
        step = self.pipeline.on_step(step, _actions([acted]))
        acted.reward = float(step.reward[0])
        last: NDArray[Any] = step.obs[0]
        return last

    def on_actions(self, agents: Sequence[Agent], actions: Any) -> Any:
        """The actions [B, ...] of agents on their way to their environments."""
        self._load(agents)
        in_env = self.pipeline.on_actions(actions)
        self._keep(agents)
        return in_env

    def forget(self, agent: Agent) -> None:
        """The agent is gone without having seen anything."""
        self.rows.pop(agent, None)

    def get_state(self) -> list[Any]:
        """State tree of all memories."""
        return agents_to_state(self.rows.items(), rows_to_state)

    def set_state(self, state: list[Any]) -> None:
        """Go on from `get_state`."""
        self.rows = dict(agents_from_state(state, rows_from_state))

    def _load(self, agents: Sequence[Agent]) -> None:
        if not self.blank:
            return
        rows = [self.rows.get(agent, self.blank) for agent in agents]
        self.pipeline.set_memory({name: np.stack([row[name] for row in rows]) for name in rows[0]})

    def _keep(self, agents: Sequence[Agent]) -> None:
        if not self.blank:
            return
        memory = self.pipeline.get_memory() or {}
        for b, agent in enumerate(agents):
            self.rows[agent] = _row(memory, b)


def _row(memory: Memory, b: int) -> Memory:
    return {name: part[b] for name, part in memory.items()}


def _rewards(acted: Sequence[Acted]) -> NDArray[np.float32]:
    return np.array([each.reward for each in acted], np.float32)


def _actions(acted: Sequence[Acted]) -> NDArray[Any]:
    return np.stack([each.action for each in acted])
