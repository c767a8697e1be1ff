"""Copies of a run's checkpoints elsewhere, by a thread: what hangs there keeps nothing here."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rllib.checkpoints.folder import CheckpointFolder, Contents

SLOW_S = 60.0
"""Seconds after which a copy that others wait for is told of."""
LAST_S = 600.0
"""Seconds that the last copy may take when training has ended."""
SOON_S = 2.0
"""Seconds after which the user hears what is waited for."""


@contextlib.contextmanager
def when_slow(tell: Callable[[], None]) -> Iterator[None]:
    """Call ``tell``, in another thread, if what is done within takes more than a moment."""
    timer = threading.Timer(SOON_S, tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Copies:
    """Publishes the checkpoints of a run, and copies what there is then.

    One copy is made after the other, each of what is newest. What one is made of stays until it is
    done, also beyond the number of checkpoints to keep.

    Args:
        checkpoints: of the run.
        copy: copies them; None if they are to be nowhere else.
        tell: says something to the user, from another thread.
    """

    def __init__(
        self,
        checkpoints: CheckpointFolder,
        copy: Callable[[Contents], None] | None,
        tell: Callable[[str], None],
    ) -> None:
        self._checkpoints, self._copy, self._tell = checkpoints, copy, tell
        self._changed = threading.Condition()
        self._is_due = self._is_failing = self._is_told = False
        self._used: tuple[Path, ...] = ()
        self._since: float | None = None

    def publish(self, checkpoint: Path, score: float | None) -> None:
        """Declare a checkpoint the latest, and have it copied as soon as that is possible.

        Args:
            checkpoint: complete, in the folder.
            score: how good it is, if that is known.
        """
        with self._changed:
            self._checkpoints.publish(checkpoint, score, spare=self._used)
            if self._copy is None:
                return
            self._is_due = True
            if self._since is None:
                self._since = time.monotonic()
                threading.Thread(target=self._work, name="rllib-copies", daemon=True).start()
            elif time.monotonic() - self._since > SLOW_S and not self._is_told:
                self._is_told = True
                text = f"a checkpoint is on its way elsewhere for more than {SLOW_S:g} seconds"
                self._tell(f"{text}; newer ones are here, and training goes on")

    def wait(self, *, hurried: bool = False) -> None:
        """Wait until everything is copied, or for ``LAST_S`` seconds.

        Args:
            hurried: whether it is known already that there is little time.
        """
        if self._has_ended(SOON_S):
            return
        if not hurried:
            text = f"waiting for checkpoints to be copied, {LAST_S:g} seconds at most"
            self._tell(f"{text}; Ctrl-C leaves it as it is")
        if not self._has_ended(LAST_S - SOON_S):
            self._tell(f"checkpoints are not copied in {LAST_S:g} seconds; they are here")

    def _has_ended(self, within_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._since is None, within_s)

    def _work(self) -> None:
        while (contents := self._next()) is not None:
            assert self._copy is not None, "there is something to do"
            try:
                self._copy(contents)
                self._is_failing = False
            except Exception as error:
                if not self._is_failing:
                    text = f"a checkpoint is not copied: {error}"
                    self._tell(f"{text}; it is here, and training goes on")
                self._is_failing = True

    def _next(self) -> Contents | None:
        """What is to be copied, which stays meanwhile; None when nothing more is to be."""
        with self._changed:
            if self._used:
                self._used = ()
                with contextlib.suppress(OSError):  # the next one that is published tries again
                    self._checkpoints.prune()
            if not self._is_due:
                self._since = None
                self._changed.notify_all()
                return None
            self._is_due, self._since = False, time.monotonic()
            contents = self._checkpoints.contents()
            self._used = contents.checkpoints
            return contents
