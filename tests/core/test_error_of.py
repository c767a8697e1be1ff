"""A look at how a call ended, without loading its value."""

from typing import Any

import pytest

from rllib import core
from rllib.core import api

pytestmark = pytest.mark.usefixtures("engine")


def test_errors_are_seen_without_raising() -> None:
    @core.remote
    def work(fails: bool) -> int:
        if fails:
            raise KeyError("k")
        return 1

    good, bad = work.remote(False), work.remote(True)
    core.wait([good, bad], num_returns=2)
    assert api.error_of(good) is None
    error = api.error_of(bad)
    assert isinstance(error, KeyError)
    assert isinstance(error, core.exceptions.TaskError)


def test_the_value_is_not_loaded(engine: str) -> None:
    def refuse() -> Any:
        raise AssertionError("it was loaded")

    class Unloadable:
        def __reduce__(self) -> Any:
            return refuse, ()

    error = api.error_of(core.put(Unloadable()))
    if engine == "ray":  # which has no other way to tell
        assert "it was loaded" in str(error)
    else:
        assert error is None


def test_what_is_under_way_has_no_outcome_yet(engine: str) -> None:
    if engine == "inline":
        return  # a call is over before anybody can look at it

    @core.remote
    class Gate:
        def __init__(self) -> None:
            import threading

            self.open = threading.Event()

        def wait(self) -> None:
            self.open.wait()

        def unlock(self) -> None:
            self.open.set()

    gate = Gate.options(max_concurrency=2).remote()
    waiting = gate.wait.remote()
    with pytest.raises(ValueError, match="not ready"):
        api.error_of(waiting)
    core.get(gate.unlock.remote())
    core.wait([waiting])
    assert api.error_of(waiting) is None
