"""Settings that change nothing here, and are told so where somebody has set them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING
from warnings import warn

if TYPE_CHECKING:
    from rllib.config.builder import ConfigBuilder

MARK = "No effect here: "
"""What the documentation of such a setting begins with."""


def unheeded(config: "ConfigBuilder") -> Iterator[tuple[str, str]]:
    """Names of such settings that are not at their default, and why they change nothing."""
    for name, field in type(config).model_fields.items():
        text = field.description or ""
        if text.startswith(MARK):
            default = field.get_default(call_default_factory=True)
            if getattr(config, name) != default:
                yield name, " ".join(text.removeprefix(MARK).split()).rstrip(".")


def warn_of_unheeded(config: "ConfigBuilder") -> None:
    """Name all of them in one warning, if there are any."""
    if found := [f"{name} ({reason})" for name, reason in unheeded(config)]:
        warn(f"settings that change nothing: {'; '.join(found)}", RuntimeWarning, stacklevel=3)
