"""The learner of a module that has nothing to learn: random or scripted policies among others."""

from collections.abc import Sequence
from typing import Any, NoReturn

from rllib.config import AlgorithmConfig
from rllib.envs.make import Spaces
from rllib.learning.learner import Learner
from rllib.learning.loss import Metrics
from rllib.learning.optimizer import Adam
from rllib.learning.shares import Share
from rllib.learning.torch_random import TorchStream


class Bystander(Learner[Any]):
    """Keeps a module without parameters, and counts no steps as trained on."""

    def configure_optimizers(self) -> dict[str, Adam]:
        """None."""
        return {}

    def build_train_batch(self, batches: tuple[Any, ...]) -> NoReturn:
        """There is nothing to train.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"{type(self.module).__name__} has no parameters to train")

    def compute_loss(self, minibatch: Any) -> NoReturn:
        """As ``build_train_batch``."""
        self.build_train_batch((minibatch,))

    def update(self, *batches: Any, timestep: int = 0, shares: Sequence[Share] = ()) -> Metrics:
        """Nothing but counters."""
        return self._count(0) | {"learner_update_s": 0.0}


def learner_for(config: AlgorithmConfig, spaces: Spaces, algorithm_learner: type[Any]) -> type[Any]:
    """The algorithm's learner, unless the module of these settings has no parameters."""
    spec = config.get_rl_module_spec(spaces)
    if spec.module_class is config.get_default_rl_module_class():
        return algorithm_learner
    with TorchStream(0).active():
        has_parameters = any(True for _ in spec.build().parameters())
    return algorithm_learner if has_parameters else Bystander
