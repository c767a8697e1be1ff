"""What a result is worth depends on where it was measured: machine, versions, commit."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
_PACKAGES = ("torch", "numpy", "gymnasium", "cloudpickle", "msgspec", "ray")


def facts() -> dict[str, Any]:
    """Machine, versions and commit, as plain data."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "HEAD"),
        "changed_files": len(_git("status", "--porcelain", "--untracked-files=no").splitlines()),
        "machine": {
            "cpu": _cpu_model(),
            "cores": len(os.sched_getaffinity(0)),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "kernel": platform.release(),
        },
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Median, range and the values themselves, rounded to four digits that count."""
    rounded = [float(f"{value:.4g}") for value in values]
    median = float(f"{statistics.median(values):.4g}")
    return {"median": median, "min": min(rounded), "max": max(rounded), "values": rounded}


def write(name: str, results: Any, **about: Any) -> Path:
    """Write ``benchmarks/results/<name>.json``."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    command = " ".join(["python -m", *_module_and_arguments()])
    document = {"command": command, **about, "facts": facts(), "results": results}
    path.write_text(json.dumps(document, indent=1) + "\n")
    print(f"written: {path.relative_to(ROOT)}")
    return path


def known_results(name: str) -> dict[str, Any]:
    """What stands in ``benchmarks/results/<name>.json``; nothing if there is no such file."""
    path = RESULTS / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text())["results"] if path.exists() else {}
    return found


def run_child(module: str, *arguments: str) -> dict[str, Any]:
    """What a module prints as JSON in a process of its own, and the ``seconds`` that it took."""
    started = time.perf_counter()
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    printed: dict[str, Any] = json.loads(done.stdout)
    return {"seconds": round(time.perf_counter() - started, 1)} | printed


def begin_run(
    folder: Path, *arguments: str, environ: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """``rllib train`` with these arguments, in a process of its own that works in ``folder``."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "rllib", "train", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths} | dict(environ or {}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _module_and_arguments() -> list[str]:
    """As it was called; of paths of this machine only the last part, which others can have too."""
    spec = sys.modules["__main__"].__spec__
    arguments = [Path(each).name if Path(each).is_absolute() else each for each in sys.argv[1:]]
    return [spec.name if spec else Path(sys.argv[0]).name, *arguments]
