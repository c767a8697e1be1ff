"""The rows of a fragment while it is being collected.

Legend: T rows, N environments, K truncated episodes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib.actions import ActionHead, check_mask, dist_inputs, log_prob
from rllib.batch import SampleBatch
from rllib.envs.faults import check_finite
from rllib.envs.vector import EnvStep
from rllib.modules.observations import ACTION_MASK

State = dict[str, NDArray[Any]]

_COLUMNS = (
    *("obs", "actions", "policy_rows", "rewards"),
    *("terminateds", "truncateds", "reset_rows"),
)


_NONE = np.empty(0, np.int64)


class RolloutBuffer:
    """Collects steps row by row into time-major arrays [T, N, ...], made anew for each fragment.

    The arrays are handed over, not copied: a local learner may still read the last fragment while
    the next one is being filled.

    Args:
        num_rows: T.
        mask_sizes: of the action masks in observations; empty without.

    Attributes:
        is_of_episodes: whether every fragment begins with new episodes, and has whole ones.
    """

    is_of_episodes = False

    def __init__(self, num_rows: int, mask_sizes: Sequence[int] = ()) -> None:
        self.num_rows, self.mask_sizes = num_rows, mask_sizes
        self.begin()

    def begin(self) -> None:
        """Start an empty fragment."""
        self.length = 0
        self.columns: dict[str, NDArray[Any]] = {}
        self.final_obs: list[NDArray[Any]] = []
        self.final_index: list[NDArray[np.int64]] = []
        self.raw_rewards: list[NDArray[np.float32]] = []
        self.failures: list[tuple[int, NDArray[np.bool_]]] = []
        self.states: list[State] = []
        self.state_rows: list[NDArray[np.int64]] = []

    @property
    def is_full(self) -> bool:
        """Whether the fragment is complete."""
        return self.length == self.num_rows

    def keep_states(self, state: State, begins: NDArray[np.bool_]) -> None:
        """Of the row that is added next: the memory [N, ...] of the sequences that begin there."""
        (starts,) = np.nonzero(begins)
        if len(starts):
            self.states.append({name: part[starts] for name, part in state.items()})
            self.state_rows.append(self.length * len(begins) + starts)

    def add(
        self,
        obs: NDArray[Any],
        actions: NDArray[Any],
        rows: NDArray[np.float32],
        step: EnvStep,
    ) -> None:
        """Append one row: what was acted on, what was done, and what came of it."""
        ends = step.terminated, step.truncated, step.is_reset_row
        row = (obs, actions, rows, step.reward, *ends)
        if not self.length:
            self.columns = {
                name: np.empty((self.num_rows, *value.shape), value.dtype)
                for name, value in zip(_COLUMNS, row, strict=True)
            }
        for column, value in zip(self.columns.values(), row, strict=True):
            column[self.length] = value
        if step.raw_reward is not None:
            self.raw_rewards.append(step.raw_reward)
        if step.failed is not None:
            self.failures.append((self.length, step.failed))
        if step.final_obs is not None:
            self._keep_final_obs(step, step.final_obs)
        self.length += 1

    @property
    def returned_rewards(self) -> NDArray[np.float32]:
        """[T, N] the environments' own rewards, whatever is trained on."""
        return np.stack(self.raw_rewards) if self.raw_rewards else self.columns["rewards"]

    @property
    def failed(self) -> NDArray[np.bool_] | None:
        """[T, N] where environments failed and were made anew; ``None`` if none did."""
        if not self.failures:
            return None
        failed = np.zeros((self.length, self._num_envs), np.bool_)
        for row, envs in self.failures:
            failed[row] = envs
        return failed

    @property
    def _num_envs(self) -> int:
        return len(self.columns["rewards"][0])

    def _keep_final_obs(self, step: EnvStep, final_obs: NDArray[Any]) -> None:
        """Of the episodes that ended, only a truncated one is worth anything beyond its end."""
        (cut,) = np.nonzero(step.truncated & ~step.terminated)
        if len(cut):
            self.final_obs.append(final_obs[cut])
            self.final_index.append(self.length * len(step.reward) + cut)

    def check_finite(self, first_step: int, last_obs: NDArray[Any]) -> None:
        """Refuse NaN and infinity in what the environments returned, and masks without an action.

        Args:
            first_step: the vector step that the first row was.
            last_obs: [N, ...] the newest observations, which no row holds yet.

        Raises:
            EnvFault: naming environment, step, field and value.
        """
        if self.columns:
            self._check_rows(first_step)
            if self.mask_sizes:
                self._check_masks(first_step, last_obs)
        check_finite("obs", last_obs[None], first_step - 1 + self.length)

    def _check_rows(self, first_step: int) -> None:
        # Row t holds the observation that step t - 1 returned, and the reward of step t.
        check_finite("obs", self.columns["obs"][: self.length], first_step - 1)
        check_finite("reward", self.columns["rewards"][: self.length], first_step)
        if self.raw_rewards:  # a clipped infinity looks like any other reward
            check_finite("reward", self.returned_rewards[: self.length], first_step)
        for index, final_obs in zip(self.final_index, self.final_obs, strict=True):
            row, envs = index[0] // self._num_envs, index % self._num_envs
            dense = np.zeros((1, self._num_envs, *final_obs.shape[1:]), final_obs.dtype)
            dense[0, envs] = final_obs
            check_finite("final obs", dense, first_step + int(row))

    def _check_masks(self, first_step: int, last_obs: NDArray[Any]) -> None:
        """An ended episode's last observation, on which nobody acts, need not allow anything."""
        rows = {name: column[: self.length] for name, column in self.columns.items()}
        masks = np.concatenate([rows["obs"][ACTION_MASK], last_obs[ACTION_MASK][None]])
        ended = rows["terminateds"][-1] | rows["truncateds"][-1]
        unread = np.concatenate([rows["reset_rows"], ended[None]])
        check_mask(np.where(unread[..., None], 1, masks), self.mask_sizes, first_step - 1)

    def finish(self, head: ActionHead, last_obs: NDArray[Any], weights_seq_no: int) -> SampleBatch:
        """The full fragment; log probabilities are worked out here, in one go."""
        self._finished()
        columns: dict[str, Any] = dict(self.columns)
        rows = columns.pop("policy_rows")
        return SampleBatch(
            **columns,
            action_dist_inputs=dist_inputs(head, rows),
            action_logp=log_prob(head, rows, columns["actions"]),
            last_obs=last_obs,
            final_obs=np.concatenate(self.final_obs) if self.final_obs else last_obs[:0],
            final_index=np.concatenate(self.final_index) if self.final_index else _NONE,
            weights_seq_no=weights_seq_no,
            **self._sequences(),
        )

    def _finished(self) -> None:
        """The last row is in."""

    def _sequences(self) -> dict[str, Any]:
        """The memory's columns; none for a policy without memory."""
        if not self.states:
            return {}
        state = {
            name: np.concatenate([part[name] for part in self.states]) for name in self.states[0]
        }
        return {"state_in": state, "state_rows": np.concatenate(self.state_rows)}
