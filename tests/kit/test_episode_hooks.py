"""Callbacks of episodes: in order, once each, whatever the autoreset mode."""

from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from rllib.callbacks import Callbacks, RLlibCallback
from rllib.envs.counter import CounterEnv
from rllib.envs.make import make_vector_env
from rllib.sampling.episode_hooks import EpisodeHooks
from rllib.sampling.single_agent_episode import SingleAgentEpisode

Event = tuple[str, int, str, int]


class Recorder(RLlibCallback):
    """Notes (hook, env index, id, steps) of everything."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.ended: list[SingleAgentEpisode] = []

    def note(self, hook: str, episode: SingleAgentEpisode, env_index: int) -> None:
        self.events.append((hook, env_index, episode.id_, len(episode)))

    def on_episode_created(self, *, episode: Any, env_index: int, **kwargs: Any) -> None:
        self.note("created", episode, env_index)

    def on_episode_start(self, *, episode: Any, env_index: int, **kwargs: Any) -> None:
        self.note("start", episode, env_index)
        episode.custom_data["seen"] = len(episode.observations)

    def on_episode_step(self, *, episode: Any, env_index: int, **kwargs: Any) -> None:
        self.note("step", episode, env_index)

    def on_episode_end(self, *, episode: Any, env_index: int, **kwargs: Any) -> None:
        self.note("end", episode, env_index)
        assert kwargs["prev_episode_chunks"] == []
        assert kwargs["env_runner"] == "the env runner"
        self.ended.append(episode)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_every_episode_is_created_started_stepped_and_ended_in_this_order(
    mode: AutoresetMode,
) -> None:
    env = make_vector_env(CounterEnv, 2, "sync", {}, mode)
    callbacks = Callbacks([Recorder])
    hooks = EpisodeHooks(callbacks, env, env_runner="the env runner")
    hooks.before_reset()
    hooks.after_reset(env.reset(seed=0))
    for _ in range(9):
        actions = np.zeros((2,), np.int64)
        hooks.after_step(actions, env.step(actions))
    env.close()
    (recorder,) = callbacks.objects
    for n in range(2):
        mine = [(hook, id_, steps) for hook, index, id_, steps in recorder.events if index == n]
        ids = list(dict.fromkeys(id_ for _, id_, _ in mine))
        of_one = [(hook, steps) for hook, id_, steps in mine if id_ == ids[0]]
        steps = [("step", 1), ("step", 2), ("step", 3)]
        assert of_one == [("created", 0), ("start", 0), *steps, ("end", 3)]
        order = [id_ for _, id_, _ in mine]
        assert order == sorted(order, key=ids.index), "no episode begins before the last one ends"
    assert len(recorder.ended) >= 4
    for episode in recorder.ended:  # of the counter, which observes (episode, t)
        number = int(episode.observations[0][0])
        length = (3, 2)[number % 2]
        assert [obs.tolist() for obs in episode.observations] == [
            [number, t] for t in range(length + 1)
        ]
        assert episode.rewards == [100 * number + t for t in range(1, length + 1)]
        assert (episode.is_terminated, episode.is_truncated) == (length == 3, length == 2)
        assert (len(episode.actions), episode.custom_data) == (length, {"seen": 1})


class TellingEnv(CounterEnv):
    """Tells (episode, t) in its infos, too, and of a third step that it is late."""

    def reset(self, **kwargs: Any) -> Any:
        obs, _ = super().reset(**kwargs)
        return obs, self.told(obs)

    def step(self, action: Any) -> Any:
        obs, *rest, _ = super().step(action)
        return obs, *rest, self.told(obs)

    def told(self, obs: Any) -> dict[str, Any]:
        info = {"place": {"episode": int(obs[0])}, "t": int(obs[1])}
        return info | ({"late": True} if obs[1] == 3 else {})


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_an_episode_has_its_own_infos(mode: AutoresetMode) -> None:
    env = make_vector_env(TellingEnv, 2, "sync", {}, mode)
    callbacks = Callbacks([Recorder])
    hooks = EpisodeHooks(callbacks, env, env_runner="the env runner")
    hooks.before_reset()
    hooks.after_reset(env.reset(seed=0))
    for _ in range(12):
        hooks.after_step(np.zeros(2, np.int64), env.step(np.zeros(2, np.int64)))
    env.close()
    (recorder,) = callbacks.objects
    assert len(recorder.ended) >= 4
    for episode in recorder.ended:
        told = [(int(obs[0]), int(obs[1])) for obs in episode.observations]
        infos = episode.get_infos()
        assert [(info["place"]["episode"], info["t"]) for info in infos] == told
        assert [info.get("late", False) for info in infos] == [t == 3 for _, t in told]
        assert episode.get_infos(-1) is infos[-1]


def test_nobody_listening_costs_nothing() -> None:
    env = make_vector_env(CounterEnv, 1, "sync")
    hooks = EpisodeHooks(Callbacks(functions={"on_sample_end": [print]}), env)
    hooks.before_reset()
    hooks.after_reset(env.reset(seed=0))
    hooks.after_step(np.zeros(1, np.int64), env.step(np.zeros(1, np.int64)))
    env.close()
    assert (hooks.is_on, hooks.num_begun, len(hooks.episodes[0])) == (False, 0, 0)


def test_an_episode_gives_out_its_parts() -> None:
    episode = SingleAgentEpisode("e")
    episode.add_env_reset("s0")
    episode.add_env_step("s1", 5, 1.0)
    episode.add_env_step("s2", 6, 2.5, truncated=True)
    assert (len(episode), episode.t, episode.get_return()) == (2, 2, 3.5)
    assert (episode.is_terminated, episode.is_truncated, episode.is_done) == (False, True, True)
    assert episode.get_observations() == ["s0", "s1", "s2"]
    assert episode.get_observations(-1) == "s2"
    assert episode.get_observations(slice(1, None)) == ["s1", "s2"]
    assert episode.get_actions([1, 0]) == [6, 5]
    assert episode.get_rewards(0) == 1.0
    assert (episode.get_infos([0, -1]), episode.env_t) == ([{}, {}], 2)
    with pytest.raises(AttributeError, match=r"get_temporary_timestep_data is not .* custom_data"):
        episode.get_temporary_timestep_data("x")  # type: ignore[attr-defined]
