"""Where a record comes from: code, versions, machine, time and memory."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

PACKAGES = ("arml", "torch", "numpy", "scipy", "scikit-learn", "metric-learn", "numba", "hydra-core")


def provenance(*, device: str, threads: int, wall_seconds: float) -> dict[str, object]:
    """Description of this process for a record; JSON-able.

    ``git_commit`` and ``git_dirty`` are null outside a git checkout of this code. ``wall_seconds`` is the time the
    record took to compute. ``peak_memory_mib`` is the most memory this process has held so far: in a sweep, which runs
    its jobs in one process, that is the peak over the jobs up to this one.
    """
    commit, dirty = git_state(Path(__file__).resolve().parent)
    return {
        "git_commit": commit,
        "git_dirty": dirty,
        "versions": package_versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "device": device,
        "threads": threads,
        "wall_seconds": round(wall_seconds, 3),
        "peak_memory_mib": round(peak_memory_mib(), 1),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def git_state(folder: Path) -> tuple[str | None, bool | None]:
    """Commit checked out around ``folder`` and whether tracked files differ; nulls if git tracks nothing in it."""
    tracked = _git(folder, "ls-files", ".")
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if not tracked or not commit:
        return None, None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return commit, bool(changes)


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
