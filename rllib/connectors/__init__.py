"""Small steps between environments and module, each usable alone.

    env --obs, rewards--> FrameStacking -> MeanStdFilter -> ... --> module --actions--> env

What a fragment holds is what came out of the last step: the module is trained on what it acted on.
What learners make of it first is in ``rllib.connectors.learner``.
"""

from rllib.connectors.base import Connector, Pipeline, fresh_rows
from rllib.connectors.filters import MeanStdFilter, NormalizeRewards
from rllib.connectors.observations import (
    FlattenObservations,
    FrameStacking,
    MaskFrom,
    ObservationFunction,
    OneHot,
)
from rllib.connectors.past import PrevActionsPrevRewards
from rllib.connectors.rewards import ClipRewards

__all__ = [
    "ClipRewards",
    "Connector",
    "FlattenObservations",
    "FrameStacking",
    "MaskFrom",
    "MeanStdFilter",
    "NormalizeRewards",
    "ObservationFunction",
    "OneHot",
    "Pipeline",
    "PrevActionsPrevRewards",
    "fresh_rows",
]
