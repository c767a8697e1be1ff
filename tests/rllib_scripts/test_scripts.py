"""Scripts as users write them for RLlib's new API stack run when their imports are changed.

Nothing else of a script is changed. They are stored with RLlib's imports, and run like that with
RLlib, too (tried with Ray 2.60).
"""

import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from rllib import core
from rllib.preload import PRELOAD

FOLDER = Path(__file__).parent
SCRIPTS = {path.stem: path.read_text() for path in sorted(FOLDER.glob("[!_t]*.py"))}
CHANGES = {
    r"\bray\.rllib\b": "rllib",
    r"\bray\.tune\b": "rllib.tune",
    r"^from ray import tune$": "from rllib import tune",
    r"^import ray$": "from rllib import core as ray",
}


@pytest.fixture(scope="module", autouse=True)
def processes() -> Iterator[None]:
    """One runtime for all: it begins with the first actor otherwise, which takes seconds."""
    with core.init(num_cpus=4, preload=PRELOAD):
        yield


def changed(script: str) -> str:
    for pattern, ours in CHANGES.items():
        script = re.sub(pattern, ours, script, flags=re.MULTILINE)
    return script


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_for_rllib_runs(name: str, tmp_path: Path) -> None:
    script = tmp_path / f"{name}.py"
    script.write_text(changed(SCRIPTS[name]))
    runpy.run_path(str(script), run_name="__main__")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_one_for_rllib(name: str) -> None:
    imported = re.findall(r"^(?:from|import) (\w+)", SCRIPTS[name], flags=re.MULTILINE)
    assert "ray" in imported
    assert "rllib" not in imported
