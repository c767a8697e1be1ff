"""The steps of all agents of one module, as one time-major fragment.

    acted -> rewarded* -> observed | ended        the life of one row of one agent

Agents come, go and skip turns. An agent's row is what it did and what came of it until it was to
act again, so its rewards in between all belong to that row. A column of the fragment is one agent
after the other, each with its own steps alone, however many steps of the environment lay between
them; shorter columns are filled up with reset rows.

Legend: T rows of the longest column, N columns, K truncated agents.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rllib.actions import ActionHead, dist_inputs, log_prob
from rllib.batch import SampleBatch
from rllib.multi_agent.agent_state import (
    Agent,
    agents_from_state,
    agents_to_state,
    row_from_state,
    row_to_state,
    rows_from_state,
    rows_to_state,
)

State = dict[str, NDArray[Any]]


@dataclass(slots=True)
class Acted:
    """A row whose outcome is not known yet; ``reward`` is what came of it so far."""

    obs: Any
    action: Any
    policy_row: NDArray[np.float32]
    state: State
    reward: float = 0.0


class _Row(NamedTuple):
    obs: Any
    action: Any
    policy_row: NDArray[np.float32]
    reward: float
    terminated: bool
    truncated: bool


@dataclass(slots=True)
class _Column:
    """One agent at a time, and the rows of this fragment; ``number`` is that of its stream."""

    number: int
    rows: list[_Row] = field(default_factory=list)
    acted: Acted | None = None
    early_reward: float = 0.0
    newest: Any = None
    age: int = 0
    starts: list[int] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    finals: list[tuple[int, Any]] = field(default_factory=list)


class Trajectories:
    """Collects what the agents of one module do until ``take`` makes a fragment of it.

    Args:
        max_seq_len: rows of the longest sequence of a module with memory.
    """

    def __init__(self, max_seq_len: int) -> None:
        self.max_seq_len = max_seq_len
        self.columns: dict[Agent, _Column] = {}
        self.free: list[_Column] = []
        self.numbers = _Numbers()

    def act(
        self,
        agent: Agent,
        obs: Any,
        action: Any,
        policy_row: NDArray[np.float32],
        state: State,
    ) -> None:
        """An agent acts; what it did before is complete by now.

        Args:
            agent: who, among all agents of all environments.
            obs: what it acted on.
            action: before clipping and stretching to its space.
            policy_row: what the policy gave out for it.
            state: the module's memory before; empty without memory.
        """
        column = self._column(agent)
        assert column.acted is None, f"{agent} acts twice on one observation"
        column.acted = Acted(obs, action, policy_row, state, column.early_reward)
        column.early_reward = 0.0

    def reward(self, agent: Agent, reward: float) -> None:
        """A reward for what the agent did last; one that comes before that waits for it."""
        column = self._column(agent)
        if column.acted is None:
            column.early_reward += reward
        else:
            column.acted.reward += reward

    def acted(self, agent: Agent) -> Acted | None:
        """What the agent did last, of which not all is known yet; ``None`` if it did nothing."""
        column = self.columns.get(agent)
        return None if column is None else column.acted

    def observe(self, agent: Agent, obs: Any) -> None:
        """The agent is to act next, on ``obs``."""
        column = self._column(agent)
        column.newest = obs
        if column.acted is not None:
            self._complete(column, terminated=False, truncated=False)

    def end(self, agent: Agent, terminated: bool, final_obs: Any) -> None:
        """The agent is gone.

        Args:
            agent: who.
            terminated: by the environment's own rules; otherwise it was cut off.
            final_obs: what it saw last, from which a cut is bootstrapped.
        """
        column = self.columns.pop(agent, None)
        if column is None:
            return
        if column.acted is not None:
            if not terminated:
                column.finals.append((len(column.rows), final_obs))
            self._complete(column, terminated, not terminated)
        column.early_reward, column.age = 0.0, 0
        column.newest = final_obs
        self.free.append(column)

    def lose(self, agent: Agent) -> None:
        """What comes of the agent's last action will never be known: it ends before that."""
        column = self.columns.pop(agent, None)
        if column is None:
            return
        if column.acted is not None:
            column.newest, column.acted = column.acted.obs, None
        if column.rows and not (column.rows[-1].terminated or column.rows[-1].truncated):
            column.rows[-1] = column.rows[-1]._replace(truncated=True)
            column.finals.append((len(column.rows) - 1, column.newest))
        if not column.rows:  # no fragment will say that the last one's rows were its end
            column.number = self.numbers.take()
        column.early_reward, column.age = 0.0, 0
        self.free.append(column)

    def get_state(self) -> list[Any]:
        """Of each agent what it did last and saw last, after `take`: between two fragments."""
        assert not self.num_rows, "what is complete has to be taken before"
        return agents_to_state(self.columns.items(), _pending)

    def set_state(self, state: list[Any]) -> None:
        """Go on from `get_state`."""
        self.free.clear()
        self.columns = dict(agents_from_state(state, _column_of))
        # Checkpoints of before say nothing of streams, which begin anew then.
        if len({column.number for column in self.columns.values()}) < len(self.columns):
            for number, column in enumerate(self.columns.values()):
                column.number = number
        self.numbers = _Numbers(column.number for column in self.columns.values())

    def _column(self, agent: Agent) -> _Column:
        column = self.columns.get(agent)
        if column is None:
            column = self.free.pop(0) if self.free else _Column(self.numbers.take())
            self.columns[agent] = column
        return column

    def _complete(self, column: _Column, terminated: bool, truncated: bool) -> None:
        acted = column.acted
        assert acted is not None, "only what was done can be completed"
        if column.age == 0 and acted.state:
            column.starts.append(len(column.rows))
            column.states.append(acted.state)
        column.age = (column.age + 1) % self.max_seq_len
        column.rows.append(
            _Row(acted.obs, acted.action, acted.policy_row, acted.reward, terminated, truncated)
        )
        column.acted = None

    @property
    def num_rows(self) -> int:
        """Complete rows since the last fragment."""
        return sum(len(column.rows) for column in self._all())

    def _all(self) -> list[_Column]:
        return [*self.columns.values(), *self.free]

    def take(self, head: ActionHead, weights_seq_no: int) -> SampleBatch | None:
        """All complete rows as a fragment; ``None`` if there are none.

        Rows whose outcome is not known yet belong to the next fragment.
        """
        full = [column for column in self._all() if column.rows]
        batch = _fragment(full, head, weights_seq_no) if full else None
        for column in self.free:
            self.numbers.give_back(column.number)
        self.free.clear()
        for column in self.columns.values():
            column.rows, column.starts, column.states, column.finals = [], [], [], []
            column.age = 0
        return batch


