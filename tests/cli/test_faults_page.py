"""The page on faults is one program; the files that it names exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "faults.md").read_text()


def test_the_programs_shown_run_one_after_the_other() -> None:
    names: dict[str, object] = {"__name__": "page"}
    for block in re.finditer(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        line = PAGE.count("\n", 0, block.start(1))
        exec(compile("\n" * line + block[1], "faults.md", "exec"), names)


def test_every_file_that_the_page_names_exists() -> None:
    for name in re.findall(r"\b((?:rllib|envs|algorithms)/[\w/]+(?:\.py)?)\b", PAGE):
        assert (ROOT / name).exists(), name
