"""Environments that fail are made anew, each by itself, while those beside it go on."""

import multiprocessing
import os
import signal
import warnings

import gymnasium as gym
import numpy as np
import pytest

from rllib.envs.counter import CounterEnv
from rllib.envs.faults import EnvFault, EnvSetupError
from rllib.envs.make import make_vector_env
from rllib.envs.multi_agent_cartpole import MultiAgentCartPole
from rllib.envs.multi_agent_vector import MultiAgentVector
from rllib.envs.restarting import MOST_IN_A_ROW, RestartingAsync, RestartingEnv

ENDINGS = [(5, "terminated")]


class Fails(CounterEnv):
    """Has a fault in its third step of the first life of environment ``who``, which is noted in
    ``path``; seeds are in the observations' place of the episode."""

    def __init__(self, config):
        super().__init__({"endings": ENDINGS})
        self.config = config

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            self.is_bad = seed == self.config["seed"] + 1
        return super().reset(seed=seed, options=options)

    def step(self, action):
        if self.is_bad and self.num_steps == 2:
            match self.config["fault"]:
                case "die":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "hang":
                    signal.pause()
                case "nan":
                    obs, _, *rest = super().step(action)
                    return obs, np.nan, *rest
            raise ZeroDivisionError("as it happens")
        return super().step(action)


FAULTS = [("sync", "raise"), ("sync", "nan"), ("async", "raise"), ("async", "nan")]
LOST = {"die": "signal 9", "hang": "sub_environment_timeout_s = 1.0"}


def vector(mode, fault, seed=7):
    config = {"fault": fault, "seed": seed}
    return make_vector_env(Fails, 3, mode, config, restart_after_s=1.0)


def play(env, num_steps):
    env.reset(7)
    return [env.step(np.zeros(3, np.int64)) for _ in range(num_steps)]


@pytest.mark.parametrize(("mode", "fault"), [*FAULTS, ("async", "die"), ("async", "hang")])
def test_one_that_fails_is_only_reset_in_that_row(mode, fault):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # also in its processes
        env = vector(mode, fault)
        steps = play(env, 7)
    env.close()
    others = [0, 2]
    assert [step.failed is not None for step in steps] == [False, False, True, *[False] * 4]
    failed = steps[2]
    np.testing.assert_array_equal(failed.failed, [False, True, False])
    np.testing.assert_array_equal(failed.is_reset_row, [False, True, False])
    assert not (failed.terminated | failed.truncated).any()
    assert failed.reward[1] == 0.0
    np.testing.assert_array_equal(failed.obs[1], [0, 0])  # of another one, from its beginning
    np.testing.assert_array_equal(failed.obs[others], [[0, 3], [0, 3]])
    # The others end their episodes in their fifth step, the new one in its own fifth.
    assert [step.terminated.tolist() for step in steps[3:]] == [
        [False, False, False],
        [True, False, True],
        [False, False, False],
        [False, False, False],
    ]
    np.testing.assert_array_equal(steps[6].obs[:, 1], [2, 4, 2])
    assert [step.reward.tolist() for step in steps[:2]] == [[1.0] * 3, [2.0] * 3]


@pytest.mark.parametrize("fault", LOST)
def test_a_process_that_is_lost_is_told_of_and_leaves_nothing_behind(fault):
    env = vector("async", fault)
    assert isinstance(env.env, RestartingAsync)
    with pytest.warns(RuntimeWarning, match=f"environment 1 is made anew.*({LOST[fault]})"):
        play(env, 3)
    env.close()


class NeverBegins(CounterEnv):
    """Fails in its second episode, and every later instance in its first."""

    made = 0

    def __init__(self, config):
        super().__init__({"endings": [(1, "terminated")]})
        NeverBegins.made += 1
        self.number = NeverBegins.made

    def reset(self, *, seed=None, options=None):
        if self.number > 1 or self.num_steps:
            raise OSError("no licence")
        return super().reset(seed=seed, options=options)


@pytest.mark.filterwarnings("ignore:environment 0 is made anew")
def test_one_that_can_never_begin_is_an_error():
    NeverBegins.made = 0
    env = make_vector_env(NeverBegins, 1, "sync", restart_after_s=1.0)
    env.reset(0)
    with pytest.raises(EnvFault, match="raised OSError in reset"):
        env.step(np.zeros(1, np.int64))
    assert NeverBegins.made == 1 + MOST_IN_A_ROW
    env.close()


