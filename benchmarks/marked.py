"""Text between two marks of a page, which a program writes."""

BETWEEN = "<!-- {}: begin -->", "<!-- {}: end -->"


def put(page: str, name: str, text: str) -> str:
    """The page with the text between its two marks of that name."""
    begin, end = (mark.format(name) for mark in BETWEEN)
    before, rest = page.split(begin)
    return f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}"
