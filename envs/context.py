"""What an environment is made of: its settings, and which one it is, as RLlib tells it."""

from collections.abc import Mapping
from typing import Any


class EnvContext(dict[str, Any]):
    """``env_config``, with the place of the environment that it is for.

    Attributes:
        worker_index: of the env runner: actors count from 1, and 0 is this process.
        vector_index: of the environment within its env runner.
        num_workers: env runners that are actors.
    """

    def __init__(
        self,
        env_config: Mapping[str, Any] | None = None,
        worker_index: int = 0,
        vector_index: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__(env_config or {})
        self.worker_index, self.vector_index = worker_index, vector_index
        self.num_workers = num_workers

    @classmethod
    def of(
        cls, env_config: Mapping[str, Any] | None, vector_index: int | None = None
    ) -> "EnvContext":
        """A copy, for another environment of the vector if ``vector_index`` is one."""
        place = getattr(env_config, "vector_index", 0) if vector_index is None else vector_index
        worker, workers = (getattr(env_config, n, 0) for n in ("worker_index", "num_workers"))
        return cls(env_config, worker, place, workers)
