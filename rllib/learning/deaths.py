"""Which errors tell of a death, and which ones learners that died can be the reason of."""

from rllib.core.exceptions import (
    ActorError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    TaskError,
)
from rllib.core.util.collective import CollectiveError
from rllib.errors import LearnerError

DEATHS = (ActorError, NodeDiedError, OutOfMemoryError)
"""What the runtime says of an actor that has died, was killed for its memory, or whose node is
gone."""

_TRACES = (LearnerError, CollectiveError, ObjectLostError, *DEATHS)


def may_be_of_learners(error: BaseException | None) -> bool:
    """Whether learners that died can be the reason: what they should have made is missing, to who
    asked them or to who was given it. An environment's error, or a setting's, is another's."""
    return isinstance(error.cause if isinstance(error, TaskError) else error, _TRACES)
