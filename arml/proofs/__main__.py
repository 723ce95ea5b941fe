"""``python -m arml.proofs FILE``: check a proven result, in exact arithmetic unless ``--float`` says otherwise."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from arml.proofs import rational
from arml.proofs.files import load
from arml.proofs.formats import DamagedProofError, EntryProof
from arml.proofs.result import ProvenResult, RecheckReport

CONFIRMED, REFUSED, DAMAGED = 0, 1, 2
_SHOWN = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Check a file and say so. Exit code: 0 confirmed, 1 refused, 2 no proof that could be read."""
    parser = argparse.ArgumentParser(prog="python -m arml.proofs", description="Check a proven result.")
    parser.add_argument("file", help="what RadiusBounds.save wrote")
    parser.add_argument("--float", action="store_true", dest="floats", help="by the checker in float64")
    parser.add_argument("--points", metavar="A:B", help="test points A to B - 1 only (exact arithmetic)")
    options = parser.parse_args(arguments)
    if options.floats and options.points:
        parser.error("--points is for the exact checker; leave --float out")
    try:
        result = load(options.file)
        points = _range(options.points, len(result.lower))
        print(_described(result), flush=True)
        started = time.perf_counter()
        report = _by_floats(result) if options.floats else rational.check(result, points=points, progress=_progress)
    except (DamagedProofError, OSError, ValueError, MemoryError) as error:
        print(f"cannot be checked: {error or type(error).__name__}", file=sys.stderr)
        return DAMAGED
    refused, n = len(report.problems), len(points)
    how = "float64" if options.floats else "exact arithmetic"
    print(f"{n - refused} of {n} points confirmed, {refused} refused, in {how}, {time.perf_counter() - started:.1f} s")
    for i, reason in report.problems[:_SHOWN]:
        print(f"  point {i} refused: {reason}")
    if refused > _SHOWN:
        print(f"  and {refused - _SHOWN} more")
    return REFUSED if refused else CONFIRMED


def _described(result: ProvenResult) -> str:
    claim, subject = result.claim, result.subject
    kind = "entries" if isinstance(result.proof, EntryProof) else "trees"
    statuses = result.status.tolist()
    counts = ", ".join(f"{statuses.count(status)} {status}" for status in sorted(set(statuses)))
    digests = "\n".join(
        f"  {name:<10} {getattr(claim, name)}" for name in ("components", "X_train", "y_train", "X", "y")
    )
    return (
        f"claimed: radii of {len(result.lower)} test points ({counts})\n"
        f"  K = {claim.n_neighbors}, event {claim.event}, norm {claim.norm:g}, box [{claim.box[0]}, {claim.box[1]}]\n"
        f"  {len(subject.X_train)} training points with {subject.X_train.shape[1]} features, "
        f"{len(set(subject.y_train.tolist()))} classes; metric of {len(subject.components)} rows; proof by {kind}\n"
        f"about (SHA-256):\n{digests}"
    )


def _by_floats(result: ProvenResult) -> RecheckReport:
    from arml.proofs.check import check  # only here: the exact checker stands without it

    return check(result)


def _range(text: str | None, n: int) -> range:
    if text is None:
        return range(n)
    first, colon, last = text.partition(":")
    start, stop = int(first or 0), int(last) if last else n if colon else int(first) + 1
    if not 0 <= start < stop <= n:
        raise ValueError(f"--points {text} is no range of the {n} test points")
    return range(start, stop)


def _progress(i: int, reason: str | None) -> None:
    print(f"\rpoint {i}: {'confirmed' if reason is None else 'refused'}   ", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
