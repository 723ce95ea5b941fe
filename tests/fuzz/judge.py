"""What is asked of an answer about one test point, and what the truth says about it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.fuzz.cases import Case
from tests.fuzz.truth import Standing

Array = NDArray[np.float64]

#: A fault: its name, and what exactly is wrong.
Fault = tuple[str, str]

#: Largest relative gap between the bounds of an exact result, with room for the rounding of the quotient.
GAP = Fraction(1_000_001, 10**12)
#: How far above the norm of its perturbation an upper bound may be.
ABOVE_NORM = 1 + Fraction(1, 10**12)

_STATUSES = ("exact", "misclassified", "tied", "bounded", "unreachable", "time_limit")


@dataclass(frozen=True)
class Truth:
    """Exact squared radius (None: unreachable), and how the label stands at x."""

    sq_radius: Fraction | None
    standing: Standing

    @property
    def shown(self) -> str:
        """The radius to 17 digits, for people."""
        return "inf" if self.sq_radius is None else f"{_root(self.sq_radius):.17g}"


@dataclass(frozen=True)
class Answer:
    """What the library says of one test point."""

    lower: float
    upper: float
    status: str
    perturbation: Array | None


def judge(case: Case, i: int, event: str, answer: Answer, truth: Truth, knn: Any) -> list[Fault]:
    """(name, detail) of everything that is wrong with an answer about point i.

    * ``lower`` is not above the radius and ``upper`` not below it, as fractions;
    * ``upper`` is the norm of the perturbation, rounded up by at most 1e-12 of itself, or to the next float;
    * the perturbation stays in the box: exactly, and as the classifier computes the point;
    * "exact": the gap is at most 1e-6, and the classifier's answer or votes at ``x + perturbation`` show the event;
    * "misclassified" and "tied": as the exact distances at x say; "unreachable": there is no attack.
    """
    faults = [*bounds_faults(answer, truth), *norm_faults(answer), *box_faults(case, i, answer)]
    lower, upper, status = answer.lower, answer.upper, answer.status
    if status == "exact":
        if not math.isfinite(upper) or Fraction(upper) - Fraction(lower) > GAP * Fraction(upper):
            faults.append(("exact with a gap", f"[{lower!r}, {upper!r}]"))
        elif upper > 0 and answer.perturbation is not None and not _shown(case, i, event, answer.perturbation, knn):
            faults.append(("exact without effect", f"{answer.perturbation.tolist()} leaves the answer as it is"))
    stands = truth.standing
    if status == "misclassified" and not (stands.other_answer or (event == "majority" and stands.lost)):
        faults.append(("not misclassified", f"the label can hold at x; radius {truth.shown}"))
    if status == "tied" and (stands.other_answer or not (stands.lost or stands.tied)):
        word = "is lost" if stands.other_answer else f"holds, with radius {truth.shown}"
        faults.append(("not tied", f"at x the label {word}"))
    if status in ("misclassified", "tied") and not lower == upper == 0:
        faults.append(("radius 0 is not said", f"{status}, but [{lower!r}, {upper!r}]"))
    if status not in _STATUSES:
        faults.append(("unknown status", repr(status)))
    if (status == "unreachable") != (lower == math.inf):
        faults.append(("unreachable against lower", f"{status}, [{lower!r}, {upper!r}]"))
    return faults


def bounds_faults(answer: Answer, truth: Truth) -> list[Fault]:
    """``lower`` and ``upper`` lie around the radius, exactly."""
    faults = []
    lower, upper, R = answer.lower, answer.upper, truth.sq_radius
    if R is not None and (math.isinf(lower) or Fraction(lower) ** 2 > R):
        faults.append(("lower above truth", f"{lower!r} > {truth.shown}{_excess(lower, R)}"))
    if math.isfinite(upper) and (R is None or Fraction(upper) ** 2 < R):
        faults.append(("upper below truth", f"{upper!r} < {truth.shown}{_excess(upper, R)}"))
    if not 0 <= lower <= upper:
        faults.append(("bounds out of order", f"[{lower!r}, {upper!r}]"))
    return faults


def norm_faults(answer: Answer) -> list[Fault]:
    """``upper`` is the norm of the perturbation; "rounded below": only the last digits are on the wrong side."""
    upper, delta = answer.upper, answer.perturbation
    if not math.isfinite(upper):
        return []
    if delta is None:
        return [("upper without perturbation", f"{upper!r}")]
    if not np.isfinite(delta).all():
        return [("perturbation not finite", f"{delta.tolist()} with upper {upper!r}")]
    sq_norm = sum((Fraction(value) ** 2 for value in delta.tolist()), Fraction(0))
    if Fraction(upper) ** 2 < sq_norm:
        name = "upper rounded below norm" if (Fraction(upper) * ABOVE_NORM) ** 2 >= sq_norm else "upper below norm"
        return [(name, f"{upper!r} < |{delta.tolist()}|{_excess(upper, sq_norm)}")]
    below = Fraction(upper) - Fraction(math.ulp(upper))
    if upper > 0 and below > 0 and below**2 > ABOVE_NORM**2 * sq_norm:
        return [("upper above norm", f"{upper!r} > |{delta.tolist()}|{_excess(upper, sq_norm)}")]
    return []


def box_faults(case: Case, i: int, answer: Answer) -> list[Fault]:
    """The perturbed point is in the box; "by rounding": only its float is. A coordinate outside keeps its own value."""
    delta = answer.perturbation
    if case.box is None or delta is None or not math.isfinite(answer.upper) or not np.isfinite(delta).all():
        return []
    x = case.X[i]
    low, high = np.minimum(case.box[0], x), np.maximum(case.box[1], x)
    there = x + delta
    if not ((there >= low) & (there <= high)).all():
        return [("outside the box", f"{there.tolist()} in [{low.tolist()}, {high.tolist()}]")]
    exact = [Fraction(a) + Fraction(b) for a, b in zip(x.tolist(), delta.tolist(), strict=True)]
    if not all(lo <= z <= hi for lo, z, hi in zip(low.tolist(), exact, high.tolist(), strict=True)):
        return [("outside the box by rounding", f"{x.tolist()} + {delta.tolist()} before it is rounded")]
    return []


def _shown(case: Case, i: int, event: str, delta: Array, knn: Any) -> bool:
    """Whether the classifier's own answer or votes at ``x + delta`` show the event."""
    if not np.isfinite(delta).all():
        return False
    there = (case.X[i] + delta)[None]
    label = int(case.y[i])
    if int(knn.predict(there)[0]) != label:
        return True
    if case.K == 1 or event == "predict":
        return False
    votes = knn.votes(there)[0]
    own = int(votes[knn.classes_ == label].sum())
    rivals = votes[knn.classes_ != label]
    return own < (case.K + 1) // 2 if event == "majority" else int(rivals.max(initial=0)) >= own


def _excess(value: float, sq: Fraction | None) -> str:
    """By how much a bound is off relative to the root of ``sq``, for people."""
    if sq is None or sq == 0 or math.isinf(value):
        return ""
    ratio = Fraction(value) ** 2 / sq
    return f" (by {float(ratio - 1) / 2:.2g} of it)" if ratio < 10**9 else ""


def _root(sq: Fraction) -> float:
    """Root of a fraction whose float may be out of range, by scaling with an even power of two."""
    shift = (sq.numerator.bit_length() - sq.denominator.bit_length()) // 2
    return math.ldexp(math.sqrt(sq / Fraction(4) ** shift), shift) if sq else 0.0