class _Numbers:
    """Numbers from 0 on, of which the least that nobody has is taken.

    Args:
        taken: by now.
    """

    def __init__(self, taken: Iterable[int] = ()) -> None:
        known = set(taken)
        self._end = max(known, default=-1) + 1
        self._free = [number for number in range(self._end) if number not in known]

    def take(self) -> int:
        if self._free:
            return heappop(self._free)
        self._end += 1
        return self._end - 1

    def give_back(self, number: int) -> None:
        heappush(self._free, number)


def _pending(column: _Column) -> dict[str, Any]:
    acted = column.acted
    return {
        "number": column.number,
        "early_reward": column.early_reward,
        "newest": None if column.newest is None else row_to_state(column.newest),
        "acted": acted
        and {
            "obs": row_to_state(acted.obs),
            "action": row_to_state(acted.action),
            "policy_row": row_to_state(acted.policy_row),
            "state": rows_to_state(acted.state),
            "reward": acted.reward,
        },
    }


def _column_of(state: dict[str, Any]) -> _Column:
    newest, acted = state["newest"], state["acted"]
    return _Column(
        state.get("number", 0),
        early_reward=state["early_reward"],
        newest=None if newest is None else row_from_state(newest),
        acted=acted
        and Acted(
            row_from_state(acted["obs"]),
            row_from_state(acted["action"]),
            row_from_state(acted["policy_row"]),
            rows_from_state(acted["state"]),
            acted["reward"],
        ),
    )


def _fragment(columns: list[_Column], head: ActionHead, weights_seq_no: int) -> SampleBatch:
    T, N = max(len(column.rows) for column in columns), len(columns)
    obs, rewards = _empty(T, N, columns[0].newest), np.zeros((T, N), np.float32)
    first = columns[0].rows[0]
    actions, rows = _empty(T, N, first.action), _empty(T, N, first.policy_row)
    terminateds, truncateds = np.zeros((2, T, N), np.bool_)
    reset_rows = np.ones((T, N), np.bool_)
    for n, column in enumerate(columns):
        length = len(column.rows)
        obs[length:, n] = column.newest
        actions[length:, n], rows[length:, n] = first.action, first.policy_row
        reset_rows[:length, n] = False
        for t, row in enumerate(column.rows):
            obs[t, n], actions[t, n], rows[t, n] = row.obs, row.action, row.policy_row
            rewards[t, n], terminateds[t, n], truncateds[t, n] = row[3:]
    last_obs = np.stack([column.newest for column in columns])
    return SampleBatch(
        obs=obs,
        actions=actions,
        rewards=rewards,
        terminateds=terminateds,
        truncateds=truncateds,
        reset_rows=reset_rows,
        action_dist_inputs=dist_inputs(head, rows),
        action_logp=log_prob(head, rows, actions),
        last_obs=last_obs,
        weights_seq_no=weights_seq_no,
        streams=np.array([column.number for column in columns], np.int64),
        **_finals(columns, last_obs),
        **_sequences(columns),
    )


def _empty(T: int, N: int, example: Any) -> NDArray[Any]:
    array = np.asarray(example)
    return np.empty((T, N, *array.shape), array.dtype)


def _finals(columns: list[_Column], last_obs: NDArray[Any]) -> dict[str, Any]:
    found = [
        (t * len(columns) + n, obs) for n, each in enumerate(columns) for t, obs in each.finals
    ]
    final_obs = np.empty((len(found), *last_obs.shape[1:]), last_obs.dtype)
    for k, (_, obs) in enumerate(found):
        final_obs[k] = obs
    return {
        "final_obs": final_obs,
        "final_index": np.array([index for index, _ in found], np.int64),
    }


def _sequences(columns: list[_Column]) -> dict[str, Any]:
    rows = [t * len(columns) + n for n, each in enumerate(columns) for t in each.starts]
    states = [state for each in columns for state in each.states]
    if not states:
        return {}
    state = {name: np.stack([part[name] for part in states]) for name in states[0]}
    return {"state_in": state, "state_rows": np.array(rows, np.int64)}
