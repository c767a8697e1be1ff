"""Virtual environments of the peers, made when they are first asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HOME = Path(os.environ.get("RLLIB_PEERS", Path.home() / ".cache" / "rllib-peers"))
FOLDER = Path(__file__).parent
CONSTRAINTS = FOLDER.parent.parent / "constraints.txt"
INSTALL_S = 1200.0


class PeerUnavailable(RuntimeError):
    """A peer cannot be installed or run here; the text says why."""


@dataclass(frozen=True)
class Peer:
    """A system to compare with."""

    name: str
    program: str
    requirements: tuple[str, ...]

    def python(self) -> Path:
        """The interpreter of its environment, which is made if it is not there.

        Raises:
            PeerUnavailable: it cannot be installed.
        """
        folder = HOME / self.name
        interpreter, ready = folder / "bin" / "python", folder / "ready"
        wanted = "\n".join(self.requirements)
        if ready.exists() and ready.read_text() == wanted:
            return interpreter
        print(f"installing {self.name} into {folder}", file=sys.stderr, flush=True)
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, _torch(), *self.requirements])
        ready.write_text(wanted)
        return interpreter


def _torch() -> str:
    """The same torch for all."""
    lines = CONSTRAINTS.read_text().splitlines()
    return next(line for line in lines if line.startswith("torch=="))


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S)
    except subprocess.TimeoutExpired as error:
        raise PeerUnavailable(f"{command[0]} took longer than {INSTALL_S:.0f} s") from error
    if done.returncode:
        raise PeerUnavailable(" ".join(done.stderr.strip().splitlines()[-1:]) or "pip failed")


SB3 = Peer("sb3", "sb3.py", ("stable-baselines3[extra]", "gymnasium[mujoco]", "ale-py"))
CLEANRL = Peer("cleanrl", "cleanrl.py", ("gymnasium", "tyro", "tensorboard"))
SAMPLE_FACTORY = Peer("sample-factory", "sample_factory_appo.py", ("sample-factory",))
RLLIB = Peer("ray-rllib", "ray_rllib.py", ("ray[rllib]==2.60.0", "gymnasium[mujoco]"))
PEERS = {peer.name: peer for peer in (SB3, CLEANRL, SAMPLE_FACTORY, RLLIB)}
