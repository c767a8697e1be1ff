"""A trained policy that is asked for one action at a time, beside training and without a trace.

    observation --connectors--> policy --(with or without noise)--> connectors --> action

Everything is made once per policy; new weights and statistics are taken over when there are some.
What happened before in an episode is remembered by whoever asks: a module's memory as the state
that goes in and comes out, or all of it by an ``ActingEpisode``.
"""

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rllib.actions import choose
from rllib.actions.given import is_given
from rllib.columns import Columns
from rllib.config.names import nearest
from rllib.connectors.base import Connector, Pipeline, step_within
from rllib.connectors.past import PrevActionsPrevRewards
from rllib.envs.make import Spaces
from rllib.envs.packing import row_of
from rllib.envs.vector import EnvStep
from rllib.interface import Interface
from rllib.learning.learner_group import LearnerGroup
from rllib.modules.act_input import ActInput
from rllib.modules.rl_module import State
from rllib.modules.spec import FullSpec
from rllib.seeding import Role, derive_rng
from rllib.workers import fetch

SingleState = dict[str, NDArray[Any]]
"""A module's memory of one episode, by name, without a batch dimension."""


class Answer(NamedTuple):
    """What comes of one observation: the action, the module's next state, what it came from."""

    action: Any
    state: SingleState
    extra: dict[str, Any]


class ActingEpisode:
    """An episode in which a policy is asked step by step; remembers what its connectors need.

    ``Algorithm.begin_episode`` makes it. Each episode, and each environment, has one of its own.

    Args:
        policy: who acts.
        policy_id: its id.
    """

    def __init__(self, policy: "ActingPolicy", policy_id: str) -> None:
        self.policy, self.policy_id = policy, policy_id
        self.pipeline = deepcopy(policy.pipeline)
        self.state = policy.initial_state()
        self.version = policy.version
        self.actions: NDArray[Any] | None = None

    def seen(self, obs: NDArray[Any], prev_reward: float, prev_action: Any) -> NDArray[Any]:
        """[1, ...] an observation [1, ...] as the module sees it after all that was before."""
        if self.version != self.policy.version:
            self.pipeline.set_statistics(self.policy.statistics)
            self.version = self.policy.version
        if self.actions is None:
            return self.pipeline.on_reset(obs)
        done = self.actions if prev_action is None else _like(self.actions, prev_action)
        return self.pipeline.on_step(_step_to(obs, prev_reward), done).obs


class ActingPolicy:
    """A policy and its connectors.

    Args:
        spec: of the module.
        env_spaces: of the environment.
        pipeline: connectors, of which a copy is kept whose statistics stay as they are.
        rng: for exploring.

    Attributes:
        version: of the weights and statistics that were taken over last.
    """

    def __init__(
        self, spec: FullSpec, env_spaces: Spaces, pipeline: Pipeline, rng: np.random.Generator
    ) -> None:
        # A policy seeds its action space, and the one of the spec is shared with env runners.
        self.policy = replace(spec, action_space=deepcopy(spec.action_space)).make_policy()
        self.policy.use_rng(rng)
        self.input, self.rng = ActInput(*env_spaces), rng
        self.pipeline = deepcopy(pipeline).freeze()
        remembering = [each for each in self.pipeline if each.remembers_episodes]
        self.remembering = [type(each).__name__ for each in remembering]
        self.knows_last_step = all(_is_of_last_step(each) for each in remembering)
        self.example: NDArray[Any] | None = None
        self.version: Any = None
        self.statistics: dict[str, Any] = {}

    def take_over(self, weights: Any, statistics: dict[str, Any], version: Any) -> None:
        """Act by these weights and statistics of connectors from now on."""
        self.policy.set_weights(weights)
        self.pipeline.set_statistics(statistics)
        self.statistics, self.version = statistics, version

    def initial_state(self) -> SingleState:
        """The module's memory when an episode begins; empty for one without memory."""
        return _first(self.policy.initial_state(1))

    def act(
        self,
        observation: Any,
        state: Mapping[str, Any] | None,
        prev_reward: float,
        prev_action: Any,
        explore: bool,
        timestep: int,
    ) -> Answer:
        """Answer one observation by itself, or with what was done before it.

        Raises:
            InputError: the observation does not fit its space, has NaN, or forbids everything.
            ValueError: the module or a connector needs what was before.
        """
        initial = self.initial_state()
        is_told = prev_action is not None or _begins(initial, state)
        if self.remembering and not (self.knows_last_step and is_told):
            last = "; or give prev_action and prev_reward" if self.knows_last_step else ""
            raise ValueError(
                f"{', '.join(self.remembering)} remembers the episode: begin one by "
                "episode = algo.begin_episode(), and ask for each of its observations by "
                f"compute_single_action(observation, episode=episode){last}"
            )
        if initial and state is None:
            raise ValueError(
                "this module has a memory: compute_single_action(observation, state) with "
                "algo.get_module().get_initial_state() at first, then with the state that came "
                "out; or begin_episode() and episode=..., which keeps it"
            )
        given = _of_names(initial, state or {})
        obs = self.input.single(observation)
        seen = self.pipeline.on_reset(obs)
        if self.remembering and prev_action is not None:
            done = _like(self._an_action(seen, given), prev_action)
            seen = self.pipeline.on_step(_step_to(obs, prev_reward), done).obs
        return self._act(seen, given, explore, timestep)[0]

    def _an_action(self, obs: NDArray[Any], state: SingleState) -> NDArray[Any]:
        """[1, ...] some action as the module has them."""
        if self.example is None:
            self.example = self._act(obs, state, explore=False, timestep=0)[1]
        return self.example

    def act_in(
        self,
        episode: ActingEpisode,
        observation: Any,
        prev_reward: float,
        prev_action: Any,
        explore: bool,
        timestep: int,
    ) -> Answer:
        """Answer the next observation of an episode; raises `InputError` as ``act`` does."""
        seen = episode.seen(self.input.single(observation), prev_reward, prev_action)
        answer, episode.actions = self._act(seen, episode.state, explore, timestep)
        episode.state = answer.state
        return answer

    def _act(
        self, obs: NDArray[Any], state: SingleState, explore: bool, timestep: int
    ) -> tuple[Answer, NDArray[Any]]:
        """The answer, and the actions [1, ...] as the module has them."""
        batch = {name: part[None] for name, part in state.items()}
        rows, after = self.policy.forward(obs, batch, explore)
        head = self.policy.head.at(timestep) if explore else self.policy.head
        noise = head.draw_noise(self.rng, (1,)) if explore else None
        actions = choose(head, rows, noise)
        in_env = self.pipeline.on_actions(head.to_env(actions))
        extra = {} if is_given(head, rows) else {Columns.ACTION_DIST_INPUTS: rows[0]}
        extra[Columns.ACTIONS] = actions[0]
        return Answer(row_of(in_env, 0), _first(after), extra), actions


