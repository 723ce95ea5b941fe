"""Where a record comes from: code, versions, machine, time and memory."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGES = ("arml", "torch", "numpy", "scipy", "scikit-learn", "metric-learn", "numba", "hydra-core")


#: What a file must end in to be a module that Python would import.
_MODULES = ("*.py", "*.so", "*.pyd")


@dataclass(frozen=True)
class CodeState:
    """The code that runs: its commit, and whether it differs from it; both None outside a git checkout of this code."""

    commit: str | None
    dirty: bool | None


@cache
def code_at_start() -> CodeState:
    """State of the code that this process runs, looked up at its first run and kept.

    A sweep takes hours; what is checked out or edited meanwhile is not the code that runs, which was loaded at its
    start.
    """
    return git_state(Path(__file__).resolve().parents[1])


def provenance(
    *, code: CodeState, device: str, threads: int, wall_seconds: float, warmup_seconds: float | None = None
) -> dict[str, object]:
    """Description of this process for a record; JSON-able.

    ``code`` is what was there when the run started, see `code_at_start`. ``wall_seconds`` is the time the record took
    to compute, without ``warmup_seconds``, the time that making ready took before (compiling), which is left out where
    it was not measured. ``peak_memory_mib`` is the most memory this process has held so far: in a sweep, which runs
    its jobs in one process, that is the peak over the jobs up to this one.
    """
    warmup = {} if warmup_seconds is None else {"warmup_seconds": round(warmup_seconds, 3)}
    return {
        "git_commit": code.commit,
        "git_dirty": code.dirty,
        "versions": package_versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "device": device,
        "threads": threads,
        "wall_seconds": round(wall_seconds, 3),
        **warmup,
        "peak_memory_mib": round(peak_memory_mib(), 1),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def git_state(package: Path) -> CodeState:
    """Commit checked out around the folder ``package``, and whether what runs may differ from it.

    It may where any tracked file of the checkout was changed, and where a module in ``package`` is not tracked, ignored
    ones included: Python imports it all the same. Both are None if git tracks nothing in ``package``.
    """
    tracked = _git(package, "ls-files", ".")
    commit = _git(package, "rev-parse", "--verify", "HEAD")
    if not tracked or not commit:
        return CodeState(None, None)
    changes = _git(package, "status", "--porcelain", "--untracked-files=no")
    strangers = _git(package, "ls-files", "--others", "--", *_MODULES)
    # None is an answer that git did not give, which is no proof that nothing was changed.
    return CodeState(commit, changes != "" or strangers != "")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def package_versions() -> dict[str, str | None]:
    """Installed versions of the packages that numbers depend on; null for one that is not installed."""
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def cpu_model() -> str:
    """The processor's name, as far as the operating system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux: ask Python
    return platform.processor() or platform.machine()


def peak_memory_mib() -> float:
    """Largest resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, Linux KiB.
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
