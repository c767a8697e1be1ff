"""Worlds that several threads step are those that one thread steps, and errors are told."""

import multiprocessing
import threading

import gymnasium as gym
import numpy as np
import pytest

from rllib.envs import physics
from rllib.envs.compiled import compiled

mujoco = pytest.importorskip("mujoco")
threads = pytest.mark.skipif(
    compiled() is None or physics._functions(mujoco) is None, reason="nothing was compiled"
)
NUM = 7


def make(num_threads, env_id="Ant-v5", *, settles=True):
    """Environments that were reset, and what steps them."""
    envs = [gym.make(env_id).unwrapped for _ in range(NUM)]
    for seed, env in enumerate(envs):
        env.reset(seed=seed)
    pairs = [(env.model, env.data) for env in envs]
    nothing = [physics.Copies([], [])] * NUM
    worlds = physics.worlds_of(mujoco, pairs, nothing, 3, settles=settles, num_threads=num_threads)
    return envs, worlds


def copies_of(env):
    """Controls are read from a table, and positions shown in another."""
    controls, positions = np.full(env.model.nu, 0.5), np.zeros(env.model.nq)
    return physics.Copies(
        [physics.Copy(env.data.ctrl, controls)], [physics.Copy(positions, env.data.qpos)]
    )


@threads
@pytest.mark.parametrize("num_threads", [1, 3])
def test_what_is_copied_is_read_before_and_shown_after_also_by_those_that_rest(num_threads):
    envs = [gym.make("HalfCheetah-v5").unwrapped for _ in range(NUM)]
    for env in envs:
        env.reset(seed=1)
    pairs, copies = [(env.model, env.data) for env in envs], [copies_of(env) for env in envs]
    worlds = physics.worlds_of(mujoco, pairs, copies, 3, settles=False, num_threads=num_threads)
    resting = np.arange(NUM) == 2
    worlds.advance(resting)
    shown = [each.after[0].to for each in copies]
    for env, positions in zip(envs, shown, strict=True):
        assert (env.data.ctrl == 0.5).all()
        np.testing.assert_array_equal(positions, env.data.qpos)
    assert (shown[0] == shown[1]).all()
    assert not (shown[0] == shown[2]).any()


def moved(envs, worlds, num_times=20, resting=None):
    """[NUM, ...] where everything is afterwards, contact forces included."""
    rng = np.random.default_rng(1)
    for _ in range(num_times):
        for env in envs:
            env.data.ctrl[:] = rng.uniform(-1, 1, env.model.nu)
        worlds.advance(resting)
    return np.stack(
        [np.concatenate([e.data.qpos, e.data.qvel, e.data.cfrc_ext.ravel()]) for e in envs]
    )


@threads
@pytest.mark.parametrize("num_threads", [2, 3, 100])
def test_the_numbers_do_not_depend_on_the_threads(num_threads):
    one, several = make(1), make(num_threads)
    assert type(one[1]) is not type(several[1])
    np.testing.assert_array_equal(moved(*several), moved(*one))


@threads
@pytest.mark.parametrize("num_threads", [1, 3])
def test_worlds_that_rest_stay_as_they_are(num_threads):
    envs, worlds = make(num_threads)
    resting = np.arange(NUM) % 2 == 0
    before = np.stack([env.data.qpos.copy() for env in envs])
    moved(envs, worlds, resting=resting)
    after = np.stack([env.data.qpos.copy() for env in envs])
    assert ((before == after).all(axis=1) == resting).all()


@threads
@pytest.mark.parametrize("num_threads", [1, 3])
def test_an_error_of_mujoco_is_raised_here_and_the_others_go_on(num_threads):
    envs, worlds = make(num_threads)
    envs[4].model.opt.integrator = 99
    with pytest.raises(mujoco.FatalError, match="integrator"):
        moved(envs, worlds)
    envs[4].model.opt.integrator = 0
    moved(envs, worlds)


@threads
def test_of_several_errors_the_first_one_is_told_with_its_place():
    envs, worlds = make(2)
    for env in envs[2:5]:
        env.model.opt.integrator = 99
    with pytest.raises(mujoco.FatalError, match="environment 2: "):
        worlds.advance()


@threads
def test_two_threads_of_python_at_the_same_time():
    pairs = [make(2, "Hopper-v5", settles=False) for _ in range(2)]
    found = [None, None]

    def run(index):
        found[index] = moved(*pairs[index], num_times=200)

    both = [threading.Thread(target=run, args=(index,)) for index in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join(60)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(
        found[0], moved(*make(1, "Hopper-v5", settles=False), num_times=200)
    )


@threads
def test_a_fork_has_threads_of_its_own():
    envs, worlds = make(2)
    moved(envs, worlds)
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("fork")
    child = context.Process(target=lambda: there.send(moved(envs, worlds)))
    child.start()
    assert here.poll(60), "the fork waits for threads that it has not got"
    np.testing.assert_array_equal(here.recv(), moved(envs, worlds))
    child.join(60)
    assert child.exitcode == 0
