"""Processes of environments: what is for the main process is not for them, and none outlives it."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest

from rllib.envs.async_backend import AsyncBackend
from rllib.envs.counter import CounterEnv
from rllib.envs.make import make_vector_env

HERE = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}

STOPS = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP]


class Hangs(CounterEnv):
    """Its second step never comes back."""

    def step(self, action):
        if self.num_steps == 1:
            os.write(1, b"hangs\n")  # in one piece
            threading.Event().wait()
        return super().step(action)


def step(env):
    return env.step(np.zeros(2, np.int64))


def test_signals_that_all_get_are_left_to_the_main_process():
    env = make_vector_env(CounterEnv, 2, "async")
    try:
        env.reset(1)
        for process in multiprocessing.active_children():
            for signum in STOPS:
                os.kill(process.pid, signum)
        for _ in range(5):
            step(env)
    finally:
        env.close()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("how", [{"terminate": True}, {"timeout": 0.1}])
def test_those_that_do_not_come_back_are_ended_all_the_same(how):
    env = make_vector_env(Hangs, 2, "async")
    env.reset(1)
    step(env)
    env.unwrapped.step_async(np.zeros(2, np.int64))
    env.unwrapped.close(**how)
    assert multiprocessing.active_children() == []


class Broken(CounterEnv):
    """Made well once, and then no more."""

    def __init__(self, config):
        raise ValueError("no such display")


def test_of_a_vector_that_could_not_be_made_no_process_stays():
    with pytest.raises((OSError, EOFError)):
        AsyncBackend([lambda: CounterEnv({}), lambda: Broken({})])
    gc.collect()
    assert multiprocessing.active_children() == []


SERVING = """
import multiprocessing
from rllib.envs.counter import CounterEnv
from rllib.envs.make import make_vector_env
from test_env_process import step
if __name__ == "__main__":
    multiprocessing.set_start_method({method!r})
    env = make_vector_env(CounterEnv, 2, "async")
    env.reset(1)
    step(env)
    env.close()
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_they_serve_however_they_are_started(method, tmp_path):
    script = tmp_path / "serving.py"
    script.write_text(SERVING.format(method=method))
    subprocess.run([sys.executable, script], env=HERE, timeout=60, check=True)


HANGING = """
import multiprocessing, numpy as np
from rllib.envs.make import make_vector_env
from test_env_process import Hangs, step
env = make_vector_env(Hangs, 2, "async")
env.reset(1)
print(*[child.pid for child in multiprocessing.active_children()], flush=True)
step(env), step(env)
"""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_they_end_with_the_main_process(signum):
    with subprocess.Popen(
        [sys.executable, "-c", HANGING],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=HERE,
    ) as main:
        try:
            children = [psutil.Process(int(pid)) for pid in main.stdout.readline().split()]
            assert len(children) == 2
            assert [main.stdout.readline() for _ in children] == ["hangs\n"] * 2
            main.send_signal(signum)
            assert main.wait(timeout=20) == -signum
        finally:
            main.kill()
    assert psutil.wait_procs(children, timeout=20)[1] == []
