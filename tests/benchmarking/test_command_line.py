"""The table of how soon the command line answers is that of the results."""

from benchmarks import command_line, facts


def test_the_page_shows_the_committed_results() -> None:
    page = command_line.PAGE.read_text()
    assert command_line.filled(page) == page, "python -m benchmarks.command_line"
    assert facts.known_results("command_line").keys() == command_line.ROWS.keys()


def test_a_command_is_timed_from_its_start_to_its_end() -> None:
    assert 0.0 < command_line.ROWS['python -c "pass"']() < 30.0
