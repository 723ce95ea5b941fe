"""How a part hands in its measurements: ``<out>/<part>.json``, with the rows of the summary table in it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from arml.records.files import write_text

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "results" / "benchmarks"

#: A measurement on its way from one process to another or to a file: a JSON object, each part has its own keys.
Measured = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One line of the summary: what was measured, our value, what it is held against, their ratio, what is required."""

    what: str
    ours: str
    reference: str = ""
    ratio: str = ""
    required: str = ""
    met: bool | None = None


def write_part(
    folder: Path, part: str, machine: Mapping[str, object], rows: Sequence[Row], measurements: object
) -> None:
    """Write ``<folder>/<part>.json``, whole or not at all, and print the rows."""
    content = {
        "part": part,
        "machine": machine,
        "rows": [asdict(row) for row in rows],
        "measurements": measurements,
    }
    path = write_text(folder / f"{part}.json", json.dumps(content, indent=2) + "\n")
    for row in rows:
        print("  ".join(filter(None, (row.what, row.ours, row.reference, row.ratio, verdict(row.met)))))
    print(f"wrote {path}")


def verdict(met: bool | None) -> str:
    """The requirement's outcome in a word; empty where there is none."""
    return {True: "met", False: "NOT MET", None: ""}[met]


def in_child(module: str, *arguments: str) -> Measured:
    """Run ``python -m module arguments`` and return the JSON it prints as its last line.

    Raises
    ------
    subprocess.CalledProcessError
        If it fails; what it wrote to stderr is on ours.
    """
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def milliseconds(seconds: float) -> str:
    """Seconds as milliseconds with three digits."""
    return f"{1000 * seconds:.3g} ms"


def middle(values: Sequence[float]) -> float:
    """Median as a plain float."""
    return float(median(values))
