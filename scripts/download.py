"""Fetch and verify datasets: ``python scripts/download.py [names...|all] [--root DIR] [--check]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from arml.datasets import DatasetError, dataset_names, load_dataset


def main(argv: Sequence[str] | None = None) -> int:
    """Print one line per dataset; the exit code is 1 if any could not be had or verified."""
    parser = argparse.ArgumentParser(description="Fetch datasets into the data root and verify them.")
    parser.add_argument(
        "names", nargs="*", default=["all"], help=f"'all' (the default), or any of: {', '.join(dataset_names())}"
    )
    parser.add_argument("--root", help="data root; by default $ARML_DATA, else ./data")
    parser.add_argument("--check", action="store_true", help="verify what is there, download nothing")
    arguments = parser.parse_args(argv)
    names = dataset_names() if "all" in arguments.names else arguments.names
    failed = False
    for name in names:
        try:
            data = load_dataset(name, arguments.root, download=not arguments.check)
        except DatasetError as error:
            failed = True
            print(error, file=sys.stderr)
        else:
            print(
                f"{name:<14} {len(data.y_train):>6} train {len(data.y_test):>6} test {data.n_features:>4} features "
                f"{data.n_classes:>3} classes  digest {data.digest[:16]}"
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
