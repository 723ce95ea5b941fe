"""``README.md`` from the parts' JSON files: python -m benchmarks.summary [--out results/benchmarks]."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from arml.records.files import write_text
from benchmarks.output import OUT, Measured, verdict
from benchmarks.run import PARTS

INTRODUCTION = """\
# Benchmarks

Made by `make bench`; the numbers behind the table are in the JSON files beside it. Times are medians of repetitions in
which ours and the reference alternate on one machine. Nothing here is a test.

*Algorithm 2 published* screens with 50 random same-class points and forms the Gram matrix of every inner problem's
dual, as the paper describes it; the required ratios refer to it. *Algorithm 2 tuned* is our best version of the same
algorithm: it screens with the 50 nearest same-class points and computes only the rows of the Gram matrix it needs
(`benchmarks/algorithm2.py`).

*Theorem 1 by the plain evaluation* computes all margins of a test point, in float32 and chunks of 100 x 100 pairs, from
the differences of the training points; the required ratios refer to it. *By products* has the denominators of a chunk
from one small matrix product (`benchmarks/theorem1.py`). One *product* is the float64 matrix product of all test and
training points alone, without the sums that make distances of it; prediction and the mapping of the training set count
as ours.

*Attacks from the records* take radii and times from the runs behind Table 2, which were not made side by side: their
machines are in the JSON file, and there only the Boundary Attack has to stay in a box. *Afresh* is one run of both in
the same box. Points that are misclassified do not count.

*Now against before* runs another checkout and this one in turns (`python -m benchmarks.before_after --before DIR`).
"""
HEADER = "| what | ours | reference | ratio | required | |\n|---|---|---|---|---|---|"


def section(part: Measured) -> str:
    """Heading, description of the machine, and table of one part."""
    machine = part["machine"]
    cells = ("what", "ours", "reference", "ratio", "required")
    lines = [" | ".join(["", *(row[cell] for cell in cells), verdict(row["met"]), ""]).strip() for row in part["rows"]]
    return "\n".join([f"## {part['part']}\n", described(machine), "", HEADER, *lines, ""])


def described(machine: Measured) -> str:
    """The machine in a paragraph, with a warning if it was busy."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    state = f"commit {machine['git_commit'][:12]}" if machine["git_commit"] else "no commit"
    text = (
        f"{machine['date']}, {machine['cpu']}, {machine['cores']} cores, {machine['torch_threads']} threads, "
        f"{machine['memory_gib']} GiB, {machine['platform']}, Python {machine['python']}; {versions}; "
        f"{state}{' with changes' if machine['git_dirty'] else ''}; "
        f"load average at the start {' '.join(f'{load:g}' for load in machine['load_average'])}."
    )
    if machine["load_average"][0] > 0.5 * machine["cores"]:
        text += " **The machine was busy: the times are too long and the ratios uncertain.**"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description="Combine the parts' measurements into README.md.")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    files = [options.out / f"{part}.json" for part in (*PARTS, "before_after")]
    parts = [json.loads(path.read_text(encoding="utf-8")) for path in files if path.exists()]
    print(f"wrote {write_text(options.out / 'README.md', chr(10).join([INTRODUCTION, *map(section, parts)]))}")


if __name__ == "__main__":
    main()
