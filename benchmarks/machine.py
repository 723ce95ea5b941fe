"""What a measurement was made on, and how much memory it took."""

from __future__ import annotations

import os
import platform
import resource
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import torch

from arml.experiments.provenance import cpu_model, git_state, package_versions


def describe() -> dict[str, object]:
    """The machine, the software and the load at this moment; JSON-able."""
    code = git_state(Path(__file__).resolve().parents[1] / "arml")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": package_versions() | {"threadpoolctl": metadata.version("threadpoolctl")},
        "git_commit": code.commit,
        "git_dirty": code.dirty,
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def peak_memory_mib() -> float:
    """Largest resident memory of this process since it was started, in MiB.

    ``ru_maxrss`` is inherited through fork and exec on Linux, so a child's would include its parent's peak; ``VmHWM``
    starts anew.
    """
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    except OSError:
        pass  # not Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
