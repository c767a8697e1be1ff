"""PPO that says when each iteration has ended, so that a test knows when to strike.

With ``BLOCK_AT`` in the environment it stays before that iteration, as ``counting_algo`` does.
"""

import os
import threading
from typing import Any

from rllib.algorithms.ppo import PPO


class TellingPPO(PPO):
    def train(self) -> dict[str, Any]:
        if str(self.iteration + 1) == os.environ.get("BLOCK_AT"):
            print("blocking", flush=True)
            threading.Event().wait()
        result = super().train()
        print(f"trained {self.iteration}", flush=True)
        return result
