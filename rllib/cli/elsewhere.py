"""What those type who come from another tool, and how it is said here; asked after an error."""

from collections.abc import Sequence

from rllib.cli import completion

_TRAIN = "rllib train --config ppo_cartpole begins a run"
_GOES_ON = "the same rllib train that began a run continues it"
_LIST = "rllib presets lists configs; the folder runs/ has the runs"
COMMANDS = {
    **dict.fromkeys(("resume", "continue", "restore"), _GOES_ON),
    **dict.fromkeys(("run", "learn", "fit", "tune", "example"), _TRAIN),
    **dict.fromkeys(("list", "ls", "runs", "algos", "envs", "configs"), _LIST),
    **dict.fromkeys(("rollout", "test"), "rllib evaluate RUN plays the policy of a run"),
    **dict.fromkeys(("play", "watch", "render"), "rllib enjoy RUN shows the policy of a run"),
    **dict.fromkeys(("video", "record"), "rllib evaluate RUN --video FILE.mp4 films a policy"),
    "tensorboard": "tensorboard --logdir runs shows all curves, rllib plot RUN those of one run",
}
"""Of other tools, to what does that here."""

_CONFIG = (
    "algorithm and environment are in a config: rllib presets lists those that there are, "
    "rllib init ENV --algorithm PPO writes one"
)
_STEPS = "--stop num_env_steps_sampled_lifetime=N"
_FOLDER = "--runs-dir and --name say where a run is written; curves are there, too"
OPTIONS = {
    **dict.fromkeys(("--algo", "--algorithm", "--run", "--env", "--env-id"), _CONFIG),
    **dict.fromkeys(("-n", "--n-timesteps", "--timesteps", "--total-timesteps"), _STEPS),
    **dict.fromkeys(("-f", "--log-folder", "--logdir", "--tensorboard-log", "--output"), _FOLDER),
    **dict.fromkeys(("-i", "--trained-agent", "--resume", "--restore", "--load"), _GOES_ON),
    **dict.fromkeys(("--n-episodes", "--n-eval-episodes"), "it is called --episodes here"),
    **dict.fromkeys(("--deterministic", "--stochastic"), "--explore draws actions; else the best"),
    "--hyperparams": "settings are written KEY=VALUE, without an option",
}


def command_hint(name: str) -> str | None:
    """What to say of a command that there is not."""
    return COMMANDS.get(name)


def option_hint(option: str) -> str | None:
    """What to say of an option that there is not: settings are no options, whoever's they are."""
    if option in OPTIONS:
        return OPTIONS[option]
    from rllib.config.names import RENAMED

    name = option.lstrip("-").replace("-", "_")
    setting = RENAMED.get(name, name)
    if setting.partition(".")[0] in completion.settings("") or setting.startswith("stop."):
        return f"settings are written without dashes: {setting}=VALUE"
    return None


def config_hint(command: str, arguments: Sequence[str]) -> str:
    """What to say where ``--config`` is missing, as in ``rllib train ppo_cartpole``."""
    named = [word for word in arguments if not word.startswith("-") and "=" not in word]
    known = completion.presets("")
    name = next((word for word in named if word in known or word.endswith(completion.FILES)), None)
    if name:
        return f"Did you mean: {command} --config {name}"
    return "It is the name of a preset (rllib presets) or a file (rllib init ENV writes one)"
