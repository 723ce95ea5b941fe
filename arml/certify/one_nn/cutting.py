"""Constraint generation: solve over few rows, ask for violated ones, add them, repeat until none is left.

The state of one test point is a `PointState`. Every value in it is a valid bound at any time: leaving constraints out
only lowers a problem's value, and candidates that were never worked on are bounded by ``rest``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from arml.certify.one_nn.kernels import search
from arml.classifier.training_set import TrainingSet
from arml.least_distance.active_set import Workspace
from arml.threads import Map

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_FIRST_ROWS = 24
_FIRST_CANDIDATES = 24
_CUTS_PER_ROUND = 8
_BOX_CUTS_PER_ROUND = 64
# Test points that a thread takes at a time.
_BLOCK = 16
# A constraint violated by less than this fraction of the perturbation's length counts as satisfied; the witness is
# pushed inside afterwards.
_VIOLATION = 1e-10


@dataclass
class PointState:
    """One test point: its constraints in use, its candidates with their proven bounds, and the best solution so far.

    Attributes
    ----------
    index : position among the caller's test points
    c : (n,) pessimistic squared distances to all training points; share : the test point's share of their rounding
    screened : (n,) bounds of `screen`
    room : (2, d) how far each feature may go down and up within the box
    rows : (m,) constraints in use, named as in `arml.certify.one_nn.kernels`
    candidates, bound, weights : (q,), (q,), (q, m) see `search`
    rest : lower bound of every other-class point that is not a candidate
    winner, value, delta : row of the other-class point of the best solution (-1 for none), its norm, the perturbation
    certain : whether the perturbation is known to be an attack
    """

    index: int
    c: Array
    share: float
    screened: Array
    room: Array
    rows: Integers
    candidates: Integers
    bound: Array
    weights: Array
    rest: float
    winner: int = -1
    value: float = np.inf
    delta: Array = field(default_factory=lambda: np.empty(0))
    certain: bool = False

    @classmethod
    def start(cls, index: int, c: Array, share: float, screened: Array, room: Array, own: slice) -> PointState:
        """State before the first round: nearest same-class points as rows, least bounded points as candidates."""
        nearest = _smallest(c[own], _FIRST_ROWS) + own.start
        candidates = _smallest(screened, min(_FIRST_CANDIDATES, len(c) - (own.stop - own.start)))
        weights = np.zeros((len(candidates), len(nearest)))
        state = cls(index, c, share, screened, room, nearest, candidates, screened[candidates], weights, np.inf)
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
        bound = min(float(self.bound.min(initial=np.inf)), self.rest)
        return np.inf if bound > self.diagonal else bound

    @cached_property
    def diagonal(self) -> float:
        """Length, rounded up, of the longest step within the box."""
        return float(np.linalg.norm(self.room.max(axis=0))) * (1 + 2.0**-40)

    def add_rows(self, rows: Integers) -> None:
        """Use further constraints; the multipliers known so far do not involve them."""
        self.rows = np.concatenate([self.rows, rows])
        self.weights = np.pad(self.weights, ((0, 0), (0, len(rows))))

    def release(self) -> None:
        """Let go of the arrays of the size of the training set; `rest` and the candidates keep what they proved."""
        self.screened = self.screened[self.candidates]
        self.c = np.empty(0)


def solve(train: TrainingSet, own: slice, states: list[PointState], side_by_side: Map) -> None:
    """Bring all states of one class to the optimum of eq. (13)."""

    def advance(block: list[PointState]) -> None:
        for state in block:
            _advance(train, state)

    pending = states
    while pending:
        blocks = [pending[start : start + _BLOCK] for start in range(0, len(pending), _BLOCK)]
        list(side_by_side(advance, blocks))
        reached = [state for state in pending if state.winner >= 0]
        pending = [state for state, cuts in zip(reached, _violated(train, own, reached), strict=True) if cuts]


def _advance(train: TrainingSet, state: PointState) -> None:
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


def _search(train: TrainingSet, state: PointState, candidates: Integers, bound: Array, weights: Array) -> None:
    """One pass of `search`, raising ``bound`` and filling ``weights`` in place; keeps a better solution."""
    # Only the points that take part, side by side.
    points, rows = local_names(state.rows)
    some = np.concatenate([points, candidates])
    work = Workspace.make(len(rows), state.room, 0)
    best, value = search(
        train.P[some], state.c[some], train.p_error[some], np.full(len(some), state.share), rows,
        np.arange(len(points), len(some)), bound, weights, state.value, work,
    )  # fmt: skip
    if best >= 0:
        state.winner, state.value, state.delta = int(candidates[best]), float(value), work.normal.copy()


def local_names(rows: Integers) -> tuple[Integers, Integers]:
    """The training points among ``rows``, and the rows with these numbered from 0."""
    is_point = rows >= 0
    names = rows.copy()
    names[is_point] = np.arange(int(is_point.sum()))
    return rows[is_point], names


def _violated(train: TrainingSet, own: slice, states: list[PointState]) -> list[bool]:
    """Add the constraints violated at the states' solutions; one truth value per state: was any added?"""
    if not states:
        return []
    slack = own_class_slack(train, own, states, np.stack([state.delta for state in states]))
    count = min(_CUTS_PER_ROUND, slack.shape[1])
    worst = np.argpartition(slack, count - 1, axis=1)[:, :count]
    added = []
    for state, slacks, columns in zip(states, slack, worst, strict=True):
        rows = columns + own.start
        length = np.linalg.norm(train.P[rows] - train.P[state.winner], axis=1)
        cuts = rows[-slacks[columns] / 2 > _VIOLATION * state.value * length]
        cuts = np.concatenate([cuts, _box_violations(state)])
        if cuts.size:
            cuts = np.setdiff1d(cuts, state.rows)
        if cuts.size:
            state.add_rows(cuts)
        added.append(bool(cuts.size))
    return added


def own_class_slack(train: TrainingSet, own: slice, states: list[PointState], deltas: Array) -> Array:
    """``d_M(x + delta, x_i) - d_M(x + delta, x_winner)`` for all i of the class: (t, n_own); negative is violated."""
    step = torch.from_numpy(deltas).to(train.device)
    moved = (step @ train.P_device[own].T).cpu().numpy()
    winners = np.array([state.winner for state in states])
    c_own = np.stack([state.c[own] for state in states])
    c_winner = np.array([state.c[state.winner] for state in states])
    toward = np.einsum("td,td->t", deltas, train.P[winners])
    moved *= -2
    moved += c_own
    moved -= (c_winner - 2 * toward)[:, None]
    return np.asarray(moved)


def _box_violations(state: PointState) -> Integers:
    """Names of the most violated box bounds at the state's solution."""
    excess = np.concatenate([-state.delta - state.room[0], state.delta - state.room[1]])
    worst = np.argsort(-excess)[:_BOX_CUTS_PER_ROUND]
    return -1 - worst[excess[worst] > _VIOLATION * state.value]


def _smallest(values: Array, count: int) -> Integers:
    """Positions of the ``count`` smallest values, ascending; all of them where there are fewer."""
    if count >= len(values):
        return np.argsort(values, kind="stable")
    chosen = np.argpartition(values, count)[:count]
    return chosen[np.argsort(values[chosen], kind="stable")]
