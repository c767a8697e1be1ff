"""Logging: how records look, in which processes, and what the runtime's own logger says."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engines import ENGINES

from rllib import core
from rllib.core import LoggingConfig, logs


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """Put loggers back as they were."""
    found = [logging.getLogger(name) for name in ("", logs.LOGGER)]
    before = [(each, each.level, each.handlers[:], each.propagate) for each in found]
    yield
    for logger, level, handlers, propagate in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers
        logger.propagate = propagate


def test_a_record_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    LoggingConfig(encoding="JSON", log_level="INFO", additional_log_standard_attrs=["name"]).apply()
    log = logging.getLogger("mine")
    log.debug("not this")
    try:
        raise ValueError("odd")
    except ValueError:
        log.exception("it is %s", "so", extra={"more": {3}})
    record = json.loads(capsys.readouterr().err)
    assert record["exc_text"].endswith("ValueError: odd")
    expected = {"levelname": "ERROR", "message": "it is so", "filename": "test_logs.py"}
    assert {**record, **expected, "name": "mine", "more": "{3}"} == record
    assert {"asctime", "lineno", "process", "timestamp_ns"} < set(record)
    assert "job_id" not in record  # there is no runtime


def test_a_record_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    LoggingConfig(additional_log_standard_attrs=["name", "levelno"]).apply()
    logging.getLogger("mine").warning("careful", extra={"more": 3})
    line = capsys.readouterr().err
    assert "\tWARNING test_logs.py:" in line
    assert " -- careful name=mine levelno=30 more=3 timestamp_ns=" in line


def test_to_set_it_up_again_replaces_what_was_there(capsys: pytest.CaptureFixture[str]) -> None:
    for encoding in ("TEXT", "TEXT", "JSON"):
        LoggingConfig(encoding=encoding).apply()
    logging.getLogger("mine").info("once")
    logging.getLogger(logs.LOGGER).info("twice")
    messages = [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()]
    assert messages == ["once", "twice"]


@pytest.mark.parametrize(
    ("given", "text"),
    [({"encoding": "XML"}, "one of"), ({"additional_log_standard_attrs": ["nme"]}, "'nme'")],
)
def test_a_config_that_cannot_be_is_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        LoggingConfig(**given)


def test_a_config_travels_as_a_dictionary() -> None:
    config = LoggingConfig("JSON", "DEBUG", ["name"])
    assert LoggingConfig.from_dict({**config.to_dict(), "later": 1}) == config


def warn(**given: Any) -> None:
    """Have the engine warn of a group that never fits."""
    with core.init(address="inline", num_cpus=1, **given):
        core.util.placement_group([{"CPU": 2}])


def test_the_runtime_warns_by_its_logger(capsys: pytest.CaptureFixture[str]) -> None:
    warn()
    assert capsys.readouterr().err.startswith("rllib.core: placement group")
    for given, expected in (
        ({"logging_format": "%(levelname)s:%(message)s"}, "WARNING:placement group"),
        ({"logging_level": logging.WARNING}, "WARNING logs.py"),
        ({"logging_level": "error"}, ""),
        ({"logging_level": "info", "configure_logging": False}, ""),  # as it was
    ):
        warn(**given)
        said = capsys.readouterr().err
        assert expected in said
        assert bool(expected) == bool(said)


PROGRAM = """
import logging, sys
from rllib import core

config = core.LoggingConfig(encoding="JSON", additional_log_standard_attrs=["name"])

@core.remote
def task():
    logging.getLogger("mine").info("task")

@core.remote
class Actor:
    def call(self):
        logging.getLogger().warning("actor")
        logging.getLogger().debug("hidden")

with core.init(sys.argv[1], num_cpus=1, logging_config=config):
    logging.getLogger("mine").info("driver")
    core.get(task.remote())
    actor = Actor.options(name="it").remote()
    core.get(actor.call.remote())
    print(core.get_runtime_context().get_job_id(), flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_all_processes_write_the_same_way(engine: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(tmp_path / "program.py"), ENGINES[engine]]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as program:
        assert program.stdin
        assert program.stderr
        found: dict[str, Any] = {}
        while not {"driver", "task", "actor"} <= set(found):
            line = program.stderr.readline()
            assert line, "it has ended"
            if line.startswith("{"):
                record = json.loads(line)
                found[record["message"]] = record
        assert program.stdout
        job = program.stdout.readline().strip()
        program.communicate("\n", timeout=60)
    assert program.returncode == 0
    assert "hidden" not in found
    assert {found[each]["job_id"] for each in ("driver", "task", "actor")} == {job}
    assert found["task"]["name"] == "mine"
    assert found["task"]["task_name"] == "task"
    assert found["actor"]["actor_name"] == "it"
    assert found["actor"]["task_name"] == "Actor.call"
    assert "task_id" not in found["driver"]
