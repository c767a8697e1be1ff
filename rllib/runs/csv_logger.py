"""Results as a table that spreadsheets read: ``progress.csv``, one line per training iteration."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from rllib.checkpoints.files import write_atomically
from rllib.runs.record import Metrics

FILE = "progress.csv"


class CSVLogger:
    """Writes a column for every metric; one that comes later is empty in the lines before it.

    Args:
        folder: of the run.
        history: rows that the file begins with.
    """

    def __init__(self, folder: Path, history: Iterable[Metrics]) -> None:
        self._path = folder / FILE
        self._rows = list(history)
        self._columns = list(dict.fromkeys(name for row in self._rows for name in row))
        self._begin()

    def _begin(self) -> None:
        """Write everything so far anew, under all columns."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns)
        writer.writeheader()
        writer.writerows(self._rows)
        write_atomically(self._path, text.getvalue())
        self._file = self._path.open("a", encoding="utf-8", newline="")
        self._writer = csv.DictWriter(self._file, self._columns)

    def log(self, metrics: Metrics) -> None:
        """Append one line."""
        self._rows.append(metrics)
        new = [name for name in metrics if name not in self._columns]
        if new:
            self._columns += new
            self._file.close()
            self._begin()
        else:
            self._writer.writerow(metrics)
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