class FailsFromStep(CounterEnv):
    """Every instance fails in the step of that number, by dying where it is in a process."""

    def __init__(self, config):
        super().__init__({"endings": [(9, "terminated")]})
        self.fails_at, self.t = config["fails_at"], 0

    def step(self, action):
        self.t += 1
        if self.t == self.fails_at:
            if multiprocessing.parent_process():
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError("the simulator is gone")
        return super().step(action)


class AgentsFailFromStep(MultiAgentCartPole):
    """The same of several agents."""

    def __init__(self, config):
        super().__init__({"num_agents": 1})
        self.fails_at, self.t = config["fails_at"], 0

    def step(self, actions):
        self.t += 1
        if self.t == self.fails_at:
            raise OSError("the simulator is gone")
        return super().step(actions)


def stepping(kind, fails_at):
    """Makes the next step of such a vector of one."""
    if kind == "agents":
        agents = MultiAgentVector(AgentsFailFromStep, 1, {"fails_at": fails_at}, restarts=True)
        obs = [agents.reset(0)]

        def act():
            (step,) = agents.step([dict.fromkeys(obs[0][0], 0)])
            obs[0] = [step.obs]

        return agents, act
    env = make_vector_env(FailsFromStep, 1, kind, {"fails_at": fails_at}, restart_after_s=20.0)
    env.reset(0)
    return env, lambda: env.step(np.zeros(1, np.int64))


@pytest.mark.parametrize("kind", ["sync", "async", "agents"])
@pytest.mark.filterwarnings("ignore:environment 0 is made anew")
def test_one_that_fails_in_every_step_is_an_error_and_one_that_steps_in_between_is_not(kind):
    env, step = stepping(kind, fails_at=1)
    for _ in range(MOST_IN_A_ROW):
        step()
    with pytest.raises(EnvFault, match=r"simulator is gone|lost its process"):
        step()
    env.close()
    env, step = stepping(kind, fails_at=2)
    for _ in range(4 * MOST_IN_A_ROW):
        step()
    env.close()


def test_a_vector_that_is_one_whole_has_no_single_environments():
    assert make_vector_env("CartPole-v1", 2, restart_after_s=1.0).backend == "sync"
    with pytest.raises(EnvSetupError, match="no single one can be made anew"):
        make_vector_env("CartPole-v1", 2, "vector_entry_point", restart_after_s=1.0)


class AgentsFail(MultiAgentCartPole):
    """Fails in its second step, unless it was seeded otherwise."""

    def reset(self, *, seed=None, options=None):
        self.is_bad, self.t = seed == 7, 0
        return super().reset(seed=seed, options=options)

    def step(self, actions):
        self.t += 1
        if self.is_bad and self.t == 2:
            raise ZeroDivisionError("as it happens")
        return super().step(actions)


def test_environments_of_several_agents_are_made_anew_likewise():
    env = MultiAgentVector(AgentsFail, 2, {"num_agents": 2}, restarts=True)
    first = env.reset(7)
    acts = [dict.fromkeys(obs, 0) for obs in first]
    env.step(acts)
    with pytest.warns(RuntimeWarning, match="environment 0 is made anew.*ZeroDivisionError"):
        failed, other = env.step(acts)
    assert failed.failed
    assert not other.failed
    assert failed.obs.keys() == first[0].keys()
    assert (failed.rewards, failed.ends, failed.is_over) == ({}, {}, False)
    env.step(acts)
    env.close()


class Says(gym.Env):
    """Returns an observation and a reward in its first life, and zeros later."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, said):
        self.said = said

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}

    def step(self, action):
        return *self.said, False, False, {}


LARGE = np.array([3e38, -3e38], np.float32)


@pytest.mark.parametrize(
    ("obs", "reward", "is_well"),
    [
        (np.ones(2, np.float32), 1.0, True),
        (LARGE, np.float32(1), True),  # no larger ones are float32
        ([1.0, 2.0], 1, True),
        (np.array([1, np.nan], np.float32), 1.0, False),
        (np.array([np.inf, 0], np.float32), 1.0, False),
        ([0.0, -np.inf], 1.0, False),
        (np.ones(2, np.float32), np.inf, False),
        (np.ones(2, np.float32), np.float64("nan"), False),
    ],
)
@pytest.mark.filterwarnings("ignore:environment 0 is made anew")
def test_what_is_not_finite_is_a_failure_and_what_is_only_large_is_none(obs, reward, is_well):
    lives = iter([(obs, reward)])
    env = RestartingEnv(lambda: Says(next(lives, (np.zeros(2, np.float32), 0.0))), 0)
    env.step(0)
    assert env.num_restarts == (not is_well)
