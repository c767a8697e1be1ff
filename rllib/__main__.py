"""``rllib`` and ``python -m rllib``."""

import os
import sys
from typing import Any

COMPLETING = "_RLLIB_COMPLETE"
"""What the shell sets when it asks what may follow."""


def main() -> None:
    """Run the command line."""
    if COMPLETING in os.environ:
        _do_without_rich()
    from rllib.cli import app
    from rllib.runs.signals import leave_in_time

    code: object = 1
    try:
        app(prog_name="rllib")
    except SystemExit as end:
        code = end.code
        raise
    finally:
        leave_in_time(code)


def _do_without_rich() -> None:
    """Have typer find no rich: it would render each help with it, and we write plain text.

    Importing it takes longer than all the rest, while somebody waits who has pressed Tab.
    """
    modules: dict[str, Any] = sys.modules
    modules["rich"] = None


if __name__ == "__main__":
    main()
