"""The house: which folder may import which, what is installed, and what an import loads."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = ("core", "envs", "algorithms", "configs")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def modules(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every module that the Python files of a folder import, anywhere in them; links are left."""
    for file in folder.rglob("*.py"):
        if any(parent.is_symlink() for parent in file.relative_to(ROOT).parents):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from ((file, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}: imports are by full name"
                yield file, node.module or ""
                # "from rllib import core" imports rllib.core.
                yield from ((file, f"{node.module}.{alias.name}") for alias in node.names)


def imported(folder: str) -> set[tuple[str, str]]:
    return {(str(file.relative_to(ROOT)), name) for file, name in modules(ROOT / folder)}


def of(package: str, names: set[tuple[str, str]]) -> set[tuple[str, str]]:
    return {(file, name) for file, name in names if f"{name}.".startswith(f"{package}.")}


def test_core_knows_nothing_of_reinforcement_learning() -> None:
    names = imported("core")
    assert not of("torch", names) | of("numpy", names) | of("gymnasium", names)
    assert {name for _, name in of("rllib", names) - of("rllib.core", names)} <= {"rllib"}


def test_envs_know_neither_kit_nor_runtime() -> None:
    names = imported("envs")
    assert not of("torch", names)
    assert of("rllib", names) == of("rllib.envs", names)


def test_the_kit_imports_algorithms_by_name_only() -> None:
    assert not of("rllib.algorithms", imported("rllib"))


@pytest.mark.parametrize("folder", ["rllib", *PARTS])
def test_nobody_imports_a_folder_by_its_short_name(folder: str) -> None:
    names = imported(folder)
    assert not set().union(*(of(part, names) for part in PARTS))


def test_every_folder_with_python_files_is_installed() -> None:
    settings = PYPROJECT["tool"]["setuptools"]
    with_files = {
        file.parent.relative_to(ROOT)
        for top in ("rllib", *PARTS)
        for file in (ROOT / top).rglob("*.py")
        if not any(parent.is_symlink() for parent in file.relative_to(ROOT).parents)
    }
    names = {
        ".".join(path.parts if path.parts[0] == "rllib" else ("rllib", *path.parts)): str(path)
        for path in with_files
    }
    assert set(settings["packages"]) == set(names)
    assert settings["package-dir"] == names


@pytest.mark.parametrize("part", PARTS)
def test_a_bare_checkout_resolves_the_installed_names(part: str) -> None:
    link = ROOT / "rllib" / part
    assert link.is_symlink()
    assert link.readlink() == Path("..", part)
    assert link.resolve() == ROOT / part


@pytest.mark.parametrize("part", PARTS)
def test_a_second_copy_of_a_part_is_refused(part: str) -> None:
    done = run(f"import {part}")
    assert done.returncode == 1
    assert f"this folder is the package rllib.{part}" in done.stderr


def run(code: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_the_runtime_loads_no_libraries_of_reinforcement_learning() -> None:
    heavy = {"torch", "numpy", "gymnasium", "pydantic", "rllib.algorithm"}
    code = f"import sys, rllib.core; print(sorted({heavy!r} & set(sys.modules)))"
    assert run(code).stdout.strip() == "[]"
