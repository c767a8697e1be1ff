"""What a policy is made of: a torch module with one forward for each of RLlib's three purposes.

    obs --encode--> {"obs": tensors} --forward_*--> {"action_dist_inputs": ..., ...}

A module of one's own overrides ``setup`` and ``_forward`` (and ``compute_values`` where a value
function is needed); ``rllib.modules.actor_critic`` has the default one.

Legend: B rows, L steps of a sequence, A actions.
"""

import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rllib.actions import ActionHead, Fit, action_head, choose, mask_sizes, policy_rows
from rllib.actions import mask_inputs as mask_arrays
from rllib.actions.given import is_given
from rllib.checkpoints.torch_state import get_module_state, set_module_state
from rllib.columns import Columns
from rllib.compat.table import NETWORKS
from rllib.config.multi_agent import DEFAULT_POLICY_ID
from rllib.config.sections import ModelConfig
from rllib.distributions import Distribution, distribution_for, mask_inputs
from rllib.distributions.action_dist import ActionDistClass
from rllib.errors import ConfigError
from rllib.modules.act_input import ActInput
from rllib.modules.noisy import draw_noise
from rllib.modules.observations import ACTION_MASK
from rllib.tensors import Tree, to_tensors

if TYPE_CHECKING:
    from rllib.modules.multi_rl_module import MultiRLModule
    from rllib.policies.policy import Policy

READERS = (
    "_forward",
    "_forward_inference",
    "_forward_exploration",
    "_forward_train",
    "compute_values",
)
"""The methods by which modules read observations."""

Batch = dict[str, Any]
State = dict[str, NDArray[Any]]


def max_seq_len_of(model_config: "ModelConfig | Mapping[str, Any]") -> int:
    """Steps of the longest sequence that a module of this shape is trained on."""
    if isinstance(model_config, ModelConfig):
        return model_config.max_seq_len
    return int(model_config.get("max_seq_len", ModelConfig().max_seq_len))


def refuse_catalog(catalog_class: object) -> None:
    """Say what there is instead of RLlib's catalogs.

    Raises:
        ConfigError: ``catalog_class`` is one, which would be ignored.
    """
    if catalog_class is not None:
        raise ConfigError(f"catalog_class={catalog_class!r}: there are no catalogs; {NETWORKS}")


