"""Constraint generation: solve over few rows, ask for violated ones, add them, repeat until none is left.

The state of one test point is a `PointSearch`. Every value in it is a valid bound at any time: leaving constraints out
only lowers a problem's value, and candidates that were never worked on are bounded by ``rest``.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from arml.certify.training_set import TrainingSet
from arml.qp import search

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_FIRST_ROWS = 24
_FIRST_CANDIDATES = 24
_CUTS_PER_ROUND = 8
_BOX_CUTS_PER_ROUND = 64
# A constraint violated by less than this fraction of the perturbation's length counts as satisfied; the witness is
# pushed inside afterwards.
_VIOLATION = 1e-10


@dataclass
class PointSearch:
    """One test point: its constraints in use, its candidates with their proven bounds, and the best solution so far.

    Attributes
    ----------
    index : position among the caller's test points
    c : (n,) squared distances to all training points; screened : (n,) bounds of `screen`; error : rounding error of c
    room_below, room_above : (d,) how far each feature may move within the box
    anchors : (a,) rows of the anchors; rows : (m,) constraints in use, named as in `arml.qp`
    candidates, bound, weights : (q,), (q,), (q, m) see `search`
    rest : lower bound of every other-class point that is not a candidate
    winner, value, delta : row of the other-class point of the best solution (-1 for none), its norm, the perturbation
    """

    index: int
    c: Array
    screened: Array
    error: float
    room_below: Array
    room_above: Array
    anchors: Integers
    rows: Integers
    candidates: Integers
    bound: Array
    weights: Array
    rest: float
    winner: int = -1
    value: float = np.inf
    delta: Array = field(default_factory=lambda: np.empty(0))

    @classmethod
    def start(
        cls,
        index: int,
        c: Array,
        screened: Array,
        error: float,
        room: tuple[Array, Array],
        anchors: Integers,
        own: slice,
    ) -> PointSearch:
        """State before the first round: nearest same-class points as rows, least bounded points as candidates."""
        nearest = _smallest(c[own], _FIRST_ROWS) + own.start
        candidates = _smallest(screened, min(_FIRST_CANDIDATES, len(c) - (own.stop - own.start)))
        state = cls(
            index, c, screened, error, room[0], room[1], anchors, nearest, candidates, screened[candidates],
            np.zeros((len(candidates), len(nearest))), np.inf,
        )  # fmt: skip
        state.rest = state.least_unlisted()
        return state

    def least_unlisted(self) -> float:
        """Smallest screening bound of the points that are not candidates."""
        unlisted = self.screened.copy()
        unlisted[self.candidates] = np.inf
        return float(unlisted.min())

    @property
    def proven(self) -> float:
        """Proven lower bound of the point's radius; infinite where it exceeds the longest step within the box."""
        bound = float(min(self.bound.min(initial=np.inf), self.rest))
        return np.inf if bound > np.linalg.norm(np.maximum(self.room_below, self.room_above)) else bound

    def add_rows(self, rows: Integers) -> None:
        """Use further constraints; the multipliers known so far do not involve them."""
        self.rows = np.concatenate([self.rows, rows])
        self.weights = np.pad(self.weights, ((0, 0), (0, len(rows))))

    def release(self) -> None:
        """Let go of the arrays of the size of the training set; `rest` and the candidates keep what they proved."""
        self.screened = self.screened[self.candidates]
        self.c = np.empty(0)


def solve(train: TrainingSet, own: slice, states: list[PointSearch], pool: ThreadPoolExecutor) -> None:
    """Bring all states of one class to the optimum of eq. (13)."""
    pending = states
    while pending:
        list(pool.map(lambda state: _advance(train, state), pending))
        reached = [state for state in pending if state.winner >= 0]
        pending = [state for state, cuts in zip(reached, _violated(train, own, reached), strict=True) if cuts]


