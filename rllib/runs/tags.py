"""Names of metrics in TensorBoard and other loggers as other libraries write them.

A dashboard that was made for their runs then shows ours. ``progress.jsonl`` always has our names,
which are RLlib's.
"""

from typing import Literal

from rllib.metrics.names import ALL_MODULES
from rllib.runs.record import ENV_STEPS, ITERATION, Metrics

TagStyle = Literal["native", "rllib", "sb3", "cleanrl"]

_RETURN, _LENGTH = "env_runners/episode_return_mean", "env_runners/episode_len_mean"
_SPEED = "num_env_steps_sampled_lifetime_throughput"
_EVALUATION = "evaluation/env_runners"

TAGS: dict[str, dict[str, str]] = {
    "sb3": {
        _RETURN: "rollout/ep_rew_mean",
        _LENGTH: "rollout/ep_len_mean",
        _SPEED: "time/fps",
        ITERATION: "time/iterations",
        "time_total_s": "time/time_elapsed",
        ENV_STEPS: "time/total_timesteps",
        f"{_EVALUATION}/episode_return_mean": "eval/mean_reward",
        f"{_EVALUATION}/episode_len_mean": "eval/mean_ep_length",
    },
    "cleanrl": {
        _RETURN: "charts/episodic_return",
        _LENGTH: "charts/episodic_length",
        _SPEED: "charts/SPS",
    },
}
"""By style; what is not here keeps its name."""

LEARNER_TAGS: dict[str, tuple[str, dict[str, str]]] = {
    "sb3": (
        "train",
        {
            "total_loss": "loss",
            "vf_loss": "value_loss",
            "policy_loss": "policy_gradient_loss",
            "mean_kl_loss": "approx_kl",
            "vf_explained_var": "explained_variance",
        },
    ),
    "cleanrl": (
        "losses",
        {
            "vf_loss": "value_loss",
            "mean_kl_loss": "approx_kl",
            "vf_explained_var": "explained_variance",
        },
    ),
}
"""The group of what a learner reports, and the names that are others there."""


def tagged(metrics: Metrics, style: TagStyle) -> Metrics:
    """Flat metrics under the names of a style."""
    if style == "native":
        return metrics
    return {_tag(name, style): value for name, value in metrics.items()}


def _tag(name: str, style: TagStyle) -> str:
    if style == "rllib":  # as Ray's Tune writes RLlib's results
        return f"ray/tune/{name}"
    if name in TAGS[style]:
        return TAGS[style][name]
    section, _, rest = name.partition("/")
    module, _, metric = rest.partition("/")
    if section != "learners" or not metric or module == ALL_MODULES:
        return name
    group, names = LEARNER_TAGS[style]
    own = "" if module == "default_policy" else f"{module}/"
    return f"{group}/{own}{names.get(metric, metric)}"
