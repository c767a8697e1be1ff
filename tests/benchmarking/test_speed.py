"""The comparison with peers, without running any of them."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("benchmarks", reason="only in a checkout")

from benchmarks import speed, speed_page
from benchmarks.marked import put
from benchmarks.peers import environments
from benchmarks.peers.environments import Peer, PeerUnavailable

RESULT = {
    "goal": "4x",
    "unit": "env steps/s",
    "rllib": {"median": 1200.0},
    "sb3": {"median": 300.0},
    "cleanrl": {"cannot run": "no checkout"},
}


def test_a_peer_that_cannot_run_is_printed_as_such():
    assert speed.ratio(RESULT, "sb3") == 4.0
    assert speed.ratio(RESULT, "cleanrl") is None
    line = speed.line("row", RESULT)
    assert "sb3 300 (4.0x)" in line
    assert "cleanrl: cannot run: no checkout" in line


def test_of_times_the_shorter_is_the_faster():
    times = {"goal": "", "unit": "s", "rllib": {"median": 4.0}, "sb3": {"median": 12.0}}
    assert speed.ratio(times, "sb3") == 3.0


def test_the_page_has_the_rows_that_were_measured():
    table = speed_page.table({"ppo_cartpole": RESULT})
    assert "| PPO, CartPole | 1,200 | sb3 300 (4.0x), cleanrl: cannot run | 4x |" in table
    assert "HalfCheetah" not in table
    page = "a\n<!-- speed: begin -->\nold\n<!-- speed: end -->\nz"
    assert put(page, "speed", "new") == page.replace("old", "new")


def test_every_peer_of_a_row_is_known_and_has_its_program():
    for row in speed.ROWS:
        for name in row.peers:
            assert (environments.FOLDER / environments.PEERS[name].program).is_file()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(environments, "HOME", tmp_path)
    return tmp_path


def test_an_environment_is_made_once_and_anew_when_it_should_hold_something_else(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    commands: list[list[str]] = []

    def run(command: list[str]) -> None:
        commands.append(command)
        (home / "some").mkdir(exist_ok=True)

    monkeypatch.setattr(environments, "_run", run)
    for requirement in ("one", "one", "two"):
        interpreter = Peer("some", "program.py", (requirement,)).python()
        assert interpreter == home / "some" / "bin" / "python"
    assert [command[-1] for command in commands[1::2]] == ["one", "two"]
    assert commands[1][-2].startswith("torch==")


def test_what_cannot_be_installed_says_why():
    command = [sys.executable, "-c", "raise SystemExit('no such package')"]
    with pytest.raises(PeerUnavailable, match="no such package"):
        environments._run(command)


def test_a_program_that_fails_or_says_nothing_has_no_figure():
    with pytest.raises(PeerUnavailable, match="broken"):
        speed._printed([sys.executable, "-c", "raise SystemExit('broken')"])
    assert speed._printed([sys.executable, "-c", "print('{\"env_steps\": 3}')"]) == {"env_steps": 3}
