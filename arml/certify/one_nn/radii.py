"""Exact minimal adversarial perturbations of a Mahalanobis 1-NN classifier (section 3.4, eq. 13-14, Algorithm 2).

    radius(x, y) = min over j with y_j != y of   min ||delta||  s.t.  d_M(x + delta, x_j) <= d_M(x + delta, x_i)
                                                                       for all i with y_i = y

How it is solved, for all test points of one class at a time:

1. One matrix product gives all squared distances, each with a bound of its own rounding. Where that leaves a doubt
   whether a point is misclassified or tied, exact arithmetic decides; either has radius 0.
2. The closed form (eq. 8) with each point's nearest same-class points bounds every inner problem from below, one matrix
   product per such point (`arml.certify.one_nn.screening`).
3. The inner problems are worked on in the order of these bounds, over the constraints of the nearest same-class points
   only, and left as soon as they are proven worse than the best one (`arml.certify.one_nn.kernels`).
4. A nearest-neighbour query at all the solutions together, one matrix product, finds the constraints that were left out
   and are violated. They are added and step 3 is repeated for the points concerned (`arml.certify.one_nn.cutting`).
   When none is left the best solution is optimal.
5. Points for which rounding leaves a gap (test points far from where most training points are) are solved again in a
   frame of their own, and the decisive problems of those for which even that leaves one in exact arithmetic
   (`arml.certify.one_nn.refine`).

Differences from the paper
--------------------------
* Algorithm 2 screens with a subset of same-class points and then solves a dual with one variable per same-class point
  by greedy coordinate ascent, in float32. Here the constraints are generated, the dual is solved by an active-set
  method to the last digit, and every lower bound is proven, rounding included (`arml.classifier.rounding`).
* The bounds that decide a radius are evaluated again from differences of points.
* ``upper`` is the norm of a perturbation pushed into the other class's cell by as little as makes it certain
  (`arml.certify.one_nn.witness`): it works in exact arithmetic, and `predict` answers another class.
* Optionally the perturbed point is confined to a box. A test coordinate outside the box keeps its own value as limit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from arml.certify.one_nn.cutting import PointState, solve
from arml.certify.one_nn.refine import WORTH_EXACT_WORK, WORTHWHILE, refine, refine_exactly
from arml.certify.one_nn.screening import ANCHORS, screen
from arml.certify.one_nn.witness import proof_of, try_out, witness
from arml.classifier.chunks import class_chunks
from arml.classifier.event import Outcome, outcomes
from arml.classifier.fitted import Compute, FittedKNN
from arml.classifier.rounding import balance, distance_share, magnitudes
from arml.classifier.training_set import TrainingSet
from arml.inputs import room_within
from arml.proofs.claim import Claim
from arml.radii import RadiusBounds, Status
from arml.threads import Map, blas_on_one_thread, workers
from arml.versions import VERSIONS

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Bump when the numbers this module returns change: it is part of every record's identity.
VERSION = VERSIONS["certify.one_nn"]

#: Bounds that agree to this relative gap are reported as exact.
EXACT_GAP = 1e-6

# What is reported is this much less than what is proven, so that whoever checks it has room for rounding of his own.
_ROOM_TO_CHECK = 1 - 1e-10
# A frame of its own is tried for other points along with the one it is made for, if it brings their share of rounding
# down by this factor.
_BETTER = 1e-2
# A perturbation within so many spacings of floats of what is proven is as short as one can ask for.
_ULPS = 8
# Products of numbers that exact rows of one problem may cost to be worth it for a smaller gap.
_CHEAP = 2000
# Same-class points whose rounding is looked at for that.
_NEAREST = 4


def exact_radii(
    fitted: FittedKNN,
    X: Array,
    labels: Integers,
    claim: Claim,
    *,
    box: tuple[float, float] | None = None,
    compute: Compute | None = None,
) -> RadiusBounds:
    """Exact robustness radii of a 1-NN classifier at the points X (t, d) of class numbers labels (t,).

    A label without training points (-1) counts as misclassified. ``claim`` is what the result is to claim, ``box`` an
    optional range that every coordinate of the perturbed point must stay in. The small problems are always solved on
    the CPU, on torch's threads.

    Returns
    -------
    RadiusBounds in the order of X, in the units of X, with perturbations and an `arml.proofs.EntryProof`.
    """
    compute = compute or Compute()
    status = np.full(len(X), Status.MISCLASSIFIED.value, dtype="<U16")
    states: list[PointState] = []
    with workers() as side_by_side:
        question = _Question(fitted, X, box, compute, side_by_side)
        for label, chunk in class_chunks(labels, compute.rows(len(fitted.X_train), ANCHORS + 3)):
            if label >= 0:
                solved, tied = question.answer(label, chunk)
                status[tied] = Status.TIED.value
                states.extend(solved)
            compute.advance(len(chunk))
        question.sharpen([state for state in states if _is_loose(state)], labels)
    lower, upper, perturbation = np.zeros(len(X)), np.zeros(len(X)), np.zeros(X.shape)
    unit = fitted.frame.unit
    for state in states:
        i, proven = state.index, state.proven * _ROOM_TO_CHECK
        status[i] = _status(proven, state.value).value
        lower[i], upper[i] = min(proven, state.value) * unit, max(proven, state.value) * unit
        if state.winner >= 0:
            perturbation[i] = state.delta * unit
    return RadiusBounds(lower, upper, status, perturbation, proof_of(fitted.train, states, len(X), claim))


def _status(proven: float, value: float) -> Status:
    if np.isinf(proven):
        return Status.UNREACHABLE
    close = np.isfinite(value) and value * (1 - EXACT_GAP) <= proven
    return Status.EXACT if close else Status.BOUNDED


@dataclass(frozen=True)
class _Question:
    """What is asked about the caller's test points X (t, d)."""

    fitted: FittedKNN
    X: Array
    box: tuple[float, float] | None
    compute: Compute
    side_by_side: Map

    def answer(self, label: int, chunk: Integers) -> tuple[list[PointState], Integers]:
        """Solve the points X[chunk], all of class number ``label``; returns states, and the indices of tied ones."""
        train, own = self.fitted.train, self.fitted.train.classes[label]
        seen = train.see(self.X[chunk])
        C = train.sq_distances(seen, train.pessimistic(own))
        right, tied = self._classified(label, chunk, C, seen.share)
        solved = self._solve(train, label, chunk[right], C[right], seen.share[right])
        kept = {state.index: state for state in solved}
        # Another frame helps where the frame is at fault, and not the points: ties up to rounding, hardly any metric.
        pending = [state for state in solved if _is_loose(state) and _BETTER * state.share > self._share_at_home(state)]
        while pending:
            # Distances keep their digits near the origin, so it moves to where the test points are.
            train = self.fitted.train.seen_from(self.X[pending[0].index], self.fitted.X_train)
            share = train.see(self.X[[state.index for state in pending]]).share.cpu().numpy()
            near = share < _BETTER * np.array([state.share for state in pending])
            near[0] = True
            some = np.array([state.index for state, here in zip(pending, near, strict=True) if here])
            seen = train.see(self.X[some])
            again = self._solve(train, label, some, train.sq_distances(seen, train.pessimistic(own)), seen.share)
            kept |= {state.index: state for state in again}
            pending = [state for state, here in zip(pending, near, strict=True) if not here]
        return list(kept.values()), tied

    def _share_at_home(self, state: PointState) -> float:
        """The rounding of the state's decisive distances in a frame of its own."""
        points = np.append(state.rows[state.rows >= 0][:_NEAREST], max(state.winner, 0))
        T = torch.from_numpy(self.fitted.differences(self.X[state.index], self.fitted.train.order[points]))
        G = torch.from_numpy(self.fitted.train.metric.components)
        sizes, sq_norm = magnitudes(T, G), ((T @ G.T) ** 2).sum(-1)
        return float(distance_share(sq_norm, sizes, G, balance(sq_norm, sizes, G)).max())

    def _classified(
        self, label: int, chunk: Integers, C: torch.Tensor, share: torch.Tensor
    ) -> tuple[Integers, Integers]:
        """Positions in the chunk of the points that are classified correctly, and the indices of those that are tied.

        C (t, n) are pessimistic distances, share (t,) the test points' shares of their rounding.
        """
        train, own = self.fitted.train, self.fitted.train.classes[label]
        least = _other_min(C, own)
        ahead = (least - C[:, own].min(dim=1).values).cpu().numpy()
        doubt = 2 * share.cpu().numpy()
        right, wrong = ahead > doubt, np.zeros(len(chunk), dtype=bool)
        rest = np.flatnonzero(~right)
        optimistic = (C[rest][:, own] - 2 * train.share[own]).min(dim=1).values
        others = torch.cat([train.share[: own.start], train.share[own.stop :]])
        behind = (optimistic - least[rest]).cpu().numpy() - 2 * float(others.max()) if len(others) else -ahead[rest]
        wrong[rest] = behind > doubt[rest]
        unsure = np.flatnonzero(~right & ~wrong)
        result = np.full(len(chunk), int(Outcome.KEPT))
        result[wrong] = int(Outcome.LOST)
        points = self.X[chunk[unsure]]
        labels = np.full(len(unsure), label)
        result[unsure] = outcomes(self.fitted, points, np.zeros(points.shape), labels, "majority", self.compute)
        return np.flatnonzero(result == Outcome.KEPT), chunk[result == Outcome.TIED]

    def _solve(
        self, train: TrainingSet, label: int, index: Integers, C: torch.Tensor, share: torch.Tensor
    ) -> list[PointState]:
        """Solve the correctly classified points X[index] in the frame of ``train``.

        C (t, n) are pessimistic distances, share (t,) the test points' shares of their rounding.
        """
        if not index.size:
            return []
        own, raw = train.classes[label], self.X[index]
        screened = screen(train, own, C, share).cpu().numpy()
        C_host, shares = C.cpu().numpy(), share.cpu().numpy()
        rooms = np.stack(room_within(self.box, raw), axis=1) / train.frame.unit
        states = [
            PointState.start(int(i), C_host[q], float(shares[q]), screened[q], rooms[q], own)
            for q, i in enumerate(index)
        ]
        with blas_on_one_thread():
            solve(train, own, states, self.side_by_side)
        for state, x in zip(states, raw, strict=True):
            refine(self.fitted, x, state)
        reached = np.array([state.winner >= 0 for state in states])
        winners = [state for state in states if state.winner >= 0]
        if winners:
            for state, certain in zip(winners, witness(train, own, raw[reached], winners), strict=True):
                state.certain = bool(certain)
        for state in states:
            state.release()
        return states

    def sharpen(self, states: list[PointState], labels: Integers) -> None:
        """Whatever it takes: exact rows where rounding leaves a gap, steps put to the test where none is certain.

        ``labels`` (t,) are the class numbers of all the caller's points.
        """
        left = states
        for _ in range(2):
            wide = [state for state in left if state.proven < state.value * (1 - self._worth(state))]
            for state in wide:
                refine_exactly(self.fitted, self.X[state.index], state)
                state.certain = False
            self._try_out(left, labels)
            # From a solution that rounding blurs the step that works may be a long one: once more, from an exact one.
            exact = {state.index for state in wide}
            left = [state for state in left if state.index not in exact and self._is_long(state)]

    def _worth(self, state: PointState) -> float:
        """The relative gap from which on exact rows are worth what they cost."""
        cheap = self.fitted.train.G.numel() * len(state.rows) <= _CHEAP
        return WORTHWHILE if cheap else WORTH_EXACT_WORK

    def _is_long(self, state: PointState) -> bool:
        """Whether the state's perturbation is longer than proven by more than the spacing of floats explains."""
        proven = state.proven
        if np.isinf(proven):
            return False
        spacing = float(np.linalg.norm(np.spacing(self.X[state.index]))) / self.fitted.frame.unit
        return state.value - proven > _ULPS * spacing

    def _try_out(self, states: list[PointState], labels: Integers) -> None:
        uncertain = [state for state in states if state.winner >= 0 and not state.certain]
        if uncertain:
            index = [state.index for state in uncertain]
            try_out(self.fitted, self.X[index], labels[index], uncertain, self.compute)


def _is_loose(state: PointState) -> bool:
    """Whether rounding has cost more than it need: more than differences of points would."""
    proven = state.proven
    return bool(np.isfinite(proven)) and (not state.certain or proven < state.value * (1 - WORTHWHILE))


def _other_min(C: torch.Tensor, own: slice) -> torch.Tensor:
    """Row minima (t,) of C (t, n) outside the columns of the own class; infinite where there are none."""
    minima = [part.min(dim=1).values for part in (C[:, : own.start], C[:, own.stop :]) if part.shape[1]]
    if not minima:
        return torch.full((C.shape[0],), torch.inf, dtype=C.dtype, device=C.device)
    return torch.stack(minima).amin(dim=0)
