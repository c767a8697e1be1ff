"""What worker processes find imported already.

By itself and light, because they are to be started before torch is imported here: while this
process reads and checks the config, theirs imports the same.
"""

from rllib.plugins import ALGORITHMS, OURS

PRELOAD = (
    "torch",
    "gymnasium",
    "rllib.sampling.env_runner",
    "rllib.learning.learner",
    "rllib.algorithm",
)
"""What all env runners and learners need."""


def preload_for(algorithm: object) -> tuple[str, ...]:
    """The same, and what the algorithm of that name needs, if it is one of ours.

    Code of others is imported where it runs: it may not bear being forked.
    """
    ours = OURS[ALGORITHMS].get(algorithm) if isinstance(algorithm, str) else None
    return (*PRELOAD, ours.partition(":")[0]) if ours else PRELOAD
