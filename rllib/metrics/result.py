"""What ``Algorithm.train`` returns."""

from typing import Any


class Result(dict[str, Any]):
    """A nested dict, like any other; only notebooks show it as a table."""

    def _repr_html_(self) -> str:
        from rllib.results.cells import result_html

        return result_html(self)
