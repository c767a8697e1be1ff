"""Steps a vector environment with the current policy and returns rollout fragments.

    weights -> EnvRunner.set_weights          EnvRunner.sample -> SampleBatch, SampleStats

An env runner lives in the main process or in an actor and cannot tell which.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from time import perf_counter, time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rllib import core
from rllib.absent import refuse_arguments
from rllib.actions import choose, mask_sizes, uniform_head
from rllib.actions.noise import CorrelatedNoise
from rllib.batch import SampleBatch
from rllib.callbacks import Callbacks
from rllib.checkpoints.array_state import array_from_state, array_like, array_to_state
from rllib.config import AlgorithmConfig
from rllib.connectors.build import build_pipeline
from rllib.envs.bounds import Bounds
from rllib.envs.context import EnvContext
from rllib.envs.faults import EnvFault
from rllib.envs.make import Spaces, make_vector_env
from rllib.envs.packing import leaves
from rllib.envs.single_state import StateMisfitError
from rllib.envs.snapshot import get_env_state, set_env_state
from rllib.envs.vector import EnvStep
from rllib.errors import EnvError
from rllib.metrics.metrics_logger import MetricsLogger
from rllib.modules.rl_module import RLModule
from rllib.policies.memory import PolicyMemory
from rllib.policies.policy import make_policy
from rllib.sampling.endless import evaluation_watch, training_watch
from rllib.sampling.episode_hooks import EpisodeHooks
from rllib.sampling.episodes import Episode, EpisodeTally, EpisodeTracker, OpenEnd, StepTally
from rllib.sampling.inspection import (
    ENV,
    NOT_SAMPLED,
    WHOLE,
    Inspected,
    SpacePair,
    acting_module,
)
from rllib.sampling.rollout import RolloutBuffer
from rllib.sampling.whole_episodes import EpisodeBuffer
from rllib.seeding import Role, derive_rng, derive_seed, draw_seed, rng_state, set_rng_state


class AgentCounts(NamedTuple):
    """Steps that agents took in a fragment: by agent, and by the module that acted for them."""

    by_agent: dict[str, int]
    by_module: dict[str, int]


class SampleStats(NamedTuple):
    """What the algorithm wants to know of a fragment, without touching the fragment.

    ``sample_s``, ``env_step_s`` and ``inference_s`` are wall-clock seconds: the whole, the part in
    the environment, and that in the policy; ``ended_at`` is when, in s since the epoch.
    ``num_failures`` are environments that failed and were made anew. ``news`` is
    what the connectors' shared statistics saw (``Pipeline.take_news``), ``metrics`` what callbacks
    logged (``MetricsLogger.reduce``).
    """

    num_env_steps: int
    episodes: list[Episode]
    sample_s: float
    env_step_s: float
    agents: "AgentCounts | None" = None
    news: dict[str, Any] = {}  # noqa: RUF012 (a NamedTuple's default; nobody writes into it)
    metrics: dict[str, Any] = {}  # noqa: RUF012
    inference_s: float = 0.0
    ended_at: float = 0.0
    num_failures: int = 0


class EnvRunner(Inspected):
    """One vector environment, one policy, one random stream.

    Args:
        config: the algorithm's configuration.
        spaces: of a single environment.
        index: 0-based; the only thing in which two env runners of an algorithm differ.
        is_training: otherwise it only plays, and what it sees changes no statistics.
    """

    def __init__(
        self, config: AlgorithmConfig, spaces: Spaces, index: int, is_training: bool = True
    ) -> None:
        self.config = config.copy()
        self.index = index
        self.explore = config.explore
        self.pipeline = build_pipeline(config)
        if not is_training:
            self.pipeline.freeze()
        self.env_spaces = spaces
        spaces = self.pipeline.connect(spaces, config.num_envs_per_env_runner)
        spec = config.get_rl_module_spec(spaces)
        self.spec, self.max_seq_len = spec, spec.max_seq_len
        self.weights: Mapping[str, NDArray[Any]] | None = None
        self._make_policy()
        self.head = self.policy.head
        self.weights_seq_no = self.last_ended_play = 0
        sizes = mask_sizes(spaces.observation, spaces.action)
        num_rows = config.get_rollout_fragment_length()
        self.buffer: RolloutBuffer = (
            EpisodeBuffer(num_rows, sizes, partial(training_watch, config))
            if config.batch_mode == "complete_episodes"
            else RolloutBuffer(num_rows, sizes)
        )
        self.metrics = MetricsLogger()
        self.callbacks = Callbacks.of(config)
        self._make_env()
        self.reset(generation=0)

    def _make_env(self) -> None:
        config = self.config
        assert config.env is not None, "a validated config names an environment"
        context = env_context(config, self.index)
        with env_errors():
            self.env = make_vector_env(
                config.env,
                config.num_envs_per_env_runner,
                config.gym_env_vectorize_mode,
                context,
                is_checked=not config.disable_env_checking,
                restart_after_s=restart_after_s(config),
                num_threads=config.num_threads_per_env_runner,
            )
        if config.observation_space is not None and not config.disable_env_checking:
            self.env.bounds = Bounds(leaves(config.observation_space))
        common = {"env_runner": self, "metrics_logger": self.metrics}
        self.callbacks.call(
            "on_environment_created", **common, env=self.env.env, env_context=context
        )
        module = getattr(self.policy, "module", None)
        self.hooks = EpisodeHooks(self.callbacks, self.env, rl_module=module, **common)

    def make_module(self) -> None:
        """Make what acts anew, with the weights that came last."""
        self._make_policy()
        if self.weights is not None:
            self.policy.set_weights(self.weights)
        self.policy.use_rng(self.rng)
        self.head = self.policy.head
        self.hooks.arguments["rl_module"] = getattr(self.policy, "module", None)

    def _make_policy(self) -> None:
        self.policy = make_policy(self.config, self.spec)

    @property
    def module(self) -> RLModule:
        """The module that acts; a copy of it where a small network acts in numpy."""
        return acting_module(self.policy, self.spec, self.weights)

    def get_spaces(self) -> dict[str, SpacePair]:
        """(observation space, action space) of an environment, and as the module sees them."""
        seen = (self.spec.observation_space, self.spec.action_space)
        own = (self.env_spaces.observation, self.env_spaces.action)
        return {ENV: own, self.config.policy_ids[0]: seen}

    def make_env(self) -> None:
        """Make other environments, of the same spaces, as ``config`` says by now.

        For a curriculum, after ``env_runner.config.environment(env_config=...)``; the episodes
        under way are given up.
        """
        self.env.close()
        self._make_env()
        self.reset(self.generation + 1)

    def reset(self, generation: int) -> None:
        """Begin new episodes everywhere, with the random streams of this ``generation``."""
        root, self.generation = self.config.seed, generation
        self.rng = derive_rng(root, Role.ENV_RUNNER, self.index, generation)
        self.policy.use_rng(self.rng)
        self._begin_episodes(derive_seed(root, Role.ENVIRONMENT, self.index, generation))

    def _begin_episodes(self, seed: int) -> None:
        self.episodes = EpisodeTracker(self.env.num_envs)
        self.memory = PolicyMemory(self.policy.initial_state(self.env.num_envs), self.max_seq_len)
        self.noise = CorrelatedNoise(self.config.exploration_noise_correlation, self.policy.head)
        self.hooks.before_reset()
        with env_errors():
            obs = self.env.reset(seed)
        self.hooks.after_reset(obs)
        self.obs = self.pipeline.on_reset(obs)

    def set_weights(self, weights: Mapping[str, NDArray[Any]], seq_no: int) -> None:
        """Act by these weights from now on; ``seq_no`` counts the syncs."""
        self.policy.set_weights(weights)
        self.weights, self.weights_seq_no = weights, seq_no

    def set_statistics(self, statistics: dict[str, Any]) -> None:
        """Take over what the connectors of all env runners have seen together."""
        self.pipeline.set_statistics(statistics)

    @core.method(num_returns=2)
    def sample(
        self, timestep: int = 0, random_actions: bool = False, **others: Any
    ) -> tuple[SampleBatch, SampleStats]:
        """Step the environments for one fragment; for one of whole episodes they begin anew.

        Args:
            timestep: ``num_env_steps_sampled_lifetime``, which schedules of exploration go by.
            random_actions: whether every action is as likely as any other, whatever the policy.
            others: RLlib's other arguments may be ``None``.

        Raises:
            EnvError: an environment raised or returned NaN or infinity.
            TrainingError: an episode that is waited for does not end.
        """
        if others:
            refuse_arguments(f"{type(self).__name__}.sample", others, NOT_SAMPLED)
        started = perf_counter()
        if self.buffer.is_of_episodes:
            self._begin_episodes(draw_seed(self.rng))
        head = self.policy.head
        self.head = uniform_head(head) if random_actions else head.at(timestep)
        self.noise.set_timestep(timestep)
        with env_errors():
            batch = self._roll(random_actions)
        rewards = self.buffer.returned_rewards
        failed = self.buffer.failed
        episodes = self.episodes.track(rewards, batch.dones, batch.reset_rows, failed)
        sample_s = perf_counter() - started
        common = {"env_runner": self, "metrics_logger": self.metrics}
        self.callbacks.call("on_sample_end", samples=batch, **common)
        return batch, SampleStats(
            batch.num_env_steps,
            episodes,
            sample_s,
            self.env_step_s,
            news=self.pipeline.take_news(),
            metrics=self.metrics.reduce(),
            inference_s=self.inference_s,
            ended_at=time(),
            num_failures=0 if failed is None else int(np.count_nonzero(failed)),
        )

    def _roll(self, random_actions: bool) -> SampleBatch:
        buffer, memory = self.buffer, self.memory
        noise = self._noise(random_actions)
        first_step = self.env.num_steps + 1
        self.env_step_s = self.inference_s = 0.0
        buffer.begin()
        memory.begin_fragment()
        try:
            # NaN is looked for once per fragment, so until then it must pass through silently.
            with np.errstate(all="ignore"):
                while not buffer.is_full:
                    if memory.initial:
                        buffer.keep_states(memory.state, memory.begins)
                    obs = self.obs
                    buffer.add(obs, *self._step(next(noise)))
        finally:
            # Also when the environment raised: a NaN that it returned before may be the reason.
            buffer.check_finite(first_step, self.obs)
        return buffer.finish(self.head, self.obs, self.weights_seq_no)

    def _noise(self, random_actions: bool) -> Iterator[NDArray[Any]]:
        """[N, ...] for one row after the other, drawn for as many at once as a fragment has."""
        while True:
            drawn = self.head.draw_noise(self.rng, (self.buffer.num_rows, self.env.num_envs))
            yield from drawn if random_actions else self.noise.of(drawn)

    def _step(
        self, noise: NDArray[Any], missing: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.float32], EnvStep]:
        """Act once everywhere: actions, what they were drawn from, and what came of them.

        ``missing`` [N] are the episodes that are still wanted of each, if only some are.
        """
        head, memory, explore = self.head, self.memory, self.explore
        started = perf_counter()
        rows, memory.state = self.policy.forward(self.obs, memory.state, explore)
        actions = choose(head, rows, noise if explore else None)
        for_env = self.pipeline.on_actions(head.to_env(actions))
        before = perf_counter()
        step = self.env.step(for_env)
        self.env_step_s += perf_counter() - before
        self.inference_s += before - started
        self.hooks.after_step(for_env, step, missing)
        step = self.pipeline.on_step(step, actions)
        memory.after(step)
        self.obs = step.obs
        return actions, rows, step

    def play(
        self,
        duration: int | OpenEnd,
        unit: str,
        generation: int | None = None,
        timestep: int = 0,
    ) -> SampleStats:
        """Play for evaluation, without collecting anything.

        Args:
            duration: how long, at least 1, or until ``end_plays``.
            unit: "episodes" plays exactly so many whole ones, shared out evenly among the
                environments beforehand, so that short ones are not preferred; "timesteps" plays at
                least so many env steps, and tells of the episodes that ended.
            generation: begin them with the random streams of this generation; ``None`` goes on with
                the present ones, after the episodes under way were given up.
            timestep: ``num_env_steps_sampled_lifetime``, which schedules of exploration go by.

        Raises:
            EnvError: an environment raised.
            TrainingError: an episode that is waited for does not end.
        """
        started = perf_counter()
        if generation is not None:
            self.reset(generation)
        self.head = self.policy.head.at(timestep)
        tally = self._tally(duration, unit)
        self.env_step_s = self.inference_s = 0.0
        with env_errors(), np.errstate(all="ignore"):
            while not tally.is_full:
                noise = self.head.draw_noise(self.rng, (1, self.env.num_envs))
                _, _, step = self._step(noise[0], tally.missing)
                tally.add(step)
        sample_s = perf_counter() - started
        stats = SampleStats(tally.num_env_steps, tally.episodes, sample_s, self.env_step_s)
        return stats._replace(metrics=self.metrics.reduce())

    def _tally(self, duration: int | OpenEnd, unit: str) -> EpisodeTally | StepTally:
        num_envs = self.env.num_envs
        if isinstance(duration, OpenEnd):
            return StepTally(lambda n: duration.is_reached(n, self.last_ended_play), num_envs)
        if unit == "episodes":
            return EpisodeTally(duration, num_envs, evaluation_watch(self.config))
        return StepTally(lambda n: n >= duration, num_envs)

    def end_plays(self, number: int) -> None:
        """Bring plays with an open end to it, up to the one of this number."""
        self.last_ended_play = number

    def apply(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call ``function(self, *args)`` where the env runner lives; returns what it returns."""
        return function(self, *args)

    def get_state(self, components: Any = None, **others: Any) -> dict[str, Any]:
        """State tree: random stream, unfinished episodes and, where it can be had, environments.

        RLlib's arguments may be ``None``.
        """
        given = {"components": components, **others}
        refuse_arguments(f"{type(self).__name__}.get_state", given, WHOLE)
        state: dict[str, Any] = {
            "rng": rng_state(self.rng),
            "episodes": self.episodes.get_state(),
            "memory": self.memory.get_state(),
            "noise": self.noise.get_state(),
            "connectors": self.pipeline.get_state(),
        }
        env_state = get_env_state(self.env)
        if env_state is not None:
            state |= {"env": env_state, "obs": array_to_state(self.obs)}
        return state

    def set_state(self, state: dict[str, Any] | None, generation: int) -> bool:
        """Go on from ``get_state``; whether it is in the middle of the episodes of then.

        Where the environments' state could not be had, or is that of others or another number (or
        ``state`` is ``None``, because the layout was another), new episodes begin with the random
        streams of ``generation``, the number of restores so far, and the unfinished ones are lost.
        """
        obs = None if state is None or "env" not in state else array_from_state(state["obs"])
        if state is None or obs is None or not self._took_envs(state["env"], obs.shape):
            self.reset(generation)
            return False
        self.pipeline.set_state(state["connectors"])
        set_rng_state(self.rng, state["rng"])
        self.episodes.set_state(state["episodes"])
        self.memory.set_state(state["memory"])
        self.noise.set_state(state["noise"])
        self.obs = array_like(self.obs, state["obs"], "obs")
        self.hooks.resume(self.obs)
        return True

    def _took_envs(self, state: dict[str, Any], shape: tuple[int, ...]) -> bool:
        """Whether the environments were as many and of that kind, and now have that state."""
        if shape != self.obs.shape:
            return False
        try:
            set_env_state(self.env, state)
        except StateMisfitError:
            return False
        return True

    def stop(self) -> None:
        """Close the environments."""
        self.env.close()


def restart_after_s(config: AlgorithmConfig) -> float | None:
    """Seconds after which a single environment is made anew, if that is done at all."""
    restarts = config.restart_failed_sub_environments
    return config.sub_environment_timeout_s if restarts else None


def env_context(config: AlgorithmConfig, index: int) -> EnvContext:
    """What the environments of the env runner with this index are made of."""
    worker_index = index + 1 if config.num_env_runners else 0
    return EnvContext(config.env_config, worker_index, num_workers=config.num_env_runners)


class env_errors(AbstractContextManager[None]):
    """Turn the faults of environments into the kit's error."""

    def __exit__(self, _type: object, fault: BaseException | None, _trace: object) -> None:
        if isinstance(fault, EnvFault):
            raise EnvError(str(fault), **fault.place) from fault.__cause__ or fault.__context__
