"""Steps environments of several agents by the current policies; cf. ``rllib.sampling.env_runner``.

    waiting observations --by module--> policy --actions--> environments --> trajectories by module

Legend: E environments, B agents of one module that act at the same time.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from time import perf_counter, time
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rllib import core
from rllib.absent import NamesNearest, refuse_arguments
from rllib.actions import check_mask, choose, mask_sizes, uniform_head
from rllib.actions.noise import CorrelatedNoise
from rllib.batch import SampleBatch
from rllib.callbacks import Callbacks
from rllib.config import AlgorithmConfig
from rllib.envs.multi_agent_vector import AgentStep, MultiAgentVector
from rllib.envs.packing import row_of
from rllib.envs.single_state import StateMisfitError
from rllib.metrics.metrics_logger import MetricsLogger
from rllib.modules.multi_rl_module import MultiRLModule
from rllib.modules.observations import ACTION_MASK
from rllib.multi_agent.agent_state import (
    Agent,
    agents_from_state,
    agents_to_state,
    row_from_state,
    row_to_state,
    rows_from_state,
    rows_to_state,
)
from rllib.multi_agent.memories import AgentMemories
from rllib.multi_agent.modules import (
    ModuleSpaces,
    connected_pipeline,
    module_config,
    multi_agent_creator,
)
from rllib.multi_agent.trajectories import Trajectories
from rllib.policies.policy import make_policy
from rllib.sampling.endless import EndWatch, evaluation_watch, training_watch
from rllib.sampling.env_runner import AgentCounts, SampleStats, env_context, env_errors
from rllib.sampling.episodes import Episode, OpenEnd
from rllib.sampling.inspection import NOT_SAMPLED, Inspected, SpacePair, acting_module
from rllib.sampling.whole_episodes import EpisodeCount
from rllib.seeding import Role, derive_rng, derive_seed, rng_state, set_rng_state

MultiAgentBatch = dict[str, SampleBatch]
"""Fragments by module id; modules whose agents did nothing are missing."""


Waiting = dict[str, list[tuple[Agent, NDArray[Any]]]]
"""Agents that are to act on what they observed, by module id."""


@dataclass
class MultiAgentEpisode(NamesNearest):
    """An episode under way, as ``policy_mapping_fn`` gets it.

    Attributes:
        id_: of this episode and no other of the run.
        env_index: which environment plays it.
        returns: undiscounted rewards so far, by agent.
        steps: of each agent.
        modules: who acts for each agent: settled when an agent appears, for the whole episode.
        length: env steps so far.
        custom_data: the place for what a callback wants to remember of the episode.
    """

    INSTEAD: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("add_temporary_timestep_data", "get_temporary_timestep_data"),
            "custom_data is the place for what a callback wants to remember",
        ),
        **dict.fromkeys(
            ("get_observations", "get_actions", "get_rewards", "get_infos"),
            "steps of several agents are not kept for callbacks; on_sample_end has them by module",
        ),
        "agent_episodes": "returns and steps are by agent",
        "get_agents_to_act": "agent_ids are all that have appeared; steps counts those of each",
        "get_agents_that_stepped": "steps counts those of each agent",
    }

    id_: str
    env_index: int
    returns: dict[Any, float] = field(default_factory=lambda: defaultdict(float))
    steps: dict[Any, int] = field(default_factory=lambda: defaultdict(int))
    modules: dict[Any, str] = field(default_factory=dict)
    length: int = 0
    custom_data: dict[str, Any] = field(default_factory=dict)

    @property
    def agent_ids(self) -> list[Any]:
        """All agents that have appeared."""
        return list(self.modules)

    def module_for(self, agent_id: Any) -> str | None:
        """Who acts for an agent; ``None`` of one that has not appeared."""
        return self.modules.get(agent_id)

    @property
    def env_t(self) -> int:
        """The same as ``length``."""
        return self.length

    @property
    def episode_id(self) -> str:
        """The same as ``id_``."""
        return self.id_

    def get_return(self) -> float:
        """Sum over all agents."""
        return sum(self.returns.values())

    def env_steps(self) -> int:
        """The same as ``length``."""
        return self.length

    def agent_steps(self) -> int:
        """Steps of all agents."""
        return sum(self.steps.values())

    def __len__(self) -> int:
        return self.length

    def get_state(self) -> dict[str, Any]:
        """State tree, without ``custom_data``."""
        by_agent = (self.returns, self.steps, self.modules)
        return {
            "id": self.id_,
            "length": self.length,
            "by_agent": [[[*each] for each in column.items()] for column in by_agent],
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from ``get_state``."""
        self.id_, self.length = state["id"], state["length"]
        returns, steps, modules = ((tuple(each) for each in column) for column in state["by_agent"])
        self.returns.update(returns)
        self.steps.update(steps)
        self.modules.update(modules)

    def summary(self) -> Episode:
        """What is reported of it; a module's return is the mean over its agents."""
        by_module: dict[str, list[float]] = defaultdict(list)
        for agent_id, module_id in self.modules.items():
            by_module[module_id].append(self.returns.get(agent_id, 0.0))
        return Episode(
            self.get_return(),
            self.length,
            {str(agent_id): self.returns.get(agent_id, 0.0) for agent_id in self.modules},
            {module_id: sum(each) / len(each) for module_id, each in by_module.items()},
        )


