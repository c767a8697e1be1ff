"""The environments that come with the package."""

import gymnasium as gym
import numpy as np
import pytest

from rllib.envs.make import make_vector_env
from rllib.envs.masked_walk import NUM_ACTIONS, NUM_PLACES, OPTIMUM, MaskedWalk
from rllib.envs.multi_agent_cartpole import MultiAgentCartPole

STATELESS = "rllib.envs.stateless_cartpole:StatelessCartPole-v0"


def test_stateless_cartpole_is_cartpole_without_velocities():
    whole = make_vector_env("CartPole-v1", 3, "vector_entry_point")
    part = make_vector_env(STATELESS, 3, "vector_entry_point")
    try:
        np.testing.assert_array_equal(part.reset(5), whole.reset(5)[:, [0, 2]])
        for t in range(60):
            actions = np.array([0, 1, t % 2])
            seen, all_of_it = part.step(actions), whole.step(actions)
            np.testing.assert_array_equal(seen.obs, all_of_it.obs[:, [0, 2]])
            np.testing.assert_array_equal(seen.terminated, all_of_it.terminated)
        assert part.observation_space.shape == (2,)
    finally:
        whole.close()
        part.close()


def test_a_single_stateless_cartpole_is_the_same():
    whole, part = gym.make("CartPole-v1"), gym.make(STATELESS)
    first, _ = whole.reset(seed=1)
    np.testing.assert_array_equal(part.reset(seed=1)[0], first[[0, 2]])
    np.testing.assert_array_equal(part.step(1)[0], whole.step(1)[0][[0, 2]])
    assert part.observation_space.contains(part.step(0)[0])


def test_going_straight_on_earns_the_optimum():
    env = MaskedWalk()
    obs, _ = env.reset(seed=0)
    total, over = 0.0, False
    while not over:
        place = int(obs["place"])
        assert obs["action_mask"].sum() == 2
        obs, reward, over, _, _ = env.step((3 * place + 1) % NUM_ACTIONS)
        assert env.observation_space.contains(obs)
        total += reward
    assert total == pytest.approx(OPTIMUM)
    assert env.num_steps == NUM_PLACES


def test_a_forbidden_action_ends_it():
    env = MaskedWalk()
    obs, _ = env.reset(seed=0)
    forbidden = int(np.flatnonzero(obs["action_mask"] == 0)[0])
    _, reward, terminated, truncated, _ = env.step(forbidden)
    assert (reward, terminated, truncated) == (-1.0, True, False)


def test_going_to_and_fro_is_cut():
    env = MaskedWalk(max_episode_steps=4)
    env.reset(seed=0)
    steps = [env.step((5 * env.place + 4) % NUM_ACTIONS) for _ in range(4)]
    assert [truncated for *_, truncated, _ in steps] == [False, False, False, True]


def test_agents_of_cartpole_go_one_by_one():
    env = MultiAgentCartPole({"num_agents": 2})
    obs, _ = env.reset(seed=0)
    assert obs.keys() == {0, 1}
    gone = []
    while env.agents:
        _, _, terminateds, _, _ = env.step({agent: agent for agent in env.agents})
        gone += [agent for agent in (0, 1) if terminateds.get(agent)]
    assert sorted(gone) == [0, 1]
    assert terminateds["__all__"]
    env.close()
