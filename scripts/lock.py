"""Rewrite requirements.lock: what pip resolves for pyproject.toml, with the development tools. Run it by `make lock`.

Present pins are kept, so that a new dependency moves no other version. To upgrade a package, delete its line first.
Left out are arml itself and the CUDA packages: these are pinned by the torch wheel of a CUDA machine, and a machine
without CUDA must not install them. A local version label (``+cpu``) names one machine's wheel and is left out too.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
CUDA_PREFIXES = ("nvidia-", "cuda-", "triton")
HEADER = """\
# Every package of the environment, pinned. `make lock` writes it from pyproject.toml and keeps the pins it finds here;
# to upgrade a package, delete its line first.
# No hashes and no local version labels: one pin of torch stands for its CPU and its CUDA wheel, and the CUDA wheel
# brings the CUDA packages it needs, at versions it pins itself.
"""


def main() -> int:
    """Resolve, then replace the lock file whole; returns the exit code."""
    resolve = ["install", "--quiet", "--dry-run", "--ignore-installed", "--constraint", str(LOCK), "--report", "-"]
    report = subprocess.run([sys.executable, "-m", "pip", *resolve, f"{ROOT}[dev]"], stdout=subprocess.PIPE)
    if report.returncode != 0:
        print("pip found no set of versions; delete from requirements.lock the pins it names above", file=sys.stderr)
        return 1
    new = LOCK.with_name(f"{LOCK.name}.new")
    new.write_text(HEADER + "\n".join(pins(json.loads(report.stdout)["install"])) + "\n")
    new.replace(LOCK)
    return 0


def pins(installed: list[dict[str, dict[str, str]]]) -> list[str]:
    """Lines ``name==version`` of pip's installation report, sorted."""
    found = [(item["metadata"]["name"].lower().replace("_", "-"), item["metadata"]["version"]) for item in installed]
    return sorted(
        f"{name}=={version.partition('+')[0]}"
        for name, version in found
        if name != "arml" and not name.startswith(CUDA_PREFIXES)
    )


if __name__ == "__main__":
    sys.exit(main())
