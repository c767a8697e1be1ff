"""CleanRL's ``ppo.py`` out of a checkout, in an environment of its own; see the package's text."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

STEPS_PER_SECOND = 20_000
"""What it makes at the most, so that a run takes about as long as wanted."""


def main(row: str, seconds: float) -> None:
    """Train and print what came of it; its figure leaves out imports, and counts all else."""
    if row != "ppo_cartpole":
        raise SystemExit(f"CleanRL has no script for {row}")
    script = Path(os.environ["CLEANRL"]).resolve() / "cleanrl" / "ppo.py"
    steps = max(1, round(seconds * STEPS_PER_SECOND / 2048)) * 2048
    options = ["--num-envs", "16", "--num-steps", "128", "--total-timesteps", str(steps)]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, str(script), *options, "--no-cuda"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    speeds = re.findall(r"SPS: (\d+)", done.stdout)
    if done.returncode or not speeds:
        raise SystemExit(done.stderr.strip().splitlines()[-1] if done.stderr else "no figure")
    print(json.dumps({"env_steps": steps, "seconds": steps / int(speeds[-1])}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
