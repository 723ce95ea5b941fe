"""Run experiments: ``python scripts/run.py dataset=usps method=arml``; ``-m`` runs several, ``--help`` lists keys."""

import sys
from pathlib import Path

from arml.experiments.app import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(__file__).resolve().parent.parent / "configs"))
