"""The house stands as drawn: who imports whom, what is installed, what an import costs."""

import ast
import importlib
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import rllib

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = {"core": "rllib.core", "envs": "rllib.envs", "algorithms": "rllib.algorithms"}
LINKS = (*FOLDERS, "configs")
MAY_IMPORT = {
    "rllib.core": {"rllib.core"},
    "rllib.envs": {"rllib.envs"},
    "rllib": {"rllib", "rllib.core", "rllib.envs"},
    "rllib.algorithms": {"rllib.algorithms", "rllib", "rllib.core", "rllib.envs"},
}
HEAVY = ("torch", "numpy", "ray", "gymnasium", "pydantic", "tensorboardX", "rich", "typer")
MAY_USE = {
    "core/util/channel_group.py": "torch",
    "core/util/process_group.py": "torch",
    "core/on_ray": "ray",
}
"""Nobody imports these who has no use for them."""
IMPORT_CORE = 2.5
"""Times as long as a million squares take to add up: 30 to 75 ms, and the less of it the more of an
import is files."""


def is_behind_link(path: Path) -> bool:
    """Whether it is also reached without the links in ``rllib``."""
    return any(part.is_symlink() for part in (path, *path.parents))


def sources() -> Iterator[tuple[str, Path]]:
    """Every file of the project, with the part that it belongs to."""
    for folder, part in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield part, path
    for path in sorted((ROOT / "rllib").rglob("*.py")):
        if not is_behind_link(path):
            yield "rllib", path


FILES = [pytest.param(*item, id=str(item[1].relative_to(ROOT))) for item in sources()]


def imports(path: Path) -> Iterator[str]:
    """Modules that a file imports anywhere, also within functions; but not for types alone."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports go by full name"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part_of(module: str) -> str:
    """The part of the project that a module belongs to; empty for others' modules."""
    for part in (*FOLDERS.values(), "rllib"):
        if module == part or module.startswith(part + "."):
            return part
    return ""


@pytest.mark.parametrize(("part", "path"), FILES)
def test_imports_follow_the_arrows(part: str, path: Path) -> None:
    allowed = MAY_IMPORT[part]
    for module in imports(path):
        assert module.split(".")[0] not in LINKS, f"{path}: import {module} by its full name"
        target = part_of(module)
        plain_package = module == "rllib" and part != "rllib"  # `from rllib import core`
        assert not target or plain_package or target in allowed, f"{path} imports {module}"
        if part == "rllib.core":
            heavy = set(HEAVY) - {may_use(path.relative_to(ROOT))}
            assert module.split(".")[0] not in heavy, f"{path} imports {module}"


def may_use(path: Path) -> str | None:
    """The heavy package that a file of the core is about, or that its folder is about."""
    return MAY_USE.get(str(path)) or MAY_USE.get(str(path.parent))


def test_environments_know_no_policies_and_no_actors() -> None:
    known = {
        module
        for part, path in sources()
        if part == "rllib.envs"
        for module in imports(path)
        if part_of(module) == "rllib" and module != "rllib"
    }
    assert not known


def test_every_folder_with_python_files_is_a_package() -> None:
    packages = set(PROJECT["tool"]["setuptools"]["packages"])
    places = PROJECT["tool"]["setuptools"]["package-dir"]
    folders = {path.parent for top in (*LINKS, "rllib") for path in (ROOT / top).rglob("*.py")}
    folders = {folder for folder in folders if not is_behind_link(folder)}
    for folder in folders:
        assert (folder / "__init__.py").exists(), f"{folder} is no package"
    found = {package_in(folder): str(folder.relative_to(ROOT)) for folder in folders}
    assert packages == found.keys()
    assert places == found


def package_in(folder: Path) -> str:
    """``core/util`` and ``rllib/replay`` are both inside of ``rllib``."""
    parts = folder.relative_to(ROOT).parts
    return ".".join(parts if parts[0] == "rllib" else ("rllib", *parts))


@pytest.mark.parametrize("folder", LINKS)
def test_links_are_relative_and_resolve(folder: str) -> None:
    link = ROOT / "rllib" / folder
    assert link.is_symlink()
    assert link.readlink() == Path("..") / folder
    assert link.resolve() == ROOT / folder


def test_versions_agree() -> None:
    assert rllib.__version__ == PROJECT["project"]["version"]


def python(code: str, cwd: Path = ROOT) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("folder", LINKS)
def test_a_folder_cannot_be_imported_under_its_bare_name(folder: str) -> None:
    out = python(f"import {folder}")
    assert "ImportError" in out
    assert f"rllib.{folder}" in out


@pytest.mark.parametrize("module", ["rllib", "rllib.core", "rllib.__main__"])
def test_an_import_brings_nothing_heavy(module: str) -> None:
    code = f"import {module}, sys, json; print(json.dumps(sorted(sys.modules)))"
    loaded = {name.split(".")[0] for name in json.loads(python(code))}
    heavy = set(HEAVY) if module != "rllib.__main__" else {"torch", "gymnasium"}
    assert not loaded & heavy


def test_the_import_of_core_is_quick() -> None:
    """Processor time beyond that of the bare interpreter, beside other work; the best of five."""
    code = "import time; now = time.process_time; start = now(); sum(i * i for i in range(10**6)); "
    code += "between = now(); import rllib.core; print((now() - between) / (between - start))"
    assert min(float(python(code)) for _ in range(5)) <= IMPORT_CORE


def test_public_names_exist() -> None:
    for part, path in sources():
        relative = path.relative_to(ROOT / (part.split(".")[-1]))
        module = ".".join([part, *relative.with_suffix("").parts]).removesuffix(".__init__")
        if module.endswith("__main__") or (".on_ray" in module and not find_spec("ray")):
            continue
        loaded = importlib.import_module(module)
        for name in getattr(loaded, "__all__", ()):
            assert getattr(loaded, name) is not None, f"{module}.{name}"


def test_public_names_of_the_package_are_lazy_but_there() -> None:
    for name in rllib.__all__:
        assert getattr(rllib, name) is not None
    assert set(rllib.__all__) <= set(dir(rllib))
    with pytest.raises(AttributeError, match="no 'nonsense' in 'rllib'"):
        rllib.nonsense  # noqa: B018
