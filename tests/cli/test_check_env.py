"""``rllib check-env``: names, arguments and exit codes."""

import pytest
from typer.testing import CliRunner

from rllib import plugins
from rllib.cli import app
from rllib.env_check import env_config, find
from rllib.envs.counter import CounterEnv
from rllib.errors import ConfigError


def run(*arguments):
    result = CliRunner().invoke(app, ["check-env", *arguments])
    return result.exit_code, result.output


def test_a_sound_environment_is_code_0():
    code, output = run("CartPole-v1", "sutton_barto_reward=true")
    assert code == 0
    assert output.splitlines()[-1] == "CartPole-v1: no errors, no warnings"
    assert "env steps/s" in output


def test_a_broken_one_is_code_1_with_the_place():
    code, output = run("rllib.envs.counter:CounterEnv", "nan_at=5")
    assert code == 1
    assert "error: reward: nan at env step 5" in output
    assert output.splitlines()[-1] == "rllib.envs.counter:CounterEnv: 1 error, no warnings"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no_such_module:Env",), "No module named 'no_such_module'"),
        (("CartPole-v1", "gravity"), "write it as key=value"),
    ],
)
def test_what_makes_no_sense_is_code_2(arguments, message):
    code, output = run(*arguments)
    assert code == 2
    assert message in output


def test_names_of_every_kind():
    assert find("rllib.envs.counter:CounterEnv").creator is CounterEnv
    assert find("CartPole-v1") == "CartPole-v1"
    assert find("gymnasium:CartPole-v1") == "gymnasium:CartPole-v1"
    plugins.register_env("my_counter", CounterEnv)
    assert find("my_counter")({"reward_scale": 2.0}).reward_scale == 2.0
    with pytest.raises(ConfigError, match="cannot be loaded"):
        find("rllib.envs.no_such_file:Env")


def test_arguments_nest():
    assert env_config(["a=1", "b.c=[2, 3]", "b.d=x"]) == {"a": 1, "b": {"c": [2, 3], "d": "x"}}
