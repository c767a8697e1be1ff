"""The fast vector CartPole is gymnasium's, number by number."""

from collections.abc import Iterator

import numpy as np
import pytest
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from numpy.typing import NDArray

from rllib.envs.cartpole_vector import FastCartPole
from rllib.envs.compiled import compiled
from rllib.envs.make import make_vector_env

NUM_ENVS, NUM_STEPS = 7, 400


def actions() -> Iterator[NDArray[np.int64]]:
    yield from np.random.default_rng(2).integers(2, size=(NUM_STEPS, NUM_ENVS))


@pytest.fixture(params=["compiled", "in numpy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "in numpy":
        monkeypatch.setattr("rllib.envs.cartpole_vector.compiled", lambda: None)
    elif compiled() is None:
        pytest.skip("nothing was compiled here")


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("reward", [{}, {"sutton_barto_reward": True}])
@pytest.mark.parametrize("integrator", ["euler", "semi-implicit euler"])
def test_every_step_is_that_of_gymnasium(reward: dict[str, bool], integrator: str) -> None:
    both = [
        kind(NUM_ENVS, max_episode_steps=20, **reward) for kind in (CartPoleVectorEnv, FastCartPole)
    ]
    for env in both:
        env.kinematics_integrator = integrator
    resets = [env.reset(seed=5)[0] for env in both]
    np.testing.assert_array_equal(*resets)
    seen = {"terminated": 0, "truncated": 0}
    for action in actions():
        theirs, ours = (env.step(action) for env in both)
        for their, our in zip(theirs[:4], ours[:4], strict=True):
            np.testing.assert_array_equal(our, their)
            assert (our.dtype, our.shape) == (their.dtype, their.shape)
        seen["terminated"] += int(theirs[2].sum())
        seen["truncated"] += int(theirs[3].sum())
    assert min(seen.values()) > 5


@pytest.mark.usefixtures("way")
def test_what_is_set_in_between_counts_from_then_on() -> None:
    both = [kind(NUM_ENVS, max_episode_steps=20) for kind in (CartPoleVectorEnv, FastCartPole)]
    for env in both:
        env.reset(seed=3)
    for number, action in enumerate(actions()):
        if number == 10:
            for env in both:
                env.masspole, env.state = 0.2, np.zeros((4, NUM_ENVS))
        theirs, ours = (env.step(action) for env in both)
        np.testing.assert_array_equal(ours[0], theirs[0])
    np.testing.assert_array_equal(both[1].state, both[0].state)


@pytest.mark.usefixtures("way")
def test_actions_that_there_are_not_are_refused_before_anything_happens() -> None:
    env = FastCartPole(2)
    with pytest.raises(AssertionError, match="Call reset"):
        env.step(np.array([0, 1]))
    env.reset(seed=1)
    env.step(np.array([0, 1], np.int32))
    before = env.state.copy(), env.steps.copy()
    for wrong in (np.array([0, 2]), np.array([-1, 0]), np.array([0.5, 1.0])):
        with pytest.raises(AssertionError, match="invalid"):
            env.step(wrong)
    np.testing.assert_array_equal(env.state, before[0])
    np.testing.assert_array_equal(env.steps, before[1])


def test_it_is_what_cartpole_is_stepped_by() -> None:
    env = make_vector_env("CartPole-v1", 2)
    assert type(env.unwrapped) is FastCartPole
    assert env.unwrapped.max_episode_steps == 500
    env.close()
