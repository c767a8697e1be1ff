"""The counter env proves the step schema for every backend and autoreset mode."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import create_empty_array

from rllib.envs.cartpole_vector import FastCartPole
from rllib.envs.counter import CounterEnv
from rllib.envs.faults import EnvSetupError
from rllib.envs.make import make_vector_env
from rllib.envs.vector import EnvStep, VectorEnv, adapt

ENDINGS = [
    (3, "terminated"),
    (2, "truncated"),
    (1, "truncated"),
    (4, "terminated"),
    (1, "terminated"),
]
NUM_STEPS = 24


class DenseCounter(SyncVectorEnv):
    """A vector entry point of SAME_STEP that gives final observations densely, in reused arrays."""

    def __init__(self, num_envs, is_nested):
        super().__init__(
            [lambda: CounterEnv({"endings": ENDINGS, "nested": is_nested})] * num_envs,
            copy=False,
            autoreset_mode=AutoresetMode.SAME_STEP,
        )
        self.final = create_empty_array(self.single_observation_space, num_envs)

    def step(self, actions):
        *arrays, info = super().step(actions)
        for index, final in enumerate(info.get("final_obs", ())):
            if final is not None:
                put(self.final, index, final)
        return *arrays, {"final_obs": self.final}


def put(batch, index, value):
    """Writes one observation into a batch."""
    if isinstance(batch, np.ndarray):
        batch[index] = value
        return
    for key in batch if isinstance(batch, dict) else range(len(batch)):
        if isinstance(batch[key], np.ndarray):
            batch[key][index] = value[key]
        else:
            put(batch[key], index, value[key])


def make_counters(backend, num_envs=2):
    mode, autoreset, space = backend.split("/")
    if mode == "entry point":
        return adapt(DenseCounter(num_envs, space == "nested"))
    config = {"endings": ENDINGS, "nested": space == "nested"}
    return make_vector_env(CounterEnv, num_envs, mode, config, AutoresetMode[autoreset])


BACKENDS = [
    f"{mode}/{autoreset.name}/{space}"
    for mode in ("sync", "async")
    for autoreset in AutoresetMode
    for space in ("plain", "nested")
] + ["entry point/SAME_STEP/plain", "entry point/SAME_STEP/nested"]


@pytest.fixture(params=BACKENDS)
def counters(request):
    env = make_counters(request.param)
    yield env
    env.close()


def count(obs):
    """(episode, t) of one observation, from all the places where it says so."""
    if obs.dtype.names is None:
        return obs.tolist()
    episode, bits = obs["more"]["0"], obs["more"]["1"]["bits"]
    assert obs["count"].tolist() == [episode, bits @ 2 ** np.arange(8)]
    return obs["count"].tolist()


def play(env: VectorEnv) -> tuple[list[np.ndarray], list[EnvStep]]:
    """Observations acted on, and what each step returned."""
    obs, steps = [env.reset(seed=0)], []
    for _ in range(NUM_STEPS):
        steps.append(env.step(np.zeros(env.num_envs, np.int64)))
        obs.append(steps[-1].obs)
    return obs[:-1], steps


def expected_transitions(first_episode: int):
    """(episode, t, reward, terminated, truncated) forever, by arithmetic alone."""
    episode = first_episode
    while True:
        length, ending = ENDINGS[episode % len(ENDINGS)]
        for t in range(length):
            done = t + 1 == length
            reward = 100.0 * episode + t + 1
            yield (
                episode,
                t,
                reward,
                done and ending == "terminated",
                done and ending == "truncated",
            )
        episode += 1


def test_every_transition_stays_in_its_episode(counters):
    obs, steps = play(counters)
    for n in range(counters.num_envs):
        expected = expected_transitions(first_episode=int(count(obs[0][n])[0]))
        for before, step in zip(obs, steps, strict=True):
            if step.is_reset_row[n]:
                continue
            episode, t, reward, terminated, truncated = next(expected)
            assert count(before[n]) == [episode, t]
            assert (step.reward[n], step.terminated[n], step.truncated[n]) == (
                reward,
                terminated,
                truncated,
            )
            if terminated or truncated:
                assert count(step.final_obs[n]) == [episode, t + 1]


def test_reset_rows_are_exactly_those_after_an_end_and_only_under_next_step(counters):
    _, steps = play(counters)
    ended = np.zeros(counters.num_envs, bool)
    next_step = counters.env.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    for step in steps:
        assert step.is_reset_row.tolist() == (ended & next_step).tolist()
        assert not (step.reward * step.is_reset_row).any()
        ended = step.terminated | step.truncated


def test_returned_arrays_never_change_later(counters):
    obs, steps = play(counters)
    frozen = (
        [np.copy(o) for o in obs],
        [np.copy(s.final_obs) for s in steps if s.final_obs is not None],
    )
    play(counters)
    final = [s.final_obs for s in steps if s.final_obs is not None]
    for before, after in zip(frozen[0] + frozen[1], obs + final, strict=True):
        assert before.tobytes() == after.tobytes()


def test_a_full_reset_forgets_a_pending_reset_row():
    env = make_counters("sync/NEXT_STEP/plain")
    for _ in range(3):
        env.reset(seed=0)
        while not env.step(np.zeros(2, np.int64)).terminated.any():
            pass
        env.reset(seed=0)
        assert not env.step(np.zeros(2, np.int64)).is_reset_row.any()
    env.close()


def test_a_vector_env_without_autoreset_mode_is_refused():
    env = SyncVectorEnv([CounterEnv])
    env.metadata = {}
    with pytest.raises(EnvSetupError, match="declares no autoreset mode"):
        adapt(env)


def test_same_step_without_final_observations_is_refused():
    class Forgetful(SyncVectorEnv):
        def step(self, actions):
            return *super().step(actions)[:4], {}

    env = adapt(
        Forgetful(
            [lambda: CounterEnv({"endings": [(1, "truncated")]})],
            autoreset_mode=AutoresetMode.SAME_STEP,
        )
    )
    env.reset(seed=0)
    with pytest.raises(RuntimeError, match="no 'final_obs'"):
        env.step(np.zeros(1, np.int64))


def test_auto_takes_the_vector_entry_point_where_there_is_one():
    fast, plain = make_vector_env("CartPole-v1", 3), make_vector_env("Pendulum-v1", 3)
    assert type(fast.env) is FastCartPole
    assert isinstance(plain.env, SyncVectorEnv)
    assert plain.action_space == gym.make("Pendulum-v1").action_space
    assert fast.reset(seed=1).shape == (3, 4)
    plain.close()


def test_the_same_seed_gives_the_same_episodes():
    def rollout(seed):
        env = make_vector_env("CartPole-v1", 3)
        obs = [env.reset(seed)]
        obs += [env.step(np.array([0, 1, 0])).obs for _ in range(40)]
        return np.stack(obs)

    np.testing.assert_array_equal(rollout(5), rollout(5))
    assert not np.array_equal(rollout(5), rollout(6))


@pytest.mark.parametrize(
    ("env", "mode", "config", "message"),
    [
        ("CartPol-v1", "auto", {}, "did you mean 'CartPole-v1'"),
        ("Pendulum-v1", "vector_entry_point", {}, "registers no vector entry point"),
        ("Pendulum-v1", "sync", {"gravity": 1}, "unexpected keyword argument"),
        ("CartPole-v1", "auto", {"gravity": 1}, "unexpected keyword argument"),
        ("no_such_module:Env-v0", "auto", {}, "cannot be imported"),
    ],
)
def test_setup_errors_name_the_cause_and_the_fix(env, mode, config, message):
    with pytest.raises(EnvSetupError, match=message):
        make_vector_env(env, 2, mode, config)
