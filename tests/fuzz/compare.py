"""Hold what the library says of a case against the rational truth, and name every violation so that it can be repeated.

What is asked of a result is listed in `judge`. A refusal (one of the library's errors about its input) is counted; of a
kind whose data the library must take it is a violation, and so is every other exception.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import arml
from arml.geometry import InvalidMetricError
from arml.inputs import InvalidInputError
from tests.fuzz.cases import Case
from tests.fuzz.geometries import KINDS
from tests.fuzz.judge import Answer, Fault, Truth, bounds_faults, box_faults, judge, norm_faults
from tests.fuzz.truth import EVENTS, View, sq_radius, standing

Array = NDArray[np.float64]

_REFUSALS = (InvalidInputError, InvalidMetricError)
_MAX_NODES = 20_000
#: Key of the unboxed majority, which Theorem 1 bounds, among the truths of a point.
UNBOXED = "majority without box"

#: What a result came to: the columns of the table.
OUTCOMES = ("exact", "at once", "unreachable", "bounded", "refused", "violation")
_OUTCOME_OF = {"exact": "exact", "misclassified": "at once", "tied": "at once", "unreachable": "unreachable"}


@dataclass(frozen=True)
class Violation:
    """One broken promise about test point ``point`` (-1: all) of case (kind, seed, index), and what the call was."""

    name: str
    kind: str
    seed: int
    index: int
    point: int
    K: int
    event: str
    box: tuple[float, float] | None
    detail: str


@dataclass
class Outcome:
    """What became of a case: how many problems ended how, the violations, and a line about every problem."""

    counts: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def run_case(case: Case, *, recheck: bool = False) -> Outcome:
    """Ask the library for all radii of a case and compare them. One problem is a point and an event.

    With ``recheck`` every result must also be confirmed by `arml.recheck`.
    """
    outcome = Outcome()
    events = EVENTS if case.K > 1 else ("plurality",)
    truths = [_truths(case, i) for i in range(len(case.X))]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        metric = _Metric(case.G)
        knn = _tried(
            case, "fit", outcome, lambda: arml.MahalanobisKNN(case.K, metric=metric).fit(case.X_train, case.y_train)
        )
        if knn is None:
            outcome.counts = Counter({key: number * len(events) for key, number in outcome.counts.items()})
            return outcome
        for event in events:
            found = _tried(case, event, outcome, partial(_exact, knn, case, event, recheck))
            for i in range(len(case.X)) if found is not None else ():
                faults = judge(case, i, event, _answer(found, i), truths[i][event], knn)
                _count(outcome, case, i, event, str(found.status[i]), faults)
                outcome.lines.append(_line(i, event, _answer(found, i), truths[i][event]))
            if recheck and found is not None:
                before = outcome.counts.copy()
                _tried(case, event, outcome, partial(_check_confirmed, knn, case, event, found, outcome))
                outcome.counts = before
        for name, check in (("certified_radius", _check_certified), ("attacked_radius", _check_attacked)):
            before = outcome.counts.copy()
            _tried(case, name, outcome, partial(check, knn, case, truths, outcome))
            outcome.counts = before  # Theorem 1 and the attack are no problems of their own.
    return outcome


def _check_certified(knn: Any, case: Case, truths: list[dict[str, Truth]], outcome: Outcome) -> bool:
    """Theorem 1 is never above the radius of the majority without a box."""
    found = knn.certified_radius(case.X, case.y)
    for i, truth in enumerate(truths):
        answer = Answer(float(found.lower[i]), math.inf, str(found.status[i]), None)
        faults = bounds_faults(answer, truth[UNBOXED])
        _note(outcome, case, i, "certified_radius", faults)
    return True


def _check_attacked(knn: Any, case: Case, truths: list[dict[str, Truth]], outcome: Outcome) -> bool:
    """The attack's norm is never below the radius of a changed answer, nor Theorem 1 above that of the majority."""
    found = knn.attacked_radius(case.X, case.y, box=case.box)
    for i, truth in enumerate(truths):
        answer = Answer(0.0, float(found.upper[i]), str(found.status[i]), found.perturbation[i])
        faults = [*bounds_faults(answer, truth["predict"]), *norm_faults(answer), *box_faults(case, i, answer)]
        majority = Answer(float(found.lower[i]), float(found.majority[i]), answer.status, None)
        faults += [(f"majority: {name}", detail) for name, detail in bounds_faults(majority, truth["majority"])]
        # An attack is rounded to nearest: what is proven does not hang on its last digit.
        faults = [fault for fault in faults if fault[0] != "upper rounded below norm"]
        _note(outcome, case, i, "attacked_radius", faults)
    return True


