"""What an env runner acts by: the policy half of a module, in numpy or in torch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from rllib.actions import ActionHead, policy_rows
from rllib.columns import Columns
from rllib.learning.precision import Precision
from rllib.modules.networks import compute_images
from rllib.modules.rl_module import Batch, RLModule, State
from rllib.seeding import draw_seed

if TYPE_CHECKING:
    from rllib.config import AlgorithmConfig
    from rllib.modules.spec import FullSpec

Floats = NDArray[np.float32]
Weights = Mapping[str, NDArray[Any]]


class Policy(Protocol):
    """Turns observations into inputs of the action distribution, which is its ``head``."""

    head: ActionHead

    def use_rng(self, rng: np.random.Generator) -> None:
        """Draw from ``rng`` what acting needs at random besides the head's noise."""

    def set_weights(self, weights: Weights) -> None:
        """Take over the weights of ``RLModule.policy_state``; copies them."""

    def initial_state(self, num: int) -> State:
        """State [num, ...] of episodes that begin; empty without memory."""

    def forward(self, obs: NDArray[Any], state: State, explore: bool) -> tuple[Floats, State]:
        """Distribution inputs [B, inputs] and next state for observations [B, ...].

        Instead of the inputs also actions that were chosen already: see ``rllib.actions.given``.
        """


def make_policy(config: "AlgorithmConfig", spec: "FullSpec") -> Policy:
    """What an env runner of this algorithm acts by.

    Convolutions are in the number format of the learner's, where they are compiled for it: in
    bfloat16 they take a fifth of the time. What follows them is in float32.
    """
    policy = spec.make_policy()
    if isinstance(policy, TorchPolicy):
        in_16_bits = Precision(config.mixed_precision, torch.device("cpu")).dtype is torch.bfloat16
        num_threads = config.num_threads_per_env_runner
        compute_images(policy.module, num_threads, in_16_bits=in_16_bits)
    return policy


class TorchPolicy:
    """Any module, run without gradients.

    Args:
        module: only acted with; its weights come by ``set_weights``.
    """

    def __init__(self, module: RLModule) -> None:
        self.module = module.eval()
        self.head = module.head
        self.rng: np.random.Generator | None = None

    def use_rng(self, rng: np.random.Generator) -> None:
        """Draw from ``rng`` the noise of noisy layers, and what the module draws by itself.

        Samples of its action space have a seed that ``rng`` has brought about, too.
        """
        self.rng = self.module.rng = rng
        self.module.action_space.seed(draw_seed(rng.spawn(1)[0]))

    def set_weights(self, weights: Weights) -> None:
        """Take over the weights that acting needs, and leave those that only training does.

        Raises:
            ValueError: they are those of another network.
        """
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in weights.items()}
        if missing := self.module.policy_state().keys() - tensors.keys():
            raise ValueError(
                f"these are not the weights of this {type(self.module).__name__}: "
                f"{sorted(missing)} missing"
            )
        self.module.load_state_dict(tensors, strict=False)

    def initial_state(self, num: int) -> State:
        """State [num, ...] of episodes that begin."""
        return self.module.initial_state(num)

    @torch.no_grad()
    def forward(self, obs: NDArray[Any], state: State, explore: bool) -> tuple[Floats, State]:
        """As ``Policy.forward``."""
        output = self.module.act_forward(obs, state, explore, self.rng)
        rows = policy_rows(self.head, output)
        return rows, self._next_state(output, state)

    def _next_state(self, output: Batch, state: State) -> State:
        """Raises ``TypeError`` where it is none of the memory that the module began with."""
        found = {name: part.numpy() for name, part in output.get(Columns.STATE_OUT, {}).items()}
        shapes, wanted = ({k: list(v.shape) for k, v in each.items()} for each in (found, state))
        if shapes != wanted:
            raise TypeError(
                f"{type(self.module).__name__}._forward gave the state {shapes or 'nothing'} under "
                f"Columns.STATE_OUT; by get_initial_state it should be {wanted}"
            )
        return found
