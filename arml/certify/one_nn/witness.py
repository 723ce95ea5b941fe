"""From finished searches to what is handed out: a perturbation that really works, and the proof.

At the optimum the classes are tied. The way from there towards the other-class point leads into that point's cell,
which is convex, so the witness goes on along it by the smallest step that makes the answer certain: in exact
arithmetic, at the very numbers that are handed out, and for `predict`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arml.certify.one_nn.cutting import PointState, own_class_slack
from arml.certify.one_nn.refine import deeper
from arml.classifier.event import Outcome, outcomes
from arml.classifier.fitted import Compute, FittedKNN
from arml.classifier.nearest import nearest
from arml.classifier.perturbation import addable, norm
from arml.classifier.rounding import gamma
from arml.classifier.training_set import TrainingSet
from arml.proofs.claim import Claim
from arml.proofs.formats import EntryProof

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

# Steps tried, relative to the perturbation's length, until the distances differ by more than their rounding; how much
# longer that may make the perturbation.
_PUSHES = (0.0, *(10.0**-power for power in range(13, 2, -1)))
_LONGEST = 1 + 4e-7
# By how much more than rounding they shall differ, because the perturbation is rounded once more: tried in turn.
_ENOUGH = (1.2, 5.0, 50.0)
# How far into a cell to aim where its point is out of reach, relative to the perturbation's length and the rows.
_DEPTHS = tuple(10.0**-power for power in range(0, 13, 2))
# Where no step is certain these parts of the way are put to the test, beside the steps.
_WAYS = tuple(4.0**-power for power in range(26, -1, -1))


def witness(train: TrainingSet, own: slice, raw: Array, states: list[PointState]) -> Booleans:
    """Move the states' perturbations just inside of the other class's cell, and set their norms as values.

    ``raw`` (s, d) are the caller's test points of the states, all of which have a winner. The perturbations become
    differences of floats that the caller can add. Returns for which states (s,) the attack is certain.
    """
    starts = np.stack([state.delta for state in states])
    goals = train.X[[state.winner for state in states]] - train.frame.points(raw)
    here, there = own_class_slack(train, own, states, starts), own_class_slack(train, own, states, goals)
    blur = _blur(train, own, states)
    certain, pending = np.zeros(len(states), dtype=bool), np.arange(len(states))
    for enough in _ENOUGH:
        for q in pending:
            state, way = states[q], goals[q] - starts[q]
            inside = bool((goals[q] >= -state.room[0]).all() and (goals[q] <= state.room[1]).all())
            fraction = _part(starts[q], way, here[q], there[q], enough * blur[q]) if inside else 0.0
            state.delta = addable(raw[q], starts[q] + fraction * way, state.room, train.frame.unit)
            state.value = norm(state.delta)
        certain[pending] = _certain(train, own, [states[q] for q in pending])
        pending = pending[~certain[pending]]
        if not pending.size:
            break
    return certain


def _part(start: Array, way: Array, here: Array, there: Array, enough: Array) -> float:
    """The smallest part of the way (d,) that makes all slacks (n_own,) enough, as far as the norm hardly grows.

    The slacks are ``here`` at the start and ``there`` at the end of the way, and affine between.
    """
    length, distance = float(np.linalg.norm(start)), float(np.linalg.norm(way))
    part = 0.0
    for push in _PUSHES if distance > 0 else ():
        longer = min(1.0, push * length / distance)
        if float(np.linalg.norm(start + longer * way)) > length * _LONGEST:
            break
        part = longer
        if ((1 - part) * here + part * there > enough).all():
            break
    return part


def _blur(train: TrainingSet, own: slice, states: list[PointState]) -> Array:
    """What rounding may have done to the slacks (s, n_own) of the states' perturbations: twice what it can do to them,
    because `predict`, whose own rounding is no larger, must see it, too."""
    winners = [state.winner for state in states]
    shares, lengths = train.share.cpu().numpy(), np.array([state.value for state in states])[:, None]
    rounding = train.p_error + gamma(train.X.shape[1] + 8) * np.sqrt(train.sq_norm)
    blur = 2 * shares[own] + 2 * shares[winners][:, None] + np.array([4 * state.share for state in states])[:, None]
    return np.asarray(2 * (blur + 2 * lengths * (rounding[own] + rounding[winners][:, None])))


def _certain(train: TrainingSet, own: slice, states: list[PointState]) -> Booleans:
    """Whether the winners are nearer than all of the class at the states' perturbations, whatever rounding did."""
    slack = own_class_slack(train, own, states, np.stack([state.delta for state in states]))
    return np.asarray((slack > _blur(train, own, states)).all(axis=1))


