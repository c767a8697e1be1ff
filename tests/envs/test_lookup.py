"""Environment ids: those that there are, and what is said of the others."""

import gymnasium as gym
import pytest

from rllib.envs.counter import CounterEnv
from rllib.envs.faults import EnvSetupError
from rllib.envs.lookup import find_spec


def test_a_registered_id_is_found():
    assert find_spec("CartPole-v1").id == "CartPole-v1"


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("CartPole", "unknown environment 'CartPole'; did you mean 'CartPole-v1'"),
        ("cartpole-v3", "did you mean 'CartPole-v1'"),
        ("CartPoll-v1", "did you mean 'CartPole-v1'"),
        ("rllib.envs.counter:CartPoll-v1", "did you mean 'rllib.envs.counter:CartPole-v1'"),
        ("rllib.envs.counter:CountrEnv", "has no 'CountrEnv'.* did you mean 'rllib.*:CounterEnv'"),
        ("rllib.envs.counter:Other-v0", "importing it registers no environment of that id$"),
        ("MyOwnSimulator-v0", "name the package as well: 'package:MyOwnSimulator-v0'"),
        ("no_such_module:A-v0", "cannot be imported: ModuleNotFoundError"),
        (":A-v0", "cannot be imported: ValueError"),
        ("leaves:A-v0", "cannot be imported: SystemExit: 3"),
    ],
)
def test_another_is_refused_with_the_nearest(env_id, message, tmp_path, monkeypatch):
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EnvSetupError, match=message):
        find_spec(env_id)


def test_the_newest_version_is_the_one_with_the_greatest_number():
    for version in (2, 10):
        gym.register(f"Counts-v{version}", CounterEnv)
    try:
        with pytest.raises(EnvSetupError, match="did you mean 'Counts-v10'"):
            find_spec("Counts-v3")
    finally:
        for version in (2, 10):
            del gym.registry[f"Counts-v{version}"]
