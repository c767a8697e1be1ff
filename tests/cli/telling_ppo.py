"""PPO that says when each iteration has ended, so that a test knows when to strike."""

from typing import Any

from rllib.algorithms.ppo import PPO


class TellingPPO(PPO):
    def train(self) -> dict[str, Any]:
        result = super().train()
        print(f"trained {self.iteration}", flush=True)
        return result
