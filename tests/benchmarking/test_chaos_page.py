"""The tables of faults are those of the results."""

from benchmarks import chaos_page


def test_the_page_shows_the_committed_results() -> None:
    page = chaos_page.PAGE.read_text()
    assert chaos_page.filled(page) == page, "python -m benchmarks.chaos_page"