class Actor:
    """A module in an env runner: its policy, connectors, and what its agents do and remember."""

    def __init__(self, config: AlgorithmConfig, spaces: Any, is_training: bool) -> None:
        self.pipeline, seen = connected_pipeline(config, spaces)
        if not is_training:
            self.pipeline.freeze()
        self.mask_sizes = mask_sizes(seen.observation, seen.action)
        self.env_spaces, self.spec = spaces, config.get_rl_module_spec(seen)
        self.policy, self.max_seq_len = make_policy(config, self.spec), self.spec.max_seq_len
        self.weights: Mapping[str, Any] | None = None
        self.head = self.policy.head
        self.initial = self.policy.initial_state(1)
        self.noise = CorrelatedNoise(config.exploration_noise_correlation, self.head)
        is_rowwise = all(each.is_rowwise for each in self.pipeline)
        self.memories = None if is_rowwise else AgentMemories(self.pipeline)
        self.forget()

    def set_weights(self, weights: Mapping[str, Any]) -> None:
        """Act by these from now on."""
        self.policy.set_weights(weights)
        self.weights = weights

    def explore_by(self, timestep: int, random_actions: bool, is_correlated: bool) -> None:
        """Act by the head of this timestep, or at random; maybe in a direction kept for a while."""
        head = self.policy.head
        self.head = uniform_head(head) if random_actions else head.at(timestep)
        self.noise.set_timestep(timestep)
        self.is_correlated = is_correlated and self.noise.correlation > 0

    def forget(self) -> None:
        """Begin without any agents."""
        self.trajectories = Trajectories(self.max_seq_len)
        self.noises: dict[Agent, NDArray[np.float32]] = {}
        self.states: dict[Agent, dict[str, NDArray[Any]]] = {}
        if self.memories is not None:
            self.memories.rows.clear()

    def get_state(self) -> dict[str, Any]:
        """State tree of what its agents do and remember, and of its connectors."""
        return {
            "trajectories": self.trajectories.get_state(),
            "noises": agents_to_state(self.noises.items(), row_to_state),
            "states": agents_to_state(self.states.items(), rows_to_state),
            "memories": [] if self.memories is None else self.memories.get_state(),
            "connectors": self.pipeline.get_state(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from ``get_state``."""
        self.pipeline.set_state(state["connectors"])
        self.trajectories.set_state(state["trajectories"])
        self.noises = dict(agents_from_state(state["noises"], row_from_state))
        self.states = dict(agents_from_state(state["states"], rows_from_state))
        if self.memories is not None:
            self.memories.set_state(state["memories"])

    def prepared(self, agents: list[Agent], obs: list[NDArray[Any]]) -> NDArray[Any]:
        """[B, ...] what agents see who are to act next: observations through the connectors."""
        if self.memories is None:
            return self.pipeline.on_reset(np.stack(obs))
        acted = [self.trajectories.acted(agent) for agent in agents]
        return self.memories.observe(agents, np.stack(obs), acted)

    def act(
        self,
        agents: list[Agent],
        obs: NDArray[Any],
        rng: np.random.Generator,
        explore: bool,
        step: int,
    ) -> list[Any]:
        """What each of B agents does on ``obs`` [B, ...], as its environment wants it.

        Raises:
            EnvFault: a mask forbids an agent everything; it was seen in vector step ``step``.
        """
        if self.mask_sizes:
            check_mask(obs[ACTION_MASK][None], self.mask_sizes, step, agents)
        head = self.head
        before = [self.states.get(agent, self._initial_row) for agent in agents]
        state = {name: np.stack([row[name] for row in before]) for name in self.initial}
        rows, after = self.policy.forward(obs, state, explore)
        noise = head.draw_noise(rng, (len(agents),))
        if self.is_correlated:
            noise = self._correlated(agents, noise)
        actions = choose(head, rows, noise if explore else None)
        for b, agent in enumerate(agents):
            self.trajectories.act(agent, obs[b], actions[b], rows[b], before[b])
            if after:
                self.states[agent] = {name: part[b] for name, part in after.items()}
        in_env = head.to_env(actions)
        if self.memories is None:
            in_env = self.pipeline.on_actions(in_env)
        else:
            in_env = self.memories.on_actions(agents, in_env)
        return [row_of(in_env, b) for b in range(len(agents))]

    def _correlated(self, agents: list[Agent], white: NDArray[np.float32]) -> NDArray[np.float32]:
        """[B, A] noise that resembles what each agent had last."""
        self.noise.last = np.stack(
            [self.noises.get(agent, own) for agent, own in zip(agents, white, strict=True)]
        )
        noise: NDArray[np.float32] = self.noise.of(white[None])[0]
        self.noises.update(zip(agents, noise, strict=True))
        return noise

    @property
    def _initial_row(self) -> dict[str, NDArray[Any]]:
        return {name: part[0] for name, part in self.initial.items()}

    def lose(self, agent: Agent) -> None:
        """The agent's environment has failed."""
        self.states.pop(agent, None)
        self.noises.pop(agent, None)
        if self.memories is not None:
            self.memories.forget(agent)
        self.trajectories.lose(agent)

    def end(self, agent: Agent, terminated: bool, final_obs: NDArray[Any] | None) -> None:
        """The agent is gone; its noise goes on should it come again, as over episodes."""
        self.states.pop(agent, None)
        if self.memories is not None:
            final_obs = self._last_seen(self.memories, agent, terminated, final_obs)
        elif final_obs is not None:
            final_obs = self.pipeline.on_reset(final_obs[None])[0]
        self.trajectories.end(agent, terminated, final_obs)

    def _last_seen(
        self,
        memories: AgentMemories,
        agent: Agent,
        terminated: bool,
        final_obs: NDArray[Any] | None,
    ) -> NDArray[Any] | None:
        if final_obs is None:
            memories.forget(agent)
            return None
        return memories.end(agent, final_obs, self.trajectories.acted(agent), terminated)


class MultiAgentEnvRunner(Inspected):
    """E environments, one policy per module, one random stream.

    Args:
        config: the algorithm's configuration.
        spaces: of the agents of each module.
        index: 0-based; the only thing in which two env runners of an algorithm differ.
        is_training: otherwise it only plays, and what it sees changes no statistics.
    """

    def __init__(
        self, config: AlgorithmConfig, spaces: ModuleSpaces, index: int, is_training: bool = True
    ) -> None:
        self.config, self.index, self.explore = config, index, config.explore
        self.actors = {
            module_id: Actor(module_config(config, module_id), each, is_training)
            for module_id, each in sorted(spaces.items())
        }
        self.num_rows = config.get_rollout_fragment_length()
        self.weights_seq_no = self.last_ended_play = 0
        self.num_episodes = 0
        context = env_context(config, index)
        with env_errors():
            self.env = MultiAgentVector(
                multi_agent_creator(config),
                config.num_envs_per_env_runner,
                context,
                is_checked=not config.disable_env_checking,
                restarts=config.restart_failed_sub_environments,
            )
        self.metrics = MetricsLogger()
        self.callbacks = Callbacks.of(config)
        self._call("on_environment_created", env_context=context)
        self.reset(generation=0)

    def _call(self, hook: str, **arguments: Any) -> None:
        common = {"env_runner": self, "metrics_logger": self.metrics, "env": self.env}
        with np.errstate(all="warn"):
            self.callbacks.call(hook, **common, **arguments)

    def _tell(self, hook: str, env_index: int, **arguments: Any) -> None:
        """Call the callbacks of an episode; they get all modules that act here."""
        if hook in self.callbacks:
            modules = {name: getattr(a.policy, "module", None) for name, a in self.actors.items()}
            common = {"env_index": env_index, "rl_module": modules}
            self._call(hook, episode=self.episodes[env_index], **common, **arguments)

    @property
    def module(self) -> MultiRLModule:
        """The modules that act; copies of them where small networks act in numpy."""
        modules = {k: acting_module(a.policy, a.spec, a.weights) for k, a in self.actors.items()}
        return MultiRLModule(modules)

    def get_spaces(self) -> dict[str, SpacePair]:
        """(observation space, action space) as each module sees them, by its id."""
        specs = {name: actor.spec for name, actor in self.actors.items()}
        return {name: (each.observation_space, each.action_space) for name, each in specs.items()}

    def apply(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call ``function(self, *args)`` where the env runner lives; returns what it returns."""
        return function(self, *args)

    def reset(self, generation: int) -> None:
        """Begin new episodes everywhere, with the random streams of this ``generation``."""
        root = self.config.seed
        self.rng = derive_rng(root, Role.ENV_RUNNER, self.index, generation)
        self.generation = generation
        for actor in self.actors.values():
            actor.forget()
            actor.policy.use_rng(self.rng)
        self.episodes = [self._new_episode(index) for index in range(self.env.num_envs)]
        for index in range(self.env.num_envs):
            self._tell("on_episode_created", index)
        with env_errors():
            first = self.env.reset(derive_seed(root, Role.ENVIRONMENT, self.index, generation))
        self.waiting: Waiting = defaultdict(list)
        for index, obs in enumerate(first):
            self._observe(index, obs)
            self._tell("on_episode_start", index)

    def _new_episode(self, env_index: int) -> MultiAgentEpisode:
        self.num_episodes += 1
        id_ = f"{self.index}-{self.generation}-{self.num_episodes}"
        return MultiAgentEpisode(id_, env_index)

    def set_weights(self, weights: dict[str, Any], seq_no: int) -> None:
        """Act by these weights, by module id, from now on; ``seq_no`` counts the syncs."""
        for module_id, each in weights.items():
            self.actors[module_id].set_weights(each)
        self.weights_seq_no = seq_no

    def set_statistics(self, statistics: dict[str, Any]) -> None:
        """Take over what the connectors of all env runners have seen together, by module id."""
        for module_id, each in statistics.items():
            self.actors[module_id].pipeline.set_statistics(each)

    @core.method(num_returns=2)
    def sample(
        self, timestep: int = 0, random_actions: bool = False, **others: Any
    ) -> tuple[MultiAgentBatch, SampleStats]:
        """Step the environments for one fragment.

        In one of whole episodes an environment rests before its next episode until all have played
        enough.

        What an agent did last counts when it is known what came of it: in a later fragment, if the
        agent is neither asked again nor gone within this one.

        Args:
            timestep: ``num_env_steps_sampled_lifetime``, which schedules of exploration go by.
            random_actions: whether every action is as likely as any other, whatever the policy.
            others: RLlib's other arguments may be ``None``.

        Raises:
            EnvError: an environment raised or returned what cannot be trained on.
        """
        if others:
            refuse_arguments(f"{type(self).__name__}.sample", others, NOT_SAMPLED)
        tally = Tally(self.config.count_steps_by == "agent_steps")
        for actor in self.actors.values():
            actor.explore_by(timestep, random_actions, is_correlated=not random_actions)
        if self.config.batch_mode == "complete_episodes":
            count = tally.whole = EpisodeCount(self.num_rows, self.env.num_envs)
            tally.watch = training_watch(self.config)
            self._play(tally, lambda: not count.is_open.any())
        else:
            wanted = self.num_rows * self.env.num_envs
            self._play(tally, lambda: tally.num_steps >= wanted)
        batches = {
            module_id: actor.trajectories.take(actor.head, self.weights_seq_no)
            for module_id, actor in self.actors.items()
        }
        fragments = {name: each for name, each in batches.items() if each is not None}
        self._call("on_sample_end", samples=fragments)
        stats = tally.stats(
            {name: actor.pipeline.take_news() for name, actor in self.actors.items()}
        )
        return fragments, stats._replace(metrics=self.metrics.reduce())

    def play(
        self,
        duration: int | OpenEnd,
        unit: str,
        generation: int | None = None,
        timestep: int = 0,
    ) -> SampleStats:
        """Play for evaluation; see ``EnvRunner.play``."""
        if generation is not None:
            self.reset(generation)
        tally = Tally()
        for actor in self.actors.values():
            actor.explore_by(timestep, random_actions=False, is_correlated=False)
        if isinstance(duration, OpenEnd):
            end = duration
            self._play(tally, lambda: end.is_reached(tally.num_env_steps, self.last_ended_play))
        elif unit == "episodes":
            share, rest = divmod(duration, self.env.num_envs)
            tally.missing = [share + (e < rest) for e in range(self.env.num_envs)]
            tally.watch = evaluation_watch(self.config)
            self._play(tally, lambda: not any(tally.missing or ()))
        else:
            self._play(tally, lambda: tally.num_env_steps >= duration)
        for actor in self.actors.values():
            actor.trajectories.take(actor.head, self.weights_seq_no)
        return tally.stats({})._replace(metrics=self.metrics.reduce())

    def end_plays(self, number: int) -> None:
        """Bring plays with an open end to it, up to the one of this number."""
        self.last_ended_play = number

    def _play(self, tally: "Tally", is_enough: Callable[[], bool]) -> None:
        started = perf_counter()
        with env_errors(), np.errstate(all="ignore"):
            while not is_enough():
                self._step(tally)
        tally.sample_s = perf_counter() - started

    def _step(self, tally: "Tally") -> None:
        started = perf_counter()
        playing = tally.playing(self.env.num_envs)
        actions: dict[int, dict[Any, Any]] = {int(index): {} for index in playing}
        for module_id, waiting in sorted(self._take_waiting(actions).items()):
            agents, obs = [agent for agent, _ in waiting], np.stack([each for _, each in waiting])
            acted = self.actors[module_id].act(
                agents, obs, self.rng, self.explore, self.env.num_steps
            )
            for agent, action in zip(agents, acted, strict=True):
                actions[agent.env_index][agent.agent_id] = action
                self.episodes[agent.env_index].steps[agent.agent_id] += 1
                tally.count(module_id, agent.agent_id)
        before = perf_counter()
        tally.inference_s += before - started
        found = self.env.step([actions.get(index) for index in range(self.env.num_envs)])
        tally.env_step_s += perf_counter() - before
        steps = {index: step for index, step in enumerate(found) if step is not None}
        for index, step in steps.items():
            self._take(index, step, tally)
        tally.count_steps(actions, {e: step for e, step in steps.items() if not step.failed})

    def _take_waiting(self, playing: Collection[int]) -> Waiting:
        """Those who act now; whose environments rest are still waiting."""
        ready, self.waiting = self.waiting, defaultdict(list)
        if len(playing) == self.env.num_envs:
            return ready
        acting: Waiting = defaultdict(list)
        for module_id, waiting in ready.items():
            for agent, obs in waiting:
                their = acting if agent.env_index in playing else self.waiting
                their[module_id].append((agent, obs))
        return acting

    def _take(self, index: int, step: AgentStep, tally: "Tally") -> None:
        """What came of one environment's step."""
        if step.failed:
            self._lose(index, step, tally)
            return
        episode = self.episodes[index]
        episode.length += 1
        for agent_id, reward in step.rewards.items():
            episode.returns[agent_id] += reward
            actor = self.actors[self._module_of(index, agent_id)]
            actor.trajectories.reward(Agent(index, agent_id), reward)
        for agent_id, end in step.ends.items():
            actor = self.actors[self._module_of(index, agent_id)]
            actor.end(Agent(index, agent_id), end.terminated, end.final_obs)
        self._tell("on_episode_step", index)
        if step.is_over:
            tally.add(episode)
            self._tell("on_episode_end", index, prev_episode_chunks=[])
            self.episodes[index] = self._new_episode(index)
            self._tell("on_episode_created", index)
        self._observe(index, step.obs)
        if step.is_over:
            self._tell("on_episode_start", index)

    def _lose(self, index: int, step: AgentStep, tally: "Tally") -> None:
        """The environment failed, and another one has begun in its place."""
        tally.num_failures += 1
        for agent_id, module_id in self.episodes[index].modules.items():
            self.actors[module_id].lose(Agent(index, agent_id))
        self.episodes[index] = self._new_episode(index)
        self._tell("on_episode_created", index)
        self._observe(index, step.obs)
        self._tell("on_episode_start", index)

    def _observe(self, index: int, obs: dict[Any, NDArray[Any]]) -> None:
        """The agents that act next, and what the connectors make of their observations."""
        by_module: dict[str, list[Agent]] = defaultdict(list)
        for agent_id in obs:
            by_module[self._module_of(index, agent_id)].append(Agent(index, agent_id))
        for module_id, agents in by_module.items():
            actor = self.actors[module_id]
            prepared = actor.prepared(agents, [obs[agent.agent_id] for agent in agents])
            for agent, row in zip(agents, prepared, strict=True):
                actor.trajectories.observe(agent, row)
                self.waiting[module_id].append((agent, row))

    def _module_of(self, index: int, agent_id: Any) -> str:
        episode = self.episodes[index]
        if agent_id not in episode.modules:
            episode.modules[agent_id] = self.config.get_module_id(agent_id, episode)
        return episode.modules[agent_id]

    def get_state(self) -> dict[str, Any]:
        """State tree; empty where that of the environments cannot be had."""
        env_state = self.env.get_state()
        if env_state is None:
            return {}
        waiting = {k: agents_to_state(each, row_to_state) for k, each in self.waiting.items()}
        last_seen = [
            agents_to_state(((Agent(index, k), obs) for k, obs in seen.items()), row_to_state)
            for index, seen in enumerate(self.env.last_seen)
        ]
        return {
            "env": env_state,
            "last_seen": last_seen,
            "rng": rng_state(self.rng),
            "counts": [self.generation, self.num_episodes],
            "episodes": [episode.get_state() for episode in self.episodes],
            "waiting": waiting,
            "actors": {name: actor.get_state() for name, actor in self.actors.items()},
        }

    def set_state(self, state: dict[str, Any] | None, generation: int) -> bool:
        """Go on from ``get_state``; see ``EnvRunner.set_state``."""
        if not state or not self._took_envs(state):
            self.reset(generation)
            return False
        set_rng_state(self.rng, state["rng"])
        self.generation, self.num_episodes = state["counts"]
        for name, actor in self.actors.items():
            actor.set_state(state["actors"][name])
        self.waiting = defaultdict(list)
        for name, each in state["waiting"].items():
            self.waiting[name] = agents_from_state(each, row_from_state)
        for episode, told in zip(self.episodes, state["episodes"], strict=True):
            episode.set_state(told)
            # For callbacks it begins here: what they had put into custom_data is gone.
            self._tell("on_episode_created", episode.env_index)
            self._tell("on_episode_start", episode.env_index)
        return True

    def _took_envs(self, state: dict[str, Any]) -> bool:
        """Whether environments and modules are those of the state, and the first now have it."""
        if state["actors"].keys() != self.actors.keys():
            return False
        last_seen = [
            {agent.agent_id: obs for agent, obs in agents_from_state(each, row_from_state)}
            for each in state["last_seen"]
        ]
        try:
            self.env.set_state(state["env"], last_seen)
        except StateMisfitError:
            return False
        return True

    def stop(self) -> None:
        """Close the environments."""
        self.env.close()


class Tally:
    """What the algorithm wants to know of a fragment.

    Args:
        in_agent_steps: whether steps are those of all agents together, or of the environments.

    Attributes:
        missing: episodes that each environment has still to end, if a number of them is wanted.
        whole: which environments play on, if whole episodes of a number of steps are wanted.
        watch: of either, is asked after every step whether that takes too long.
    """

    def __init__(self, in_agent_steps: bool = False) -> None:
        self.in_agent_steps = in_agent_steps
        self.num_env_steps = self.num_failures = 0
        self.sample_s = self.env_step_s = self.inference_s = 0.0
        self.episodes: list[Episode] = []
        self.missing: list[int] | None = None
        self.whole: EpisodeCount | None = None
        self.watch: EndWatch | None = None
        self.by_agent: dict[str, int] = defaultdict(int)
        self.by_module: dict[str, int] = defaultdict(int)

    @property
    def num_steps(self) -> int:
        """Steps so far."""
        return sum(self.by_agent.values()) if self.in_agent_steps else self.num_env_steps

    def playing(self, num_envs: int) -> Iterable[int]:
        """The environments that are to be stepped, out of ``num_envs``."""
        return range(num_envs) if self.whole is None else np.flatnonzero(self.whole.is_open)

    def count_steps(
        self, actions: Mapping[int, Mapping[Any, Any]], steps: Mapping[int, AgentStep]
    ) -> None:
        """Environments were stepped with the actions of their agents.

        Raises:
            TrainingError: no episode has ended for too long.
        """
        self.num_env_steps += len(steps)
        if self.whole is not None:
            self._count_whole(self.whole, actions, steps)
        if self.watch is not None:
            self.watch.look(len(self.episodes), self._waited_for())

    def _waited_for(self) -> list[int]:
        """The environments of which episodes are still to end."""
        wanted = (self.missing or ()) if self.whole is None else self.whole.is_open
        return [index for index, is_wanted in enumerate(wanted) if is_wanted]

    def _count_whole(
        self,
        whole: EpisodeCount,
        actions: Mapping[int, Mapping[Any, Any]],
        steps: Mapping[int, AgentStep],
    ) -> None:
        num_steps, is_over = np.zeros((2, len(whole.is_open)), np.int64)
        for index, step in steps.items():
            num_steps[index] = len(actions[index]) if self.in_agent_steps else 1
            is_over[index] = step.is_over
        whole.add(num_steps, is_over > 0)

    def count(self, module_id: str, agent_id: Any) -> None:
        """An agent took a step."""
        self.by_agent[str(agent_id)] += 1
        self.by_module[module_id] += 1

    def add(self, episode: MultiAgentEpisode) -> None:
        """An episode is over; one too many of its environment does not count."""
        if self.missing is not None:
            if not self.missing[episode.env_index]:
                return
            self.missing[episode.env_index] -= 1
        self.episodes.append(episode.summary())

    def stats(self, news: dict[str, Any]) -> SampleStats:
        """All of it, as a record."""
        return SampleStats(
            self.num_env_steps,
            self.episodes,
            self.sample_s,
            self.env_step_s,
            AgentCounts(dict(self.by_agent), dict(self.by_module)),
            {module_id: each for module_id, each in news.items() if each},
            inference_s=self.inference_s,
            ended_at=time(),
            num_failures=self.num_failures,
        )
