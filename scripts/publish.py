"""Move finished records into the ledger, which is committed: ``make publish``, or

python scripts/publish.py [--runs results/runs] [--ledger results/records] [--only splice-arml] [--keep witness.npz]

Refused are records of code that differs from its commit or is older than that at hand, and those that answer a
question with less effort than the ledger does. Metrics of more than a mebibyte are left where they are. Exit code 1
where a record was refused.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from arml.records.format import LARGE, DamagedRecordError
from arml.records.ledger import RefusedError, describe, folders, publish
from arml.records.reader import read_boundary_record, read_radii_record

#: What a metric may weigh: those of the small datasets do, so that their radii can be computed and checked anywhere.
_HEAVIEST = 2**20
_READERS = {"radii": read_radii_record, "boundary": read_boundary_record, "metrics": describe}


def main(arguments: Sequence[str] | None = None) -> int:
    """Publish what the options ask for; returns the exit code."""
    options = parse(arguments)
    refused = False
    for folder in folders(options.runs):
        if options.only not in folder.name or folder.parent.name not in _READERS:
            continue
        metric = folder / "metric.npz"
        if metric.is_file() and metric.stat().st_size > _HEAVIEST:
            print(f"{folder.name}: left, a metric of {metric.stat().st_size / 2**20:.1f} MiB")
            continue
        try:
            check = _READERS[folder.parent.name]
            done = publish(folder, options.ledger, keep=options.keep, allow=options.allow, check=check)
        except (RefusedError, DamagedRecordError) as error:
            refused = True
            print(f"{folder.name}: refused: {error}", file=sys.stderr)
            continue
        replaced = f", in place of {', '.join(path.name for path in done.replaced)}" if done.replaced else ""
        print(f"{folder.name}: {'published' if done.new else 'was there'}{replaced}")
    return int(refused)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(description="Move finished records into the ledger.")
    parser.add_argument("--runs", type=Path, default=Path("results/runs"), help="default: %(default)s")
    parser.add_argument("--ledger", type=Path, default=Path("results/records"), help="default: %(default)s")
    parser.add_argument("--only", default="", metavar="TEXT", help="only records with this in their name")
    parser.add_argument("--keep", nargs="+", default=[], choices=LARGE, help="large files to take along")
    parser.add_argument(
        "--allow", nargs="+", default=[], choices=("dirty", "old", "smaller"),
        help="what is refused otherwise: code that differs from its commit, older code, less effort than the ledger's",
    )  # fmt: skip
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
