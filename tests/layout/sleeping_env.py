"""CartPole whose every step takes a while in which no CPU is busy."""

import time
from typing import Any

from gymnasium.envs.classic_control.cartpole import CartPoleEnv


class Sleeping(CartPoleEnv):
    """Sleeps in ``step``."""

    def __init__(self, env_config: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.sleep_s = (env_config or {}).get("sleep_s", 2e-3)

    def step(self, action: Any) -> Any:
        time.sleep(self.sleep_s)
        return super().step(action)
