"""Settings of images, in the sight of what modules see."""

from collections.abc import Mapping

from rllib.config.model import ModelConfig
from rllib.errors import ConfigError, Problem
from rllib.modules.observations import ObservationEncoder
from rllib.modules.spec import FullSpec

_KEY = "model_config.conv_filters"


def check_filters(specs: Mapping[str, FullSpec]) -> None:
    """Refuse convolutions that nobody has an image for.

    Of several modules that share a ``model_config`` one that sees images will do. A module of one's
    own may read its settings as it likes.

    Args:
        specs: of all modules, by id.

    Raises:
        ConfigError: names module, space and what to do.
    """
    unused: dict[object, str] = {}
    used = set()
    for module_id, spec in specs.items():
        model = spec.model_config
        if not isinstance(model, ModelConfig) or not model.conv_filters or _is_own(spec):
            continue
        if ObservationEncoder(spec.observation_space, model).images:
            used.add(model.conv_filters)
        else:
            unused.setdefault(model.conv_filters, module_id)
    for filters, module_id in unused.items():
        if filters not in used:
            raise ConfigError(Problem(_told(module_id, specs[module_id]), _KEY))


def _is_own(spec: FullSpec) -> bool:
    return not spec.module_class.setup.__module__.startswith("rllib.")


def _told(module_id: str, spec: FullSpec) -> str:
    seen = f"module {module_id!r} sees {spec.observation_space}"
    if isinstance(spec.model_config, ModelConfig) and spec.model_config.encoder == "mlp":
        return f"{seen}, which model_config.encoder 'mlp' flattens; leave one of both out"
    return (
        f"{seen}, in which there is no image for convolutions: that is a Box of three dimensions, "
        "[height, width, channels] or [channels, height, width]. Leave conv_filters out, give "
        "observations the dimension that is missing, or leave out the connector that flattens them"
    )
