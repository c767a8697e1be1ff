"""An episode of one agent as callbacks see it: what has happened in it so far, step by step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, ClassVar

from rllib.absent import NamesNearest, refuse_arguments

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
        "to_numpy": "numpy.stack(episode.get_observations()) makes an array",
        "slice": "get_observations(slice(...)) and the like give parts",
        "cut": "an episode is whole: it is not cut where a sample ends",
        "concat_episode": "an episode is whole: it is not cut where a sample ends",
        "get_state": "episodes under way begin anew for callbacks after a restore",
    }
    agent_id: ClassVar[None] = None
    """There is one agent, which has no id, as in RLlib."""
    module_id: ClassVar[None] = None
    """The same of its module."""

    id_: str
    observations: list[Any] = field(default_factory=list)
    actions: list[Any] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    infos: list[dict[str, Any]] = field(default_factory=list)
    is_terminated: bool = False
    is_truncated: bool = False
    custom_data: dict[str, Any] = field(default_factory=dict)
    _began_at: float = field(default=0.0, repr=False, compare=False)
    _ended_at: float = field(default=0.0, repr=False, compare=False)

    def add_env_reset(self, observation: Any, info: dict[str, Any] | None = None) -> None:
        """Begin with the first observation."""
        self._began_at = perf_counter()
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
        if terminated or truncated:
            self._ended_at = perf_counter()

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

    def env_steps(self) -> int:
        """The same as ``t``."""
        return self.t

    agent_steps = env_steps

    def get_duration_s(self) -> float:
        """Seconds from the reset to the last step of an episode that is over, else until now."""
        return (self._ended_at or perf_counter()) - (self._began_at or perf_counter())

    def get_observations(self, indices: Indices = None, **others: Any) -> Any:
        """One observation, or a list of them: all, a slice, or those of some indices."""
        return _at("get_observations", self.observations, indices, others)

    def get_actions(self, indices: Indices = None, **others: Any) -> Any:
        """One action, or a list of them."""
        return _at("get_actions", self.actions, indices, others)

    def get_rewards(self, indices: Indices = None, **others: Any) -> Any:
        """One reward, or a list of them."""
        return _at("get_rewards", self.rewards, indices, others)

    def get_infos(self, indices: Indices = None, **others: Any) -> Any:
        """One info, or a list of them; the first is that of the reset."""
        return _at("get_infos", self.infos, indices, others)


_UNFILLED = {
    "fill": "an episode is whole, so that nothing is missing but what was before its reset",
    "neg_index_as_lookback": "an episode is whole, and has nothing before its reset",
    "one_hot_discrete": "the connector rllib.connectors.OneHot does it for the module",
}
"""Arguments of RLlib's getters, and what there is instead."""


def _at(getter: str, values: list[Any], indices: Indices, others: Mapping[str, Any]) -> Any:
    refuse_arguments(f"SingleAgentEpisode.{getter}", others, _UNFILLED)
    if indices is None:
        return list(values)
    if isinstance(indices, int | slice):
        return values[indices]
    return [values[index] for index in indices]
