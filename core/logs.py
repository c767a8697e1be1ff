"""Logging: what the runtime's own logger says, and how records of user code look everywhere.

``init(logging_level=, logging_format=)`` are about the driver's logger ``"rllib"``, by which the
runtime warns; ``init(logging_config=LoggingConfig(...))`` sets up the root logger of the driver and
of all workers, with who and where the calling code is in every record.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from rllib.core import api

LOGGER = "rllib"
FORMAT = "%(asctime)s\t%(levelname)s %(filename)s:%(lineno)s -- %(message)s"
ENCODINGS = ("TEXT", "JSON")

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"asctime", "message", "taskName"}
"""What the standard library puts into every record."""


@dataclass
class LoggingConfig:
    """How the root logger of the driver, and of every worker, writes to ``stderr``.

    ``encoding`` is ``"TEXT"`` or ``"JSON"``, one line for each record; ``log_level`` a name or a
    number; ``additional_log_standard_attrs`` are further fields of the standard library's records,
    as ``"name"``. Every record tells job, process and machine, and of a task or actor its id and
    name. Raises `ValueError` for an encoding or a field that is not known.
    """

    encoding: str = "TEXT"
    log_level: str | int = "INFO"
    additional_log_standard_attrs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.encoding not in ENCODINGS:
            raise ValueError(f"encoding must be one of {ENCODINGS}, got {self.encoding!r}")
        for name in self.additional_log_standard_attrs:
            if name not in _STANDARD:
                raise ValueError(
                    f"additional_log_standard_attrs has {name!r}, which no record has; there are "
                    f"{', '.join(sorted(_STANDARD))}"
                )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> LoggingConfig:
        """The inverse of `to_dict`; keys that are not known are passed over."""
        known = cls.__dataclass_fields__
        return cls(**{name: value for name, value in given.items() if name in known})

    def apply(self) -> None:
        """Set up this process's loggers. Raises `ValueError` for a level that is not known."""
        handler = _Handler()
        encoding = JSONFormatter if self.encoding == "JSON" else TextFormatter
        handler.setFormatter(encoding(self.additional_log_standard_attrs))
        handler.addFilter(add_context)
        for name in ("", LOGGER):
            logger = logging.getLogger(name)
            _replace_handler(logger, handler)
            logger.setLevel(self.log_level)
        logging.getLogger(LOGGER).propagate = False


class Logging(NamedTuple):
    """The arguments of ``init`` about logging."""

    level: int | str | None = None
    format: str | None = None
    config: LoggingConfig | None = None
    configure: bool = True
    """Whether level and format count."""

    def check(self) -> Logging:
        """Raise `TypeError` for what cannot be."""
        if self.config is not None and not isinstance(self.config, LoggingConfig):
            raise TypeError(f"logging_config must be a LoggingConfig, got {self.config!r}")
        if self.format is not None and not isinstance(self.format, str):
            raise TypeError(f"logging_format must be a str, got {self.format!r}")
        return self

    def apply(self) -> None:
        """Set up the driver's loggers. Raises `ValueError` for a level that is not known."""
        if self.configure and (self.level is not None or self.format is not None):
            configure(self.level, self.format)
        if self.config is not None:
            self.config.apply()

    def text(self) -> str:
        """What workers are to know of it; empty for nothing."""
        return "" if self.config is None else json.dumps(self.config.to_dict())


def apply_text(text: str) -> None:
    """In a worker: what `Logging.text` says."""
    LoggingConfig.from_dict(json.loads(text)).apply()


def configure(level: int | str | None, pattern: str | None) -> None:
    """Have the runtime's logger write to ``stderr``, from that level on and in that format."""
    logger = logging.getLogger(LOGGER)
    logger.setLevel(level.upper() if isinstance(level, str) else level or logging.INFO)
    handler = _Handler()
    handler.setFormatter(logging.Formatter(pattern or FORMAT))
    _replace_handler(logger, handler)
    logger.propagate = False


def warn(text: str) -> None:
    """Say it by the runtime's logger where that was set up, else plainly."""
    if logging.getLogger(LOGGER).handlers:
        logging.getLogger(f"{LOGGER}.core").warning(text)
    else:
        print(f"{LOGGER}.core: {text}", file=sys.stderr, flush=True)


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]
    """Of ours, to be known again; writes to what is ``sys.stderr`` at that time."""

    @property
    def stream(self) -> Any:
        """Where to."""
        return sys.stderr

    @stream.setter
    def stream(self, _given: Any) -> None:
        pass


def _replace_handler(logger: logging.Logger, handler: _Handler) -> None:
    for earlier in [each for each in logger.handlers if isinstance(each, _Handler)]:
        logger.removeHandler(earlier)
    logger.addHandler(handler)


# -- records ---------------------------------------------------------------------------------------


def add_context(record: logging.LogRecord) -> bool:
    """Put into the record who and where the calling code is; a filter that lets everything pass."""
    for name, value in _context():
        if value:
            setattr(record, name, value)
    return True


def _context() -> Iterator[tuple[str, str | None]]:
    engine = api.current()
    if engine is None:
        return
    where = engine.where()
    yield "job_id", where.job_id
    yield "worker_id", where.worker_id
    yield "node_id", where.node_id
    yield "actor_id", where.actor_id
    yield "task_id", where.task_id
    yield "task_name", where.task_name
    yield "task_func_name", where.function_name
    yield "actor_name", where.actor_name


class TextFormatter(logging.Formatter):
    """The record in `FORMAT`, and then the rest of it as ``key=value``."""

    def __init__(self, more: list[str]) -> None:
        super().__init__(FORMAT)
        self._more = more

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback where there is one."""
        rest = " ".join(f"{name}={value}" for name, value in _rest(record, self._more).items())
        return f"{super().format(record)} {rest}"


class JSONFormatter(logging.Formatter):
    """The record as one object."""

    def __init__(self, more: list[str]) -> None:
        super().__init__()
        self._more = more

    def format(self, record: logging.LogRecord) -> str:
        """One line; what JSON does not know is written as text."""
        known = {
            "asctime": self.formatTime(record),
            "levelname": record.levelname,
            "message": record.getMessage(),
            "filename": record.filename,
            "lineno": record.lineno,
            "process": record.process,
        }
        if record.exc_info:
            known["exc_text"] = record.exc_text or self.formatException(record.exc_info)
        return json.dumps({**known, **_rest(record, self._more)}, default=str)


def _rest(record: logging.LogRecord, more: list[str]) -> dict[str, Any]:
    """The fields ``more``, what the user and the runtime have added, and the time."""
    fields = vars(record).items()
    added = {name: value for name, value in fields if not (name in _STANDARD or name[0] == "_")}
    wanted = {name: getattr(record, name, None) for name in more}
    return {**wanted, **added, "timestamp_ns": int(record.created * 1e9)}
