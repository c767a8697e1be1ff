"""Replay buffers for off-policy algorithms: uniform and prioritised, of steps and of sequences."""

from rllib.replay.frame_stack import FrameStack
from rllib.replay.make import make_replay
from rllib.replay.prioritized import PrioritizedReplay, sequence_errors
from rllib.replay.replay import NStep, Replay, UniformReplay
from rllib.replay.ring_state import join_rows
from rllib.replay.samples import ReplayStatistics, StepSequences, Transitions
from rllib.replay.sum_tree import SumTree

__all__ = [
    "FrameStack",
    "NStep",
    "PrioritizedReplay",
    "Replay",
    "ReplayStatistics",
    "StepSequences",
    "SumTree",
    "Transitions",
    "UniformReplay",
    "join_rows",
    "make_replay",
    "sequence_errors",
]
