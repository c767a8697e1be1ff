"""No test leaves anything behind; and the engines, for tests that must pass on both."""

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rllib import core

sys.path.append(str(Path(__file__).parent))

import engines
import leaks
import ray_head


def pytest_configure() -> None:
    leaks.mark_this_process(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    # Whoever is to use the Rays of this run must have its token, and nobody's own is used.
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def pytest_unconfigure() -> None:
    folder = Path(tempfile.gettempdir())
    for logs in ("ray", "head"):  # Ray keeps those of its sessions
        shutil.rmtree(folder / logs, ignore_errors=True)
    for empty in (*folder.glob("rllib-*"), folder):
        if not any(empty.iterdir()):
            empty.rmdir()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs on Ray comes last, on one Ray: to start and to end one takes seconds. Before it
    comes what goes through Ray Client, since a process uses one or the other."""
    items[:] = sorted((item for item in items if not _is_too_long(item)), key=_order)


def _is_too_long(item: pytest.Item) -> bool:
    return _order(item) == 1 and item.get_closest_marker("long_on_ray_client") is not None


def _order(item: pytest.Item) -> int:
    if not isinstance(item, pytest.Function) or not hasattr(item, "callspec"):
        return 0
    engine = item.callspec.params.get("engine")
    return (engines.CLIENT, "ray").index(engine) + 1 if engine in engines.RAYS else 0


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the token of clusters lies, and not the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("RLLIB_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module", autouse=True)
def nothing_stays_of_a_module() -> Iterator[None]:
    """Covers runtimes that all tests of a module share."""
    before = leaks.snapshot()
    yield
    _complain(leaks.left_behind(before))


@pytest.fixture(autouse=True)
def nothing_stays_of_a_test() -> Iterator[None]:
    """Fails the test itself, unless a runtime of its whole module is at work around it."""
    shared = core.is_initialized()
    before = leaks.snapshot()
    yield
    if not shared:
        running = core.is_initialized()
        core.shutdown()
        _complain(leaks.left_behind(before))
        assert not running, "the test has left the runtime running; it was shut down now"


def _complain(found: set[str]) -> None:
    assert not found, "left behind:\n" + "\n".join(sorted(found))


@pytest.fixture(scope="module", params=engines.ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each engine in turn, with two CPUs; the name of the one that runs."""
    yield from engines.running(request.param, request)


@pytest.fixture(scope="session")
def shared_ray() -> Iterator[None]:
    """The Ray on which all tests run that ask for no other."""
    with leaks.ray_shared():
        engines.start_ray()
        yield
        engines.end_ray()


@pytest.fixture(scope="session")
def ray_node() -> Iterator[None]:
    """A Ray of other processes, to which tests connect by Ray Client."""
    with leaks.ray_shared(), ray_head.ray_head(**engines.LABELS):
        yield
