"""Who types what other tools understand is told how it is said here."""

import pytest
from typer.testing import CliRunner

from rllib.cli import app, elsewhere

RUNNER = CliRunner()


def error(*arguments: str) -> str:
    """What the command prints in the end, on one line; it must fail with 2."""
    wide = {"COLUMNS": "200", "NO_COLOR": "1"}
    done = RUNNER.invoke(app, list(arguments), env=wide, prog_name="rllib")
    assert done.exit_code == 2, done.output
    return " ".join(done.output.split("Error: ")[1].split())


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ("train --algo ppo --env CartPole-v1", "rllib init ENV --algorithm PPO writes one"),
        ("train --run PPO", "rllib presets lists those that there are"),
        ("train -n 5000", "--stop num_env_steps_sampled_lifetime=N"),
        ("train --config ppo_cartpole --total-timesteps 9", "num_env_steps_sampled_lifetime=N"),
        ("train --config ppo_cartpole --seed 3", "without dashes: seed=VALUE"),
        ("train --config ppo_cartpole --n-envs 4", "without dashes: num_envs_per_env_runner=VALUE"),
        ("train --config ppo_cartpole --num-workers 4", "without dashes: num_env_runners=VALUE"),
        ("train --config ppo_cartpole --learning-rate 1", "without dashes: lr=VALUE"),
        ("train --config ppo_cartpole --logdir logs", "--runs-dir and --name"),
        ("train ppo_cartpole", "Did you mean: rllib train --config ppo_cartpole"),
        ("train lr=3 my_env.yaml", "Did you mean: rllib train --config my_env.yaml"),
        ("train", "It is the name of a preset (rllib presets) or a file"),
        ("evaluate x --deterministic", "--explore draws actions"),
        ("evaluate x --n-eval-episodes 3", "it is called --episodes here"),
        ("resume ppo_cartpole", "the same rllib train that began a run continues it"),
        ("list", "rllib presets lists configs"),
        ("tensorboard", "tensorboard --logdir runs"),
        ("eval ppo_cartpole", "Did you mean 'evaluate'?"),
    ],
)
def test_another_tools_words_are_understood(arguments: str, hint: str) -> None:
    assert hint in error(*arguments.split())


def test_what_nobody_knows_is_an_error_as_before() -> None:
    assert error("train", "--config", "x", "--zzz") == "No such option: --zzz"
    assert error("zzz") == "No such command 'zzz'."


def test_no_hint_hides_a_command_of_ours() -> None:
    assert not elsewhere.COMMANDS.keys() & {each.name for each in app.registered_commands}
