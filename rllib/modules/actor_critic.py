"""The default module: policy and value function over encoded observations.

    obs -> encoder -> [memory] -> [head layers] -> pi -> action_dist_inputs
           critic encoder or the same          -> vf -> values

Legend: ... leading dimensions: [B] rows, or [B, L] steps of sequences.
"""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rllib.actions import GaussianHead, action_head, input_limits
from rllib.columns import Columns
from rllib.config.model import ModelConfig
from rllib.modules.networks import MLP, Encoder, encoded_tensors, is_chain, memory_for, output
from rllib.modules.observations import ObservationEncoder
from rllib.modules.rl_module import Batch, RLModule
from rllib.policies.mlp_policy import Layer, MLPPolicy, layers_of
from rllib.policies.policy import Policy
from rllib.tensors import Tree


class ActorCriticModule(RLModule):
    """Fully connected layers, convolutions for images, and an LSTM or GRU if asked for.

    The output layers have orthogonal weights of gain 0.01 (policy) and 1 (value). What follows a
    memory is shared by policy and value function, and so are the layers before it.
    """

    has_model_config = True

    model_config: ModelConfig
    limits: Tensor | None

    def setup(self) -> None:
        """Make the layers that ``model_config`` asks for."""
        model = self.model_config
        self.observations = ObservationEncoder(self.observation_space, model)
        self.encoder = Encoder(self.observations, model)
        self.memory = memory_for(self.encoder.size, model)
        shared = model.vf_share_layers or self.memory is not None
        self.critic_encoder = None if shared else Encoder(self.observations, model)
        width = self.encoder.size if self.memory is None else self.memory.size
        self.pi_layers = MLP(width, model, "head_fcnet")
        self.vf_layers = MLP(width, model, "head_fcnet")
        free_log_std = isinstance(self.head, GaussianHead) and model.free_log_std
        num_outputs = self.head.num_inputs // 2 if free_log_std else self.head.num_inputs
        self.pi = output(self.pi_layers.size, num_outputs, gain=0.01)
        self.vf = output(self.vf_layers.size, 1)
        self.log_std = nn.Parameter(torch.zeros(num_outputs)) if free_log_std else None
        self._widen(model.initial_log_std)
        limits = input_limits(self.head, model.log_std_clip_param)
        self.register_buffer(
            "limits", None if limits is None else torch.from_numpy(limits), persistent=False
        )

    @torch.no_grad()
    def _widen(self, log_std: float) -> None:
        """Begin with this log standard deviation, whatever it is an output of."""
        if self.log_std is not None:
            self.log_std.fill_(log_std)
        else:
            self.pi.bias[list(self.head.log_std_columns)] += log_std

    @classmethod
    def make_policy(
        cls,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        model_config: ModelConfig | Mapping[str, Any],
    ) -> Policy:
        """In numpy where there are only fully connected layers, else in torch."""
        model = model_config if isinstance(model_config, ModelConfig) else None
        if cls is not ActorCriticModule or model is None or not is_chain(model):
            return super().make_policy(observation_space, action_space, model_config)
        observations = ObservationEncoder(observation_space, model)
        if observations.images:
            return super().make_policy(observation_space, action_space, model_config)
        head = action_head(action_space)
        free_log_std = isinstance(head, GaussianHead) and model.free_log_std
        return MLPPolicy(
            observations,
            head,
            [
                *layers_of("encoder.mlp", model.fcnet_hiddens, model.fcnet_activation),
                *layers_of("pi_layers", model.head_fcnet_hiddens, model.head_fcnet_activation),
                Layer("pi", "linear"),
            ],
            log_std="log_std" if free_log_std else None,
            log_std_limit=model.log_std_clip_param,
        )

    def encode(self, obs: NDArray[Any]) -> Tree:
        """Features [..., D], or a dict of features, images and action mask.

        For a subclass with a forward of its own observations as they are, by part: the layers here
        read those, too.
        """
        if not self._is_read_as(ActorCriticModule):
            return super().encode(obs)
        return encoded_tensors(self.observations, obs)

    def get_initial_state(self) -> dict[str, Tensor]:
        """Zeros for every part of the memory's state."""
        return {} if self.memory is None else self.memory.initial_state()

    def _forward(self, batch: Batch, **kwargs: Any) -> Batch:
        hidden, output = self._hidden(batch)
        output[Columns.ACTION_DIST_INPUTS] = self._dist_inputs(self.pi(self.pi_layers(hidden)))
        return output

    def _forward_train(self, batch: Batch, **kwargs: Any) -> Batch:
        hidden, output = self._hidden(batch)
        output[Columns.ACTION_DIST_INPUTS] = self._dist_inputs(self.pi(self.pi_layers(hidden)))
        output[Columns.EMBEDDINGS] = hidden
        return output

    def compute_values(self, batch: Batch, embeddings: Tensor | None = None) -> Tensor:
        """Values [...]; shared layers are not run again for ``embeddings``."""
        if self.critic_encoder is not None:
            embeddings = self.critic_encoder(batch[Columns.OBS])
        elif embeddings is None:
            embeddings = self._hidden(batch)[0]
        values: Tensor = self.vf(self.vf_layers(embeddings))
        return values.squeeze(-1)

    def policy_state(self) -> dict[str, Tensor]:
        """Everything but the value function."""
        return {
            name: tensor
            for name, tensor in self.state_dict().items()
            if not name.startswith(("vf.", "vf_layers.", "critic_encoder."))
        }

    def _hidden(self, batch: Batch) -> tuple[Tensor, Batch]:
        hidden = self.encoder(batch[Columns.OBS])
        if self.memory is None:
            return hidden, {}
        hidden, state = self.memory(hidden, batch[Columns.STATE_IN])
        return hidden, {Columns.STATE_OUT: state}

    def _dist_inputs(self, out: Tensor) -> Tensor:
        if self.log_std is not None:
            out = torch.cat([out, self.log_std.expand_as(out)], -1)
        return out if self.limits is None else out.clamp(-self.limits, self.limits)
