"""The last one out: a process that outlives driver and template, should both be killed.

It runs as a script in a bare interpreter and imports nothing of the project. Its standard input
is a pipe that the driver and the template hold open, and on which the template tells the process
groups of its workers: a line ``+PID`` for each that began, ``-PID`` for each that ended, ``0``
when a killed template's workers have all ended. The pipe ends when the last of the two does. Then
whatever they left is ended and the folders of the session, its arguments, are removed.
"""

import os
import signal
import sys


def main(folders: list[str]) -> None:
    """Wait for the end of the others, and clean up after them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):  # the driver's to handle
        signal.signal(number, signal.SIG_IGN)
    for group in _groups_left():
        try:
            os.killpg(group, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue  # it ended with the template
    left = [folder for folder in folders if os.path.lexists(folder)]
    if left:
        import shutil  # costs memory as long as it is there

        for folder in left:
            shutil.rmtree(folder, ignore_errors=True)


def _groups_left() -> set[int]:
    groups: set[int] = set()
    for line in sys.stdin:
        number = int(line)
        if number > 0:
            groups.add(number)
        elif number < 0:
            groups.discard(-number)
        else:
            groups.clear()
    return groups


if __name__ == "__main__":
    main(sys.argv[1:])
    os._exit(0)
