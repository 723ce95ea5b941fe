"""Draw forged results and let the checkers of `arml.proofs` look at them: none may pass that claims too much.

    python scripts/forgeries.py --count 20000 --seed 0

Prints a table of verdicts and exits 1 if a false claim was confirmed or a check ended in anything but a verdict.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arml.proofs import ProvenResult, RecheckReport, check
from tests.proofs.forgeries import forgeries, honest, verdict

SETTINGS = [
    (1, "plurality", None), (1, "plurality", (-1.0, 3.0)), (3, "majority", None), (3, "plurality", None),
    (5, "plurality", None), (5, "majority", (-1.0, 3.0)), (5, "plurality", (-1.0, 3.0)), (7, "majority", None),
]  # fmt: skip
# Forgeries of one honest result before the next is made.
_EACH = 50
_FINE = ("refused", "refused in part", "confirmed, and true")


def main(arguments: list[str] | None = None) -> int:
    """Run the forgeries asked for; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=20_000, help="forgeries in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--exact", action="store_true", help="ask the checker in rational arithmetic, too (slow)")
    options = parser.parse_args(arguments)
    checkers: dict[str, Callable[[ProvenResult], RecheckReport]] = {"float": check}
    if options.exact:
        from arml.proofs.rational import check as check_exactly

        checkers["rational"] = check_exactly
    table: Counter[tuple[str, str, str]] = Counter()
    bad, drawn, seed = 0, 0, options.seed
    while drawn < options.count:
        K, event, box = SETTINGS[seed % len(SETTINGS)]
        result, rng = honest(seed, K, event, box), np.random.default_rng(seed)
        for name, checker in checkers.items():
            if not checker(result).ok.all():
                print(f"honest result {seed} (K = {K}, {event}, box {box}) refused by the {name} checker")
                bad += 1
        for _, forgery in zip(range(min(_EACH, options.count - drawn)), forgeries(result, rng), strict=False):
            for name, checker in checkers.items():
                found = verdict(forgery, checker)
                table[name, forgery.name.partition(" ")[0], found if found in _FINE else "WRONG"] += 1
                if found not in _FINE:
                    print(f"seed {seed}, {forgery.name}: {found} ({name} checker)")
                    bad += 1
            drawn += 1
        seed += 1
    _print(table)
    print(f"{drawn} forgeries of {seed - options.seed} honest results, {bad} wrong verdicts")
    return int(bad > 0)


def _print(table: Counter[tuple[str, str, str]]) -> None:
    columns = [*_FINE, "WRONG"]
    print("| checker | forged | " + " | ".join(columns) + " |\n|---|---|" + "--:|" * len(columns))
    for checker, kind in sorted({key[:2] for key in table}):
        print(f"| {checker} | {kind} | " + " | ".join(str(table[checker, kind, column]) for column in columns) + " |")


if __name__ == "__main__":
    sys.exit(main())
