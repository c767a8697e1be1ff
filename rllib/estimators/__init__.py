"""Returns, advantages and targets as pure functions of time-major arrays or tensors."""

from rllib.estimators.advantages import Advantages, gae, next_values
from rllib.estimators.returns import NStep, discounted_returns, n_step, n_step_returns, td_lambda
from rllib.estimators.statistics import explained_variance, mean_and_std, moving_average
from rllib.estimators.vtrace import VTrace, vtrace

__all__ = [
    "Advantages",
    "NStep",
    "VTrace",
    "discounted_returns",
    "explained_variance",
    "gae",
    "mean_and_std",
    "moving_average",
    "n_step",
    "n_step_returns",
    "next_values",
    "td_lambda",
    "vtrace",
]
