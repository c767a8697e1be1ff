"""Result files say how they were made, and nothing of the machine's folders."""

import sys

import pytest

from benchmarks import facts


def test_of_paths_of_this_machine_only_the_last_part_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = ["--cleanrl", "/home/somebody/cleanrl", "--rows", "ppo_cartpole", "folder/file"]
    monkeypatch.setattr(sys, "argv", ["speed.py", *arguments])
    told = facts._module_and_arguments()
    assert told[1:] == ["--cleanrl", "cleanrl", "--rows", "ppo_cartpole", "folder/file"]
