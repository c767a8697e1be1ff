"""Output that nobody can read any more goes nowhere, and fails nothing."""

import errno
import os


def write_nowhere(descriptor: int) -> None:
    """From now on; also what is buffered and flushed at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def let_go_of_lost_terminal() -> None:
    """Standard output and errors, where they went to a terminal that is gone."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError as error:
            if error.errno == errno.EIO:  # else it is no terminal, and may be somebody else's
                write_nowhere(descriptor)
