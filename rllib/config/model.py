"""The shape of the networks: what stands under ``model_config``."""

from collections.abc import Callable, Iterator, KeysView, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from pydantic.json_schema import SkipJsonSchema

from rllib.config.types import SETTINGS, Activation, PositiveFloat, Sizes

Side = PositiveInt | Annotated[tuple[PositiveInt, PositiveInt], Field(strict=False)]
ConvFilter = Annotated[tuple[PositiveInt, Side, Side], Field(strict=False)]
Initializer = str | SkipJsonSchema[Callable[..., Any]] | None
"""Name of a function of ``torch.nn.init``, or a function of that kind; null is the module's own."""
Arguments = dict[str, Any] | None


class ModelConfig(BaseModel):
    """The networks of a module; RLlib's ``DefaultModelConfig``.

    A setting may be read as ``model.fcnet_hiddens`` or ``model["fcnet_hiddens"]``. A module of
    one's own may have settings of its own in here; with the default modules they are an error.
    """

    model_config = SETTINGS | ConfigDict(frozen=True, extra="allow")

    fcnet_hiddens: Sizes = (256, 256)
    """Widths of the hidden layers, from the observation on."""
    fcnet_activation: Activation = "tanh"
    """Activation after every hidden layer; "silu" is also called "swish"."""
    fcnet_kernel_initializer: Initializer = None
    """How weights of hidden layers are drawn: a function of ``torch.nn.init``; null for
    orthogonal ones with gain sqrt(2)."""
    fcnet_kernel_initializer_kwargs: Arguments = None
    """Arguments of that function."""
    fcnet_bias_initializer: Initializer = None
    """How biases of hidden layers are drawn; null for zeros."""
    fcnet_bias_initializer_kwargs: Arguments = None
    """Arguments of that function."""
    fcnet_use_layernorm: bool = False
    """Whether a LayerNorm follows every hidden layer."""
    encoder: Literal["auto", "mlp", "nature", "impala"] = "auto"
    """What reads images: the convolutions of DQN's Nature paper or of IMPALA; "auto" takes "nature"
    for images and "mlp", which flattens everything, for the rest."""
    conv_filters: Annotated[tuple[ConvFilter, ...], Field(strict=False)] | None = None
    """Own convolutions instead: [channels, kernel, stride] of each layer; kernel and stride may be
    [height, width]."""
    conv_activation: Activation = "relu"
    """Activation after every convolution."""
    conv_kernel_initializer: Initializer = None
    """How weights of convolutions are drawn; null for orthogonal ones."""
    conv_kernel_initializer_kwargs: Arguments = None
    """Arguments of that function."""
    conv_bias_initializer: Initializer = None
    """How biases of convolutions are drawn; null for zeros."""
    conv_bias_initializer_kwargs: Arguments = None
    """Arguments of that function."""
    head_fcnet_hiddens: Sizes = ()
    """Widths of further hidden layers of each head, after everything that is shared."""
    head_fcnet_activation: Activation = "relu"
    """Activation after those."""
    head_fcnet_kernel_initializer: Initializer = None
    """How weights of the heads' hidden layers are drawn; null for orthogonal ones."""
    head_fcnet_kernel_initializer_kwargs: Arguments = None
    """Arguments of that function."""
    head_fcnet_bias_initializer: Initializer = None
    """How biases of the heads' hidden layers are drawn; null for zeros."""
    head_fcnet_bias_initializer_kwargs: Arguments = None
    """Arguments of that function."""
    head_fcnet_use_layernorm: bool = False
    """Whether a LayerNorm follows every hidden layer of a head."""
    free_log_std: bool = True
    """Continuous actions: log standard deviation as a parameter of its own, not an output; those
    that are part of a Dict or Tuple always have it as an output."""
    initial_log_std: float = 0.0
    """Continuous actions: the log standard deviation at first, as a parameter or near it as an
    output; less explores less."""
    log_std_clip_param: PositiveFloat = 20.0
    """Continuous actions: the log standard deviation is kept within plus and minus this."""
    vf_share_layers: bool = False
    """Whether policy and value function share their hidden layers."""
    use_lstm: bool = False
    """Whether an LSTM follows the hidden layers, so that the policy remembers."""
    use_gru: bool = False
    """Whether a GRU does."""
    max_seq_len: PositiveInt = 20
    """Longest sequence of env steps through which a recurrent policy's gradients go back."""
    lstm_cell_size: PositiveInt = 256
    """Width of the LSTM's or GRU's state."""
    lstm_use_prev_action: bool = False
    """Whether the module, with a memory or without, also reads the previous action: observations
    become a Dict with the field ``prev_actions``."""
    lstm_use_prev_reward: bool = False
    """Whether the module, with a memory or without, also reads the previous reward: observations
    become a Dict with the field ``prev_rewards``."""
    lstm_kernel_initializer: Initializer = None
    """How weights of the LSTM or GRU are drawn; null for orthogonal ones."""
    lstm_kernel_initializer_kwargs: Arguments = None
    """Arguments of that function."""
    lstm_bias_initializer: Initializer = None
    """How biases of the LSTM or GRU are drawn; null for zeros."""
    lstm_bias_initializer_kwargs: Arguments = None
    """Arguments of that function."""
    fusionnet_hiddens: Sizes | None = None
    """Critics of continuous actions: widths of the layers that join what was made, by ``fcnet``
    layers of their own, of observations and of actions; null reads actions beside observations."""
    fusionnet_activation: Activation = "tanh"
    """Activation after those."""
    fusionnet_kernel_initializer: Initializer = None
    """How their weights are drawn; null for orthogonal ones."""
    fusionnet_kernel_initializer_kwargs: Arguments = None
    """Arguments of that function."""
    fusionnet_bias_initializer: Initializer = None
    """How their biases are drawn; null for zeros."""
    fusionnet_bias_initializer_kwargs: Arguments = None
    """Arguments of that function."""

    def updated(self, settings: "ModelConfig | Mapping[str, Any]") -> Self:
        """The same with ``settings``, of which only those count that were set."""
        if isinstance(settings, ModelConfig):
            settings = {name: settings[name] for name in settings.model_fields_set}
        own = {name: self[name] for name in self.model_fields_set}
        return type(self)(**own | dict(settings))

    @property
    def has_memory(self) -> bool:
        """Whether there is an LSTM or a GRU."""
        return self.use_lstm or self.use_gru

    @property
    def own_settings(self) -> dict[str, Any]:
        """Settings that only a module of one's own knows."""
        return dict(self.model_extra or {})

    # As RLlib's modules read it.

    def __getitem__(self, key: str) -> Any:
        if key not in self:
            raise KeyError(key)
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        """Say how a setting is changed.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"write config.rl_module(model_config={{{key!r}: {value!r}}})")

    def __contains__(self, key: object) -> bool:
        return key in type(self).model_fields or key in (self.model_extra or {})

    def get(self, key: str, default: Any = None) -> Any:
        """The setting ``key``, or ``default`` if there is none of that name."""
        try:
            return self[key]
        except KeyError:
            return default

    def keys(self) -> KeysView[str]:
        """Names of all settings."""
        return (dict.fromkeys(type(self).model_fields) | self.own_settings).keys()

    def items(self) -> Iterator[tuple[str, Any]]:
        """Names and values of all settings."""
        return ((key, self[key]) for key in self.keys())
