"""Our connectors under RLlib's signatures, and its learner connectors that have nothing to do here.

``multi_agent`` changes nothing: with several agents every module has a pipeline of its own.
"""

from typing import Any

from rllib.connectors import filters, observations, past
from rllib.connectors.learner import LearnerConnector
from rllib.modules.rl_module import RLModule


class MeanStdFilter(filters.MeanStdFilter):
    """Observations shifted and scaled to mean 0 and standard deviation 1.

    Args:
        multi_agent: no effect here.
        clip_by_value: the result is clipped to plus and minus this; ``None`` leaves it.
    """

    def __init__(self, *, multi_agent: bool = False, clip_by_value: float | None = 10.0) -> None:
        super().__init__(clip_by_value)


class FlattenObservations(observations.FlattenObservations):
    """Any observation as one row of numbers."""

    def __init__(self, *, multi_agent: bool = False) -> None:
        super().__init__()


class FrameStacking(observations.FrameStacking):
    """The last ``num_frames`` observations side by side in the last dimension."""

    def __init__(self, *, num_frames: int = 1, multi_agent: bool = False) -> None:
        super().__init__(num_frames)


class PrevActionsPrevRewards(past.PrevActionsPrevRewards):
    """Observations that also tell the last actions and rewards of the episode."""

    def __init__(
        self, *, multi_agent: bool = False, n_prev_actions: int = 1, n_prev_rewards: int = 1
    ) -> None:
        super().__init__(n_prev_actions, n_prev_rewards)


class FrameStackingLearner(LearnerConnector):
    """What ``FrameStacking`` does for env runners, for learners: nothing is left to be done.

    A fragment holds what came out of the env-to-module connectors.
    """

    def __init__(self, *, num_frames: int = 1, multi_agent: bool = False) -> None:
        """Take RLlib's arguments."""

    def __call__(self, batch: Any, rl_module: RLModule) -> Any:
        """The same."""
        return batch
