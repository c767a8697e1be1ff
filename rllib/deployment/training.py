"""The ``rllib train`` of a deployment."""

import shlex
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Training:
    """What is trained.

    Attributes:
        config: preset, or path of a YAML file.
        overrides: ``key=value`` settings.
        stop: ``metric=number`` criteria.
        name: of the run; None takes the config's.
        runs_dir: folder of all runs, on a disk that outlives the machine.
    """

    config: str
    overrides: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    name: str | None = None
    runs_dir: str = "runs"

    @property
    def title(self) -> str:
        """The name of the run."""
        return self.name or Path(self.config).stem

    def command(self, address: str) -> str:
        """The command, whose ``address`` a shell expands."""
        words = ["rllib", "train", "--config", self.config, "--runs-dir", self.runs_dir]
        if self.name:
            words += ["--name", self.name]
        for criterion in self.stop:
            words += ["--stop", criterion]
        rest = shlex.join(self.overrides)
        return f'{shlex.join(words)} --address "{address}"{" " if rest else ""}{rest}'
