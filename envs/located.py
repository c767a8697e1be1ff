"""Exceptions that tell where in an environment something went wrong. Imports nothing heavy."""

from typing import Any


class Located(Exception):
    """Tells environment, step, agent, field and value, as far as they are known.

    Attributes:
        env_index: index in the vector environment, ``None`` if the backend cannot tell.
        step: env steps that this environment had taken since it was made.
        agent: whose value it is, in an environment of several.
        field: ``"obs"``, ``"reward"``, ``"obs['camera']"``, ... if a value is at fault.
        value: the offending number, or the ``repr`` of what is none.
    """

    def __init__(
        self,
        message: str,
        *,
        env_index: int | None = None,
        step: int | None = None,
        agent: Any = None,
        field: str | None = None,
        value: Any = None,
    ) -> None:
        super().__init__(message)
        self.env_index = env_index
        self.step = step
        self.agent = agent
        self.field = field
        self.value = value

    @property
    def place(self) -> dict[str, Any]:
        """The attributes by name: what another one of the same place is made with."""
        names = ("env_index", "step", "agent", "field", "value")
        return {name: getattr(self, name) for name in names}
