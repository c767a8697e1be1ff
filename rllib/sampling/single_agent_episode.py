"""An episode of one agent as callbacks see it: what has happened in it so far, step by step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from rllib.absent import NamesNearest

Indices = int | slice | Sequence[int] | None


@dataclass
class SingleAgentEpisode(NamesNearest):
    """An episode under way, from its first observation on; RLlib's names.

    Attributes:
        id_: of this episode and no other of the env runner.
        observations: one more than there are steps, as the environment returned them.
        actions: as the environment got them.
        rewards: as the environment gave them.
        infos: one more than there are steps, as the environment returned them.
        is_terminated: it ended by the environment's own rules.
        is_truncated: it was cut.
        custom_data: the place for what a callback wants to remember of the episode.
    """

    INSTEAD: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("add_temporary_timestep_data", "get_temporary_timestep_data"),
            "custom_data is the place for what a callback wants to remember",
        ),
        "get_extra_model_outputs": "on_sample_end has samples.action_dist_inputs and action_logp",
        "extra_model_outputs": "on_sample_end has samples.action_dist_inputs and action_logp",
    }

    id_: str
    observations: list[Any] = field(default_factory=list)
    actions: list[Any] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    infos: list[dict[str, Any]] = field(default_factory=list)
    is_terminated: bool = False
    is_truncated: bool = False
    custom_data: dict[str, Any] = field(default_factory=dict)

    def add_env_reset(self, observation: Any, info: dict[str, Any] | None = None) -> None:
        """Begin with the first observation."""
        self.observations.append(observation)
        self.infos.append(info or {})

    def add_env_step(
        self,
        observation: Any,
        action: Any,
        reward: float,
        info: dict[str, Any] | None = None,
        *,
        terminated: bool = False,
        truncated: bool = False,
    ) -> None:
        """Add what one step returned."""
        self.observations.append(observation)
        self.actions.append(action)
        self.rewards.append(reward)
        self.infos.append(info or {})
        self.is_terminated, self.is_truncated = terminated, truncated

    @property
    def is_done(self) -> bool:
        """Whether it is over."""
        return self.is_terminated or self.is_truncated

    @property
    def t(self) -> int:
        """Env steps so far."""
        return len(self.rewards)

    env_t = t

    def __len__(self) -> int:
        return self.t

    def get_return(self) -> float:
        """Sum of the rewards so far."""
        return sum(self.rewards)

    def get_observations(self, indices: Indices = None) -> Any:
        """One observation, or a list of them: all, a slice, or those of some indices."""
        return _at(self.observations, indices)

    def get_actions(self, indices: Indices = None) -> Any:
        """One action, or a list of them."""
        return _at(self.actions, indices)

    def get_rewards(self, indices: Indices = None) -> Any:
        """One reward, or a list of them."""
        return _at(self.rewards, indices)

    def get_infos(self, indices: Indices = None) -> Any:
        """One info, or a list of them; the first is that of the reset."""
        return _at(self.infos, indices)


def _at(values: list[Any], indices: Indices) -> Any:
    if indices is None:
        return list(values)
    if isinstance(indices, int | slice):
        return values[indices]
    return [values[index] for index in indices]
