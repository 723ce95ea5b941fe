"""The exact radius of a small K-NN problem in rational arithmetic: no float is rounded anywhere.

A float64 is a rational number, so training points X, factor G (M = G'G), test point x and box are taken as what they
are. With c_i = d_M(x, x_i) and p_i = M(x_i - x) the moved distance of point i is ``c_i - 2 delta'p_i`` up to a term
common to all points (docs/exact_knn.md), so that l is at least as near as h after ``delta`` if and only if

    2 (p_h - p_l)' delta <= c_h - c_l.

Who may be near is enumerated; each assignment is a least-distance problem over such rows and those of the box, and the
radius is the smallest value among them. Everything is held in integers: a common unit is split off from the points and
another from G, both fractions. Meant for up to about ten training points and four features.

Events, with k = (K + 1) / 2, ties of distance at the attacker's will:

* ``majority``: fewer than k of K nearest points have the label y;
* ``plurality``: another class has at least as many of them as y;
* ``predict``: the classifier answers another label; of classes with equally many votes it answers the smallest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from tests.fuzz.least_sq_norm import Row, least_sq_norm

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Box = tuple[float, float]
Vector = tuple[int, ...]

EVENTS = ("majority", "plurality", "predict")


@dataclass(frozen=True)
class View:
    """Training points as a test point sees them, in integers.

    Attributes
    ----------
    P : n vectors (d,) of ``M (x_i - x)``, and C : n squared distances, each in a unit of its own
    unit : a true perturbation is ``unit`` times the w that solves ``2 (P_h - P_l)'w <= C_h - C_l``
    walls : the rows of the box on w
    """

    P: tuple[Vector, ...]
    C: tuple[int, ...]
    unit: Fraction
    walls: tuple[Row, ...]

    @classmethod
    def of(cls, X_train: Array, G: Array, x: Array, box: Box | None) -> View:
        """View from x (d,) of the points X_train (n, d) under M = G'G. A coordinate outside the box keeps its value."""
        limits = [limit for limit in (box or ()) if math.isfinite(limit)]
        numbers, unit = integers([*X_train.ravel().tolist(), *x.tolist(), *limits])
        n, d = X_train.shape
        here, edges = numbers[n * d : n * d + d], dict(zip(limits, numbers[n * d + d :], strict=True))
        factor, _ = integers(G.ravel().tolist())
        P, C = [], []
        for i in range(n):
            t = [numbers[i * d + a] - here[a] for a in range(d)]
            z = [sum(factor[r * d + a] * t[a] for a in range(d)) for r in range(len(G))]
            P.append(tuple(sum(factor[r * d + a] * z[r] for r in range(len(G))) for a in range(d)))
            C.append(sum(value * value for value in z))
        walls = []
        for a in range(d):
            for limit, sign in zip(box or (), (-1, 1), strict=False):
                if math.isfinite(limit):
                    # How far the coordinate may go; not at all, where it is already beyond this limit.
                    room = max(0, sign * (edges[limit] - here[a]))
                    walls.append((tuple(sign * (a == b) for b in range(d)), room))
        return cls(tuple(P), tuple(C), unit, tuple(walls))

    def row(self, low: int, high: int) -> Row:
        """What ``low`` at least as near as ``high`` asks of w, without common factors."""
        a = [2 * (p - q) for p, q in zip(self.P[high], self.P[low], strict=True)]
        b = self.C[high] - self.C[low]
        common = math.gcd(b, *a) or 1
        return tuple(value // common for value in a), b // common


@dataclass(frozen=True)
class Standing:
    """How the label stands at x itself: whether the event holds for the best and the worst choice among ties.

    ``other_answer``: the classifier answers another label, whichever of tied points it takes.
    """

    lost: bool
    tied: bool
    other_answer: bool


def sq_radius(view: View, y_train: Sequence[int], y: int, K: int, event: str) -> Fraction | None:
    """Square of the smallest norm of a perturbation at which the event happens; None where there is none."""
    assignments = _majority(y_train, y, K) if event == "majority" else _fronts(y_train, y, K, event)
    if assignments is None:
        return Fraction(0)

    @cache
    def row(low: int, high: int) -> Row:
        return view.row(low, high)

    @cache
    def alone(low: int, high: int) -> Fraction | None:
        a, b = row(low, high)
        sq_norm = sum(value * value for value in a)
        if b >= 0:
            return Fraction(0)
        return Fraction(b * b, sq_norm) if sq_norm else None

    cells = []
    for low, high in assignments:
        values = [alone(i, j) for i in low for j in high]
        if None not in values:
            cells.append((max([value for value in values if value is not None], default=Fraction(0)), low, high))
    best: Fraction | None = None
    for bound, low, high in sorted(cells):
        if best is not None and bound >= best:
            break
        found = least_sq_norm([*(row(i, j) for i in low for j in high), *view.walls], best)
        best = best if found is None else found
    return None if best is None else best * view.unit**2


def standing(view: View, y_train: Sequence[int], y: int, K: int, event: str) -> Standing:
    """How the label stands before any perturbation, told from the exact distances."""
    outcomes, answers = [], []
    for near in neighbourhoods(view.C, K):
        votes = [y_train[i] for i in near]
        outcomes.append(_lost(votes, y, event))
        answers.append(answer(votes) != y)
    return Standing(lost=all(outcomes), tied=any(outcomes) and not all(outcomes), other_answer=all(answers))


def neighbourhoods(C: Sequence[int], K: int) -> Iterator[tuple[int, ...]]:
    """Every choice of K nearest points that the squared distances C (n,) allow."""
    order = sorted(range(len(C)), key=lambda i: C[i])
    limit = C[order[K - 1]]
    sure = [i for i in order if C[i] < limit]
    tied = [i for i in order if C[i] == limit]
    for chosen in combinations(tied, K - len(sure)):
        yield (*sure, *chosen)


def answer(votes: Sequence[int]) -> int:
    """The label with the most votes, the smallest of several."""
    return min(set(votes), key=lambda label: (-votes.count(label), label))


def integers(values: Sequence[float]) -> tuple[list[int], Fraction]:
    """Integers without a common factor and a unit > 0 that give exactly the finite ``values`` when multiplied."""
    ratios = [float(value).as_integer_ratio() for value in values]
    denominator = max((ratio[1] for ratio in ratios), default=1)
    numbers = [numerator * (denominator // own) for numerator, own in ratios]
    common = math.gcd(*numbers) or 1
    return [number // common for number in numbers], Fraction(common, denominator)


def _lost(votes: Sequence[int], y: int, event: str) -> bool:
    """Whether the event holds when the K nearest points have these labels."""
    own = votes.count(y)
    if event == "majority":
        return own < (len(votes) + 1) // 2
    if event == "plurality":
        return any(votes.count(rival) >= own for rival in set(votes) - {y})
    return answer(votes) != y


def _majority(y_train: Sequence[int], y: int, K: int) -> list[tuple[Vector, Vector]] | None:
    """Pairs (low, high) that cover the loss of the majority; None where it is lost wherever x is."""
    k = (K + 1) // 2
    same = [i for i, label in enumerate(y_train) if label == y]
    others = [i for i, label in enumerate(y_train) if label != y]
    if len(same) < k:
        return None
    return [
        (low, tuple(i for i in same if i not in spared))
        for low in combinations(others, k)
        for spared in combinations(same, k - 1)
    ]


def _fronts(y_train: Sequence[int], y: int, K: int, event: str) -> list[tuple[Vector, Vector]]:
    """Pairs (low, high) of K points with which the vote is lost, and all others."""
    places = range(len(y_train))
    return [
        (low, tuple(i for i in places if i not in low))
        for low in combinations(places, K)
        if _lost([y_train[i] for i in low], y, event)
    ]
