"""Action distributions in torch, as pure functions of the network's outputs: for training.

The twin of ``rllib.actions``, which acts with the same distributions in numpy. Written out rather
than taken from ``torch.distributions``, whose objects cost more than the arithmetic on small nets.
"""

from rllib.distributions.base import Distribution
from rllib.distributions.binary import Bernoulli
from rllib.distributions.box import Deterministic, DiagGaussian, Sampled, SquashedGaussian
from rllib.distributions.categorical import Categorical, MultiCategorical
from rllib.distributions.composite import Composite
from rllib.distributions.greedy import EpsilonGreedy
from rllib.distributions.masks import mask_inputs
from rllib.distributions.select import distribution_for, distribution_of

__all__ = [
    "Bernoulli",
    "Categorical",
    "Composite",
    "Deterministic",
    "DiagGaussian",
    "Distribution",
    "EpsilonGreedy",
    "MultiCategorical",
    "Sampled",
    "SquashedGaussian",
    "distribution_for",
    "distribution_of",
    "mask_inputs",
]
