"""Arithmetic of small networks in C, where it was compiled at installation.

dense.c    layers forward and backward, alone and several at the same time
dense_*.c  the same dense_passes.h for each kind of processor
library    finds and loads what was compiled; nothing if there is none
dense      a chain of layers with its memory, as Python sees it
together   chains that pass at the same time
conv.c     convolutions over images in bfloat16, where a processor multiplies such
conv       the same as Python sees it
ppo.c      PPO's loss of rows, and the gradient by what networks gave
ppo        the same between two chains
sac.c      SAC's losses of rows and gradients, through all of its networks
sac        the same as Python sees it
dqn.c      DQN's targets, and loss of rows with its gradient
dqn        the same between two Q-networks
adam.c     Adam's step, and norms
adam       the same as Python sees it

Nothing here is needed: without it numpy and torch compute the same.
"""

from rllib.kernels.adam import AdamKernel
from rllib.kernels.conv import (
    MOST_CONVS,
    ConvKernel,
    ConvLayer,
    ConvParameters,
    ConvPass,
    has_conv,
)
from rllib.kernels.dense import ACTIVATIONS, DenseKernel, DenseLayer
from rllib.kernels.dqn import DQNKernel, DQNLoss, QKernels
from rllib.kernels.library import is_wide, library, state
from rllib.kernels.ppo import LogStd, PPOKernel, PPOMeans
from rllib.kernels.sac import SACKernel, SACMeans, SACRows
from rllib.kernels.together import Together

__all__ = [
    "ACTIVATIONS",
    "MOST_CONVS",
    "AdamKernel",
    "ConvKernel",
    "ConvLayer",
    "ConvParameters",
    "ConvPass",
    "DQNKernel",
    "DQNLoss",
    "DenseKernel",
    "DenseLayer",
    "LogStd",
    "PPOKernel",
    "PPOMeans",
    "QKernels",
    "SACKernel",
    "SACMeans",
    "SACRows",
    "Together",
    "has_conv",
    "is_wide",
    "library",
    "state",
]
