"""On which machine a run was begun and continued."""

from pathlib import Path

from rllib.runs.starts import STARTS, read_starts, write_start


def test_a_line_that_was_cut_off_costs_only_itself(tmp_path: Path) -> None:
    write_start(tmp_path, 0)
    write_start(tmp_path, 5)
    file = tmp_path / STARTS
    file.write_bytes(file.read_bytes()[:-9])
    write_start(tmp_path, 7)
    write_start(tmp_path, 9)
    assert [start["iteration"] for start in read_starts(tmp_path)] == [0, 7, 9]