def _advance(train: TrainingSet, state: PointSearch) -> None:
    """Solve the relaxation over the rows in use, to optimality over all other-class points."""
    order = np.argsort(state.bound, kind="stable")
    state.candidates, state.bound, state.weights = state.candidates[order], state.bound[order], state.weights[order]
    state.winner, state.value = -1, np.inf
    _search(train, state, state.candidates, state.bound, state.weights)
    if state.value > state.rest:
        known = np.zeros(len(state.screened), dtype=bool)
        known[state.candidates] = True
        extra = np.flatnonzero((state.screened < state.value) & ~known)
        extra = extra[np.argsort(state.screened[extra], kind="stable")]
        bound, weights = state.screened[extra], np.zeros((len(extra), len(state.rows)))
        _search(train, state, extra, bound, weights)
        state.candidates = np.concatenate([state.candidates, extra])
        state.bound = np.concatenate([state.bound, bound])
        state.weights = np.concatenate([state.weights, weights])
        state.rest = state.least_unlisted()


def _search(train: TrainingSet, state: PointSearch, candidates: Integers, bound: Array, weights: Array) -> None:
    """One pass of `search`, raising ``bound`` and filling ``weights`` in place; keeps a better solution."""
    best, value, delta = search(
        train.P, state.c, state.rows, state.room_below, state.room_above,
        train.rounding.row, state.error, candidates, bound, weights, state.value,
    )  # fmt: skip
    if best >= 0:
        state.winner, state.value, state.delta = int(candidates[best]), float(value), delta


def _violated(train: TrainingSet, own: slice, states: list[PointSearch]) -> list[bool]:
    """Add the constraints violated at the states' solutions; one truth value per state: was any added?"""
    if not states:
        return []
    excess = -own_class_slack(train, own, states, np.stack([state.delta for state in states])) / 2
    worst = _largest_per_row(excess, _CUTS_PER_ROUND)
    added = []
    for state, excesses, columns in zip(states, excess, worst, strict=True):
        rows = columns + own.start
        length = np.linalg.norm(train.P[rows] - train.P[state.winner], axis=1)
        cuts = rows[excesses[columns] > _VIOLATION * state.value * length]
        cuts = np.concatenate([cuts, _box_violations(state)])
        cuts = np.setdiff1d(cuts, state.rows)
        if cuts.size:
            state.add_rows(cuts)
        added.append(bool(cuts.size))
    return added


def own_class_slack(train: TrainingSet, own: slice, states: list[PointSearch], deltas: Array) -> Array:
    """``d_M(x + delta, x_i) - d_M(x + delta, x_winner)`` for all i of the class: (t, n_own); negative is violated."""
    step = torch.from_numpy(deltas).to(train.device)
    moved = (step @ train.P_device[own].T).cpu().numpy()
    winners = np.array([state.winner for state in states])
    c_own = np.stack([state.c[own] for state in states])
    c_winner = np.array([state.c[state.winner] for state in states])
    toward = np.einsum("td,td->t", deltas, train.P[winners])
    return np.asarray((c_own - 2 * moved) - (c_winner - 2 * toward)[:, None])


def _box_violations(state: PointSearch) -> Integers:
    """Names of the most violated box bounds at the state's solution."""
    d = len(state.delta)
    excess = np.concatenate([-state.delta - state.room_below, state.delta - state.room_above])
    worst = np.argsort(-excess)[:_BOX_CUTS_PER_ROUND]
    return -1 - worst[excess[worst] > _VIOLATION * state.value] if d else worst


def _smallest(values: Array, count: int) -> Integers:
    """Positions of the ``count`` smallest values, ascending; all of them where there are fewer."""
    if count >= len(values):
        return np.argsort(values, kind="stable")
    chosen = np.argpartition(values, count)[:count]
    return chosen[np.argsort(values[chosen], kind="stable")]


def _largest_per_row(values: Array, count: int) -> Integers:
    """Columns (t, count) of the largest values of each row, in no particular order."""
    count = min(count, values.shape[1])
    return np.argpartition(-values, count - 1, axis=1)[:, :count]