def _check_confirmed(knn: Any, case: Case, event: str, found: Any, outcome: Outcome) -> bool:
    """The library's own check confirms every result."""
    report = arml.recheck(knn, case.X, case.y, found, box=case.box, event=event)
    for i, problem in report.problems:
        _note(outcome, case, int(i), event, [("not confirmed", str(problem))])
    return True


def _exact(knn: Any, case: Case, event: str, proofs: bool) -> Any:
    return knn.exact_radius(case.X, case.y, event=event, box=case.box, max_nodes=_MAX_NODES, proofs=proofs)


def _line(i: int, event: str, answer: Answer, truth: Truth) -> str:
    """What was found and what is true, in a line."""
    return f"point {i} {event}: {answer.status} [{answer.lower!r}, {answer.upper!r}], truly {truth.shown}"


def _answer(found: Any, i: int) -> Answer:
    delta = None if found.perturbation is None else found.perturbation[i]
    return Answer(float(found.lower[i]), float(found.upper[i]), str(found.status[i]), delta)


def _truths(case: Case, i: int) -> dict[str, Truth]:
    """The truths of point i by event; of 1-NN the events are one."""
    y_train, y = case.y_train.tolist(), int(case.y[i])
    view = View.of(case.X_train, case.G, case.X[i], case.box)

    def truth(view: View, event: str) -> Truth:
        return Truth(sq_radius(view, y_train, y, case.K, event), standing(view, y_train, y, case.K, event))

    if case.K == 1:
        truths = dict.fromkeys(EVENTS, truth(view, "majority"))
    else:
        truths = {event: truth(view, event) for event in EVENTS}
    unboxed = View.of(case.X_train, case.G, case.X[i], None)
    return truths | {UNBOXED: truths["majority"] if case.box is None else truth(unboxed, "majority")}


def _tried(case: Case, what: str, outcome: Outcome, call: Callable[[], Any]) -> Any:
    """What the call returns; None where it was refused or failed, which is counted."""
    try:
        return call()
    except _REFUSALS as error:
        if "unknown event" in str(error):
            return None
        outcome.counts["refused"] += len(case.X)
        if not KINDS[case.kind].may_refuse:
            _note(outcome, case, -1, what, [("refused", f"{type(error).__name__}: {error}")])
    except Exception as error:
        # Whatever it is, it is a finding, and the other cases shall be run.
        outcome.counts["violation"] += len(case.X)
        _note(outcome, case, -1, what, [(type(error).__name__, str(error)[:300])])
    return None


def _count(outcome: Outcome, case: Case, i: int, event: str, status: str, faults: list[Fault]) -> None:
    outcome.counts["violation" if faults else _OUTCOME_OF.get(status, "bounded")] += 1
    _note(outcome, case, i, event, faults)


def _note(outcome: Outcome, case: Case, i: int, event: str, faults: list[Fault]) -> None:
    outcome.violations.extend(
        Violation(name, case.kind, case.seed, case.index, i, case.K, event, case.box, detail) for name, detail in faults
    )


@dataclass(frozen=True)
class _Metric:
    """A metric given by its factor, so that M is exactly G'G."""

    components_: Array
