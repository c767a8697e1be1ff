"""Working directories and modules reach whatever node needs them, once."""

import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_actors import on
from patience import SOON_S

from rllib import core
from rllib.core.exceptions import RuntimeEnvSetupError
from rllib.core.testing import Cluster, Node
from rllib.core.util.state import list_stores


@pytest.fixture(scope="module")
def nodes(home: Path) -> Iterator[tuple[Cluster, Node]]:
    """A cluster and its second node; the driver is on the head."""
    with Cluster(head={"num_cpus": 2}) as made:
        other = made.add_node(num_cpus=2)
        core.init(address=made.address)
        yield made, other


Nodes = tuple[Cluster, Node]


@core.remote
def look(module: str = "") -> dict[str, Any]:
    """What a worker sees, and where."""
    import importlib

    context = core.get_runtime_context()
    return {
        "node": context.get_node_id(),
        "files": sorted(str(path) for path in Path().rglob("*") if path.is_file()),
        "text": Path("data.txt").read_text() if Path("data.txt").exists() else "",
        "cwd": Path.cwd(),
        "value": importlib.import_module(module).VALUE if module else None,
        "told": context.runtime_env.get("working_dir"),
    }


def sources(folder: Path, module: str) -> dict[str, Any]:
    """A runtime_env whose files are there now."""
    (folder / "work" / "sub").mkdir(parents=True)
    (folder / "work" / "data.txt").write_text("hello")
    (folder / "work" / "sub" / "run.sh").write_text("true")
    (folder / "work" / "sub" / "run.sh").chmod(0o755)
    (folder / "work" / "big.bin").write_text("left out")
    (folder / module).mkdir()
    (folder / module / "__init__.py").write_text("VALUE = 41")
    (folder / f"{module}_single.py").write_text("VALUE = 42")
    modules = [str(folder / module), str(folder / f"{module}_single.py")]
    return {"working_dir": str(folder / "work"), "py_modules": modules, "excludes": ["*.bin"]}


def elsewhere(environment: dict[str, Any], node: Node) -> Any:
    return look.options(runtime_env=environment, scheduling_strategy=on(node))


def fetched(node: Node) -> int:
    (store,) = (each for each in list_stores() if each.node_id == node.id)
    return store.fetched


def test_a_task_elsewhere_has_files_and_modules(nodes: Nodes, tmp_path: Path) -> None:
    task = elsewhere(sources(tmp_path, "sent_module"), nodes[1])
    first = task.remote("sent_module")  # whose snapshot is taken now
    shutil.rmtree(tmp_path)
    seen = core.get([first, task.remote("sent_module_single")], timeout=SOON_S)
    assert [each["value"] for each in seen] == [41, 42]
    assert seen[0]["node"] == nodes[1].id
    assert seen[0]["files"] == ["data.txt", "sub/run.sh"]
    assert seen[0]["text"] == "hello"
    assert os.access(seen[0]["cwd"] / "sub" / "run.sh", os.X_OK)
    assert seen[0]["told"] == str(seen[0]["cwd"])


def test_what_two_workers_want_at_once_comes_once_also_to_a_node_that_joins_later(
    nodes: Nodes, tmp_path: Path
) -> None:
    @core.remote(num_cpus=1, runtime_env={"working_dir": str(tmp_path)})
    class Reader:
        def read(self) -> tuple[str, Path]:
            return Path("data.txt").read_text(), Path.cwd()

    (tmp_path / "data.txt").write_text("once")
    before = fetched(nodes[1])
    there = Reader.options(scheduling_strategy=on(nodes[1]))
    seen = core.get([there.remote().read.remote() for _ in range(2)], timeout=SOON_S)
    assert seen[0] == seen[1]
    assert seen[0][0] == "once"
    assert fetched(nodes[1]) == before + 1

    late = nodes[0].add_node(num_cpus=1)
    reader = Reader.options(scheduling_strategy=on(late)).remote()
    assert core.get(reader.read.remote(), timeout=SOON_S)[0] == "once"
    assert fetched(late) == 1
    nodes[0].remove_node(late)


def test_a_zip_file_is_a_working_directory_elsewhere(nodes: Nodes, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "work.zip", "w") as archive:
        archive.writestr("data.txt", "zipped")
    task = elsewhere({"working_dir": str(tmp_path / "work.zip")}, nodes[1])
    assert core.get(task.remote(), timeout=SOON_S)["text"] == "zipped"


def test_a_task_passes_its_environment_on_to_other_nodes(nodes: Nodes, tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("inherited")
    back = look.options(scheduling_strategy=on(nodes[0].head))

    @core.remote
    def parent() -> Any:
        return core.get(back.remote())

    environment = {"working_dir": str(tmp_path)}
    outer = parent.options(runtime_env=environment, scheduling_strategy=on(nodes[1]))
    seen = core.get(outer.remote(), timeout=SOON_S)
    assert (seen["text"], seen["node"]) == ("inherited", nodes[0].head.id)


def test_a_worker_elsewhere_sends_what_only_its_node_has(nodes: Nodes, tmp_path: Path) -> None:
    back = on(nodes[0].head)

    @core.remote(scheduling_strategy=on(nodes[1]))
    def parent(folder: Path) -> Any:
        folder.mkdir()
        (folder / "data.txt").write_text("made there")
        environment = {"working_dir": str(folder)}
        ref = look.options(runtime_env=environment, scheduling_strategy=back).remote()
        shutil.rmtree(folder)
        return core.get(ref)

    seen = core.get(parent.remote(tmp_path / "there"), timeout=SOON_S)
    assert (seen["text"], seen["node"]) == ("made there", nodes[0].head.id)


def test_a_snapshot_that_cannot_come_is_an_error_of_the_task(nodes: Nodes, tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("to be lost")
    environment = {"working_dir": str(tmp_path)}
    seen = core.get(elsewhere(environment, nodes[0].head).remote(), timeout=SOON_S)
    number = int(seen["cwd"].name[:15], 16) | 1 << 62
    (archive,) = seen["cwd"].parent.glob(f"*-{number}")
    archive.unlink()
    with pytest.raises(RuntimeEnvSetupError, match="did not come"):
        core.get(elsewhere(environment, nodes[1]).remote(), timeout=SOON_S)