class RLModule(nn.Module):
    """Policy, and value function where the algorithm needs one.

    Args:
        observation_space: of a single environment.
        action_space: of a single environment.
        inference_only: made to act with, so parts that only training needs may be left out.
        learner_only: made to train with.
        model_config: the networks' shape: a ``ModelConfig``, or a module's own dict.
        catalog_class: RLlib's argument; refused, as there are no catalogs.

    Raises:
        ConfigError: there is a ``catalog_class``.

    Attributes:
        rng: for what a module draws by itself while it acts; an env runner's own while it acts
            there, so that the same seed is the same run.
    """

    framework = "torch"
    has_model_config = False
    """Whether ``model_config`` is a ``ModelConfig``, so that all settings have a value."""
    action_fit: Fit = "none"
    """How continuous actions are fitted to their space, as the spec said."""

    def __init__(
        self,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        *,
        inference_only: bool = False,
        learner_only: bool = False,
        model_config: ModelConfig | Mapping[str, Any] | None = None,
        catalog_class: None = None,
    ) -> None:
        super().__init__()
        refuse_catalog(catalog_class)
        self.observation_space, self.action_space = observation_space, action_space
        self.inference_only, self.learner_only = inference_only, learner_only
        self.rng = np.random.default_rng()
        self.model_config = ModelConfig() if model_config is None else model_config
        self.has_mask = bool(mask_sizes(observation_space, action_space))
        self.head = self.make_head()
        self.distribution = self.make_distribution()
        self.setup()
        for name in self.get_non_inference_attributes() if inference_only else ():
            delattr(self, name)

    # What a module of one's own overrides.

    def setup(self) -> None:
        """Make the layers; the spaces and ``model_config`` are attributes already."""

    def make_head(self) -> ActionHead:
        """How actions are drawn from ``action_dist_inputs`` while acting (numpy)."""
        return action_head(self.action_space)

    def make_distribution(self) -> Distribution:
        """The same distribution while training (torch)."""
        return distribution_for(self.action_space)

    def _forward(self, batch: Batch, **kwargs: Any) -> Batch:
        """Outputs, ``action_dist_inputs`` [B, inputs] among them, for ``batch["obs"]`` [B, ...].

        To act, also ``actions`` [B, ...] will do: see ``rllib.actions.given.policy_rows``.

        Raises:
            TypeError: this module has neither this nor the forward of this purpose.
        """
        raise TypeError(
            f"{type(self).__name__} has no _forward(batch) -> {{'action_dist_inputs': ...}}; "
            "_forward_inference, _forward_exploration and _forward_train would also do"
        )

    @torch.no_grad()
    def _forward_inference(self, batch: Batch, **kwargs: Any) -> Batch:
        return self._forward(batch, **kwargs)

    @torch.no_grad()
    def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Batch:
        return self._forward(batch, **kwargs)

    def _forward_train(self, batch: Batch, **kwargs: Any) -> Batch:
        return self._forward(batch, **kwargs)

    def compute_values(self, batch: Batch, embeddings: Any = None) -> Tensor:
        """Values [B]; ``embeddings`` is what the train forward of the same batch put there.

        Raises:
            TypeError: this module has no value function.
        """
        raise TypeError(
            f"{type(self).__name__} has no compute_values(batch, embeddings=None) -> [B], which "
            "this algorithm needs"
        )

    def get_initial_state(self) -> dict[str, Any]:
        """State of one sequence at the beginning of an episode, by name; empty without memory."""
        return {}

    @property
    def num_noise(self) -> int:
        """Random numbers per row that exploring takes as ``"noise"``; see ``modules.noisy``."""
        return 0

    def encode(self, obs: NDArray[Any]) -> Tree:
        """What stands under ``"obs"``: by default tensors [..., *shape] of each part as it is."""
        return to_tensors(obs)

    def _is_read_as(self, owner: "type[RLModule]") -> bool:
        """Whether everything that reads observations is that of ``owner``, and so may be given its
        features; what somebody else wrote reads observations as the environment gave them."""
        return all(getattr(type(self), name) is getattr(owner, name) for name in READERS)

    def get_non_inference_attributes(self) -> list[str]:
        """Attributes that only training needs: left out where the module only acts."""
        return []

    def policy_state(self) -> dict[str, Tensor]:
        """The part of the state dict that acting needs."""
        others = tuple(f"{name}." for name in self.get_non_inference_attributes())
        state = self.state_dict()
        return {name: part for name, part in state.items() if not name.startswith(others)}

    @classmethod
    def make_policy(
        cls,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        model_config: ModelConfig | Mapping[str, Any],
    ) -> "Policy":
        """What env runners act by: by default the module itself, without gradients."""
        from rllib.policies.policy import TorchPolicy

        module = cls(
            observation_space=observation_space,
            action_space=action_space,
            inference_only=True,
            model_config=model_config,
        )
        return TorchPolicy(module)

    # What everybody calls.

    @property
    def max_seq_len(self) -> int:
        """L: steps of the longest sequence that is trained on."""
        return max_seq_len_of(self.model_config)

    def is_stateful(self) -> bool:
        """Whether the module has a memory."""
        return bool(self.get_initial_state())

    def get_inference_action_dist_cls(self) -> ActionDistClass:
        """What makes a distribution, with RLlib's names, of what ``forward_inference`` gives."""
        return ActionDistClass(self.distribution)

    get_exploration_action_dist_cls = get_inference_action_dist_cls
    get_train_action_dist_cls = get_inference_action_dist_cls

    # State.

    def get_state(
        self,
        components: Any = None,
        *,
        not_components: Any = None,
        inference_only: bool = False,
    ) -> dict[str, NDArray[Any]]:
        """Copies of the weights, by name.

        Args:
            components: has no meaning for a module, which is one whole; there for RLlib.
            not_components: the same.
            inference_only: leave out what acting does not need.
        """
        return get_module_state(self.policy_state() if inference_only else self.state_dict())

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take over weights: all, or all that acting needs; arrays or tensors.

        Raises:
            CheckpointError: they are those of another network; says where they differ.
        """
        is_enough = self.policy_state().keys() <= state.keys() <= self.state_dict().keys()
        rest = get_module_state(self.state_dict()) if is_enough else {}
        set_module_state(self, rest | dict(state))

    def save_to_path(self, path: str | Path | None = None) -> str:
        """Write this module alone into a checkpoint folder; returns its path.

        Args:
            path: the folder; by default a new one in the system's temporary folder.
        """
        from rllib.checkpoints.module_checkpoint import save_modules

        path = path or tempfile.mkdtemp(prefix="rllib-module-")
        return save_modules(path, {DEFAULT_POLICY_ID: self})

    def restore_from_path(self, path: str | Path) -> None:
        """Take over the weights of a checkpoint, which may be named as for ``from_checkpoint``.

        Raises:
            CheckpointError: it is damaged, has no such module, or one of another network.
        """
        from rllib.checkpoints.module_checkpoint import read_weights

        self.set_state(read_weights(Path(path)))

    def as_multi_rl_module(self) -> "MultiRLModule":
        """The only one of a ``MultiRLModule``."""
        from rllib.modules.multi_rl_module import MultiRLModule

        return MultiRLModule({DEFAULT_POLICY_ID: self})

    def __getitem__(self, module_id: str) -> "RLModule":
        """Itself: a learner has one module, which RLlib's scripts name by its id."""
        if not isinstance(module_id, str):
            raise TypeError(f"{type(self).__name__}[module_id] takes an id, got {module_id!r}")
        return self

    def unwrapped(self) -> "RLModule":
        """Itself: learners wrap no module."""
        return self

    @classmethod
    def from_checkpoint(cls, path: str | Path) -> "RLModule":
        """A module alone, to act with, out of a checkpoint of an algorithm or of the module.

        Args:
            path: the checkpoint's folder, for its first module, or what RLlib calls the module's
                folder in it: ``path/learner_group/learner/rl_module/default_policy``.

        Called on ``RLModule`` itself it makes a module of this package, as algorithms do by
        default; one of another class needs the call on that class, as loading imports nothing.

        Raises:
            CheckpointError: it is damaged, has no such module, or one of another class.
        """
        from rllib.checkpoints.module_checkpoint import load_module

        return load_module(path, None if cls is RLModule else cls)

    def forward_inference(self, batch: Batch, **kwargs: Any) -> Batch:
        """Outputs to act greedily by."""
        mask = self._mask_of(batch)
        return self._masked(mask, self._forward_inference(batch, **kwargs))

    def forward_exploration(self, batch: Batch, **kwargs: Any) -> Batch:
        """Outputs to sample actions from."""
        mask = self._mask_of(batch)
        return self._masked(mask, self._forward_exploration(batch, **kwargs))

    def forward_train(self, batch: Batch, **kwargs: Any) -> Batch:
        """Outputs with gradients."""
        mask = self._mask_of(batch)
        output = self._masked(mask, self._forward_train(batch, **kwargs))
        if Columns.ACTION_DIST_INPUTS not in output:
            raise TypeError(
                f"{type(self).__name__}._forward_train gave {sorted(output)}, without "
                f"{Columns.ACTION_DIST_INPUTS!r}, which every loss begins with"
            )
        return output

    def forward(self, batch: Batch, **kwargs: Any) -> Batch:
        """torch's name for the train forward."""
        return self.forward_train(batch, **kwargs)

    def _mask_of(self, batch: Batch) -> Tensor | None:
        """Taken before the forward, which may take it out of the batch for its own use."""
        return batch[Columns.OBS][ACTION_MASK] if self.has_mask else None

    def _masked(self, mask: Tensor | None, output: Batch) -> Batch:
        """Forbid what the observation's action mask forbids, whatever the network says."""
        if not isinstance(output, dict):
            raise TypeError(
                f"{type(self).__name__}'s forward gave a {type(output).__name__}; it should give a "
                f"dict with {Columns.ACTION_DIST_INPUTS!r}"
            )
        if mask is not None and Columns.ACTION_DIST_INPUTS in output:
            inputs = output[Columns.ACTION_DIST_INPUTS]
            output[Columns.ACTION_DIST_INPUTS] = mask_inputs(inputs, mask)
        return output

    def initial_state(self, num: int) -> State:
        """State [num, ...] of ``num`` episodes that begin."""
        return {
            name: np.repeat(np.asarray(part)[None], num, axis=0)
            for name, part in self.get_initial_state().items()
        }

    @torch.no_grad()
    def act(
        self,
        obs: Any,
        state: State | None = None,
        mask: NDArray[Any] | None = None,
        *,
        rng: np.random.Generator | None = None,
        explore: bool = False,
    ) -> Any:
        """Actions as the environment wants them, for observations [B, ...].

        Args:
            obs: observations as environments return them; of Dict and Tuple spaces batches by
                part, or one structured array (``rllib.envs.packing``).
            state: of a module with memory: ``initial_state(B)`` at first, then what this returned.
            mask: [B, A] 1 for each action that is allowed, where the observation does not hold it.
            rng: where the random numbers come from; needed to explore.
            explore: sample from the policy, instead of taking its most likely action.

        Returns:
            The actions; with ``state``, a pair of the actions and the next state.

        Raises:
            ValueError: exploring without ``rng``, or a module with memory without ``state``.
            InputError: an observation or mask that cannot be acted on: without a batch dimension,
                of another shape or kind, with NaN, or forbidding everything.
        """
        if self.is_stateful() and state is None:
            raise ValueError(
                "this module has a memory: act(obs, state) with module.initial_state(len(obs)) at "
                "first, then with the state that act returned"
            )
        if explore and rng is None:
            raise ValueError("act(explore=True) draws random numbers; pass rng=Generator")
        obs = self._act_input.batch(obs)
        if mask is not None:
            mask = self._act_input.mask(mask, obs)
        output = self.act_forward(obs, state or {}, explore, rng)
        rows = policy_rows(self.head, output)
        if mask is not None and not is_given(self.head, rows):
            rows = mask_arrays(rows, mask)
        noise = self.head.draw_noise(rng, (len(rows),)) if rng is not None and explore else None
        actions = choose(self.head, rows, noise)
        in_env = self.head.to_env(actions)
        if state is None:
            return in_env
        return in_env, {k: v.numpy() for k, v in output.get(Columns.STATE_OUT, {}).items()}

    @cached_property
    def _act_input(self) -> ActInput:
        return ActInput(self.observation_space, self.action_space)

    def act_forward(
        self,
        obs: NDArray[Any],
        state: State,
        explore: bool,
        rng: np.random.Generator | None = None,
    ) -> Batch:
        """The forward for acting on observations [B, ...] and state [B, ...] in numpy.

        A module with memory reads sequences of one step, and so has one forward for acting and
        training.

        Args:
            obs: observations.
            state: memory, if the module has any.
            explore: which of the two forwards.
            rng: where the noise of noisy layers comes from; without it there is none.
        """
        forward = self.forward_exploration if explore else self.forward_inference
        lead = (len(obs), 1) if state else (len(obs),)
        batch: Batch = {Columns.OBS: self.encode(obs[:, None] if state else obs)}
        if explore and rng is not None and self.num_noise:
            batch[Columns.NOISE] = torch.from_numpy(draw_noise(rng, (*lead, self.num_noise)))
        if not state:
            return forward(batch)
        batch[Columns.STATE_IN] = {name: torch.from_numpy(part) for name, part in state.items()}
        output = forward(batch)
        for name in (Columns.ACTION_DIST_INPUTS, Columns.ACTIONS, Columns.ACTION_LOGP):
            if name in output:
                output[name] = output[name][:, 0]
        return output