def try_out(fitted: FittedKNN, raw: Array, label: int, states: list[PointState], compute: Compute) -> None:
    """Put steps into the other-class points' cells to the test: for states whose attack is not certain.

    A cell is convex, so the shortest step towards a goal inside that works is found by bisection over steps of growing
    length. A state for which not even the whole way works has no winner any more. ``raw`` (s, d) are the caller's
    points, all of the class number ``label``.
    """
    goals = _goals(fitted, raw, label, states, compute)
    ladders = np.stack([_ladder(state, goal) for state, goal in zip(states, goals, strict=True)])
    failing, working = np.full(len(states), -1), np.full(len(states), ladders.shape[1] - 1)
    found = _stepped(fitted, raw, states, goals, ladders[:, -1])
    good = _works(fitted, raw, found, label, compute)
    pending = np.flatnonzero(good)
    while pending.size:
        middle = (failing[pending] + working[pending]) // 2
        some = [states[q] for q in pending]
        deltas = _stepped(fitted, raw[pending], some, goals[pending], ladders[pending, middle])
        works = _works(fitted, raw[pending], deltas, label, compute)
        found[pending[works]] = deltas[works]
        working[pending[works]], failing[pending[~works]] = middle[works], middle[~works]
        pending = pending[working[pending] - failing[pending] > 1]
    for state, delta, works_at_all in zip(states, found, good, strict=True):
        state.certain = bool(works_at_all)
        state.delta, state.value = (delta, norm(delta)) if works_at_all else (np.zeros(len(delta)), np.inf)
        state.winner = state.winner if works_at_all else -1


def _goals(fitted: FittedKNN, raw: Array, label: int, states: list[PointState], compute: Compute) -> Array:
    """Where to go from the states' perturbations (s, d): to the other-class points, or as deep into their cells as the
    room allows where these lie outside of it."""
    goals = fitted.differences_from(raw, fitted.train.order[[state.winner for state in states]])
    for q, state in enumerate(states):
        if (goals[q] >= -state.room[0]).all() and (goals[q] <= state.room[1]).all():
            continue
        scale = float(np.linalg.norm(state.delta)) * float(np.linalg.norm(fitted.train.P[state.winner]))
        for depth in _DEPTHS:
            inside = deeper(fitted, raw[q], state, depth * scale)
            if inside is None:
                continue
            step = addable(raw[q], inside, state.room, fitted.frame.unit)
            if _works(fitted, raw[q : q + 1], step[None], label, compute)[0]:
                goals[q] = inside
                break
    return goals


def _ladder(state: PointState, goal: Array) -> Array:
    """Parts of the way to the goal, growing: none, a few that are short beside the perturbation, and then all sizes."""
    distance = float(np.linalg.norm(goal - state.delta))
    short = np.array(_PUSHES) * (float(np.linalg.norm(state.delta)) / distance if distance > 0 else 0.0)
    return np.sort(np.minimum(np.concatenate([short, _WAYS]), 1.0))


def _works(fitted: FittedKNN, X: Array, deltas: Array, label: int, compute: Compute) -> Booleans:
    """Whether the label is lost at ``X + deltas``, deltas in units of the frame: exactly, and for `predict`."""
    labels, scaled = np.full(len(X), label), deltas * fitted.frame.unit
    lost = outcomes(fitted, X, scaled, labels, "majority", compute) != Outcome.KEPT
    return np.asarray(lost & (fitted.votes[nearest(fitted, X + scaled, compute)[:, 0]] != label))


def _stepped(fitted: FittedKNN, raw: Array, states: list[PointState], goals: Array, parts: Array) -> Array:
    """The states' perturbations, gone those parts (s,) of the way to their goals (s, d)."""
    return np.stack(
        [
            addable(
                x, goal if part == 1.0 else state.delta + part * (goal - state.delta), state.room, fitted.frame.unit
            )
            for x, state, goal, part in zip(raw, states, goals, parts, strict=True)
        ]
    )


def proof_of(train: TrainingSet, states: list[PointState], n_points: int, claim: Claim) -> EntryProof:
    """Proof in the caller's order of test points and with the caller's training indices.

    An entry is written for every candidate that the closed form of one same-class point alone may not settle.
    """
    by_index = {state.index: state for state in states}
    others: list[Integers] = []
    rows: list[Integers] = []
    weights: list[Array] = []
    for i in range(n_points):
        state = by_index.get(i)
        if state is None:
            others.append(np.empty(0, np.int64))
            continue
        open_ = np.flatnonzero((state.screened < state.proven) & (state.weights > 0).any(axis=1))
        others.append(train.order[state.candidates[open_]])
        names = np.where(state.rows >= 0, train.order[np.maximum(state.rows, 0)], state.rows)
        for multipliers in state.weights[open_]:
            used = np.flatnonzero(multipliers)
            rows.append(names[used])
            weights.append(multipliers[used])
    return EntryProof(
        claim,
        _pointers(others),
        _integers(others),
        _pointers(rows),
        _integers(rows),
        np.concatenate([*weights, np.empty(0)]),
    )


def _pointers(parts: list[Integers]) -> Integers:
    return np.concatenate([[0], np.cumsum([len(part) for part in parts], dtype=np.int64)]).astype(np.int64)


def _integers(parts: list[Integers]) -> Integers:
    return np.concatenate([*parts, np.empty(0, np.int64)])