def _first(state: State) -> SingleState:
    return {name: np.asarray(part[0]) for name, part in state.items()}


def _of_names(initial: SingleState, given: Mapping[str, Any]) -> SingleState:
    """What was given, as arrays of the right names and shapes.

    Raises:
        ValueError: it is the state of another module.
    """
    state = {
        name: np.asarray(part, initial[name].dtype)
        for name, part in given.items()
        if name in initial
    }
    shapes = {name: part.shape for name, part in initial.items()}
    if given.keys() != initial.keys() or {k: v.shape for k, v in state.items()} != shapes:
        found = {name: np.shape(part) for name, part in given.items()}
        raise ValueError(
            f"state should be one episode's, of shapes {shapes}, got {found}; it begins as "
            "algo.get_module().get_initial_state()"
        )
    return state


def _begins(initial: SingleState, given: Mapping[str, Any] | None) -> bool:
    """Whether a state that was given is that of a module with memory where an episode begins."""
    if not initial or given is None:
        return False
    state = _of_names(initial, given)
    return all(np.array_equal(part, state[name]) for name, part in initial.items())


def _is_of_last_step(connector: Connector) -> bool:
    """Whether a connector remembers nothing but what may be told with an observation."""
    if not isinstance(connector, PrevActionsPrevRewards):
        return False
    return max(connector.n_actions, connector.n_rewards) == 1


def _step_to(obs: NDArray[Any], reward: float) -> EnvStep:
    return step_within(obs, np.asarray([reward], np.float32))


def _like(actions: NDArray[Any], action: Any) -> NDArray[Any]:
    return np.asarray(action, actions.dtype).reshape(actions.shape)


class Acting:
    """The policies of an algorithm that are asked beside training, each made when it first is.

    Args:
        interface: of the algorithm's environments.
        learner_group: where weights come from.
        spec_of: how a module is made, by its id.
        seed: of the algorithm.
    """

    def __init__(
        self,
        interface: Interface,
        learner_group: LearnerGroup,
        spec_of: Callable[[str], FullSpec],
        seed: int,
    ) -> None:
        self.interface, self.learner_group = interface, learner_group
        self.spec_of, self.seed = spec_of, seed
        self.policies: dict[str, ActingPolicy] = {}

    def policy(self, policy_id: str | None, version: Any) -> ActingPolicy:
        """A policy with the present weights and statistics of connectors.

        Args:
            policy_id: which; by default the first.
            version: another one than before if statistics may have changed; weights that change
                are noticed.

        Raises:
            ConfigError: there is no such policy.
        """
        policy_id = policy_id or self.interface.module_ids[0]
        if policy_id not in self.policies:
            self.policies[policy_id] = self._make(policy_id)
        policy, now = self.policies[policy_id], (self.learner_group.version, version)
        if policy.version != now:
            weights = fetch(self.learner_group.get_weights())
            statistics = self.interface.pipeline_of(policy_id).get_statistics()
            policy.take_over(self.interface.of_module(weights, policy_id), statistics, now)
        return policy

    def _make(self, policy_id: str) -> ActingPolicy:
        spec = self.spec_of(policy_id)  # refuses an id that there is not
        index = self.interface.module_ids.index(policy_id)
        return ActingPolicy(
            spec,
            self.interface.env_spaces_of(policy_id),
            self.interface.pipeline_of(policy_id),
            derive_rng(self.seed, Role.ACTING, index),
        )


NOT_ASKED = {
    "input_dict": "give the observation, and with it state, prev_action and prev_reward",
    "info": "policies read observations alone; let an observation hold what is to be known",
    "unsquash_action": "actions are the environment's by environment(normalize_actions=...)",
    "clip_action": "actions are the environment's by environment(clip_actions=...)",
}
"""Arguments of RLlib's ``compute_single_action`` that there are not, and what there is instead."""


def refuse(others: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raise ``TypeError`` for arguments that ``compute_single_action`` does not have."""
    for name in (name for name, value in others.items() if value is not None):
        near = nearest(name, known)
        hint = NOT_ASKED.get(name) or (f"did you mean {near!r}?" if near else "there is none")
        raise TypeError(f"compute_single_action() has no argument {name!r}: {hint}")
