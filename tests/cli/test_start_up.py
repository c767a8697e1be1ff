"""How soon the command answers: what it imports, and how long that takes beside Python itself."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from rllib.cli import app
from rllib.runs.record import PROGRESS

COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]  # a group
HEAVY = "torch numpy gymnasium msgspec yaml grpc rich ray psutil asyncio rllib.core"
RUN = (
    "import sys\n"
    "from rllib.__main__ import main\n"
    "try: main()\n"
    "except SystemExit as error: assert error.code in (0, None), error\n"
    f"heavy = [name for name in '{HEAVY}'.split() if sys.modules.get(name)]\n"
    "assert not heavy, heavy\n"
)


def answer(*arguments: str, **environment: str) -> str:
    """What the command prints; fails if it has imported anything heavy."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", [[], *([name] for name in COMMANDS)], ids=" ".join)
def test_help_needs_nothing_heavy_and_fits(name: list[str]) -> None:
    lines = answer(*name, "--help", COLUMNS="80", NO_COLOR="1").splitlines()
    assert " ".join(["Usage: rllib", *name]) in lines[0]
    assert max(map(len, lines)) <= 80


def test_help_of_the_whole_lists_every_command_under_a_heading_with_its_whole_sentence() -> None:
    text = answer("--help")
    headings = [line for line in text.splitlines() if line.endswith(":")]
    assert headings[1:3] == ["Training:", "Results:"]
    assert all(f"\n  {name} " in text for name in COMMANDS)
    assert "..." not in text.partition("\n")[2]  # after the line of usage


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("rllib ev", ["evaluate"]),
        ("rllib train --dry", ["--dry-run"]),
        ("rllib train --config ppo_cartp", ["ppo_cartpole"]),
        ("rllib train --config ppo_cartpole lamb", ["lambda_"]),
        ("rllib evaluate --runs-dir . fa", ["fast"]),
        ("rllib compare --runs-dir . slow ", ["fast", "slow"]),
        ("rllib export --runs-dir nowhere ", []),
    ],
)
def test_the_shell_is_offered_what_fits(
    words: str, offered: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("fast", "slow"):
        Path(name).mkdir()
        Path(name, PROGRESS).touch()
    count = words.count(" ")
    text = answer(_RLLIB_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(count))
    assert text.split() == offered


@pytest.mark.parametrize("shell", ["zsh", "fish", "powershell", "pwsh"])
def test_shells_that_show_help_of_what_they_offer_need_nothing_heavy_either(shell: str) -> None:
    words = {"_TYPER_COMPLETE_ARGS": "rllib train --dry", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    words["_TYPER_COMPLETE_WORD_TO_COMPLETE"] = "--dry"
    text = answer(_RLLIB_COMPLETE=f"complete_{shell}", **words)
    assert "--dry-run" in text
    assert "Say what it would be" in text


def test_help_takes_few_times_as_long_as_python() -> None:
    """Five times was measured where it took 0.2 s; with what draws help with rich, nine."""

    def seconds(*arguments: str) -> float:
        begun = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True, timeout=30)
        return time.perf_counter() - begun

    pairs = [(seconds("-c", "pass"), seconds("-m", "rllib", "--help")) for _ in range(7)]
    python, ours = (min(times) for times in zip(*pairs, strict=True))
    assert ours < 8 * python
