"""Steps between what a learner is given and its train batch.

    fragments, or draws from a replay buffer --> LearnerConnector -> ... --> build_train_batch

Rewards of curiosity, advantages of one's own, data that is left out: whatever changes what is
learnt from, but not how.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from rllib.config import AlgorithmConfig
from rllib.connectors.build import made_by
from rllib.envs.make import Spaces
from rllib.errors import ConfigError, Problem
from rllib.modules.rl_module import RLModule

StateTree = dict[str, Any]


class LearnerConnector(ABC):
    """One step. Each learner has its own, which sees the learner's part of the experience."""

    @abstractmethod
    def __call__(self, batch: Any, rl_module: RLModule) -> Any:
        """What is learnt from instead of ``batch``, which is not to be written into.

        Args:
            batch: a ``SampleBatch``, or of off-policy algorithms ``Transitions`` or
                ``StepSequences`` (``rllib.replay.samples``).
            rl_module: the module that is trained, as it is now.
        """

    def get_state(self) -> StateTree:
        """All that must survive a restart."""
        return {}

    def set_state(self, state: StateTree) -> None:  # noqa: B027 (most steps have no state)
        """Go on from ``get_state``."""


class LearnerPipeline:
    """Learner connectors one after the other.

    Args:
        connectors: in their order.
    """

    def __init__(self, connectors: Sequence[LearnerConnector] = ()) -> None:
        self.connectors = list(connectors)

    def __call__(self, batch: Any, rl_module: RLModule) -> Any:
        """What comes out of the last one."""
        for connector in self.connectors:
            batch = connector(batch, rl_module)
        return batch

    def get_state(self) -> StateTree:
        """State of all, by place."""
        states = {str(i): each.get_state() for i, each in enumerate(self.connectors)}
        return {place: state for place, state in states.items() if state}

    def set_state(self, state: StateTree) -> None:
        """Go on from ``get_state`` of a pipeline of the same steps."""
        for place, each in state.items():
            self.connectors[int(place)].set_state(each)


def build_learner_pipeline(config: AlgorithmConfig, spaces: Spaces, device: Any) -> LearnerPipeline:
    """What the setting ``learner_connector`` asks for.

    Raises:
        ConfigError: its function did not return learner connectors.
    """
    make = config.learner_connector
    connectors = [] if make is None else made_by(make, spaces.observation, spaces.action, device)
    for connector in connectors:
        if not isinstance(connector, LearnerConnector):
            text = f"should return a LearnerConnector or a list of them, returned {connector!r}"
            raise ConfigError(Problem(text, "learner_connector"))
    return LearnerPipeline(connectors)
