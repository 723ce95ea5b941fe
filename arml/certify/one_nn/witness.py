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
from arml.classifier.event import Outcome, is_exact_sum, outcomes
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
# And of the way to another cell than that of the solution.
_DETOUR = np.arange(1, 1025)[None] / 1024


def witness(train: TrainingSet, own: slice, raw: Array, states: list[PointState]) -> Booleans:
    """Move the states' perturbations just inside of the other class's cell, and set their norms as values.

    ``raw`` (s, d) are the caller's test points of the states, all of which have a winner. The perturbations become
    differences of floats that the caller can add. Returns for which states (s,) the attack is certain.
    """
    starts = np.stack([state.delta for state in states])
    goals = train.X[[state.winner for state in states]] - train.frame.points(raw)
    here, there = own_class_slack(train, own, states, starts), own_class_slack(train, own, states, goals)
    blur, ways = _blur(train, own, states), goals - starts
    rooms = np.stack([state.room for state in states], axis=1)
    ways[~((goals >= -rooms[0]) & (goals <= rooms[1])).all(axis=1)] = 0.0
    certain, pending = np.zeros(len(states), dtype=bool), np.arange(len(states))
    for enough in _ENOUGH:
        parts = _parts(starts[pending], ways[pending], here[pending], there[pending], enough * blur[pending])
        moved = starts[pending] + parts[:, None] * ways[pending]
        deltas = addable(raw[pending], moved, rooms[:, pending], train.frame.unit)
        for q, delta in zip(pending, deltas, strict=True):
            states[q].delta, states[q].value = delta, norm(delta)
        certain[pending] = _certain(train, own, [states[q] for q in pending])
        pending = pending[~certain[pending]]
        if not pending.size:
            break
    return certain


def _parts(starts: Array, ways: Array, here: Array, there: Array, enough: Array) -> Array:
    """The smallest parts (s,) of the ways (s, d) that make all slacks (s, n_own) enough, as far as norms hardly grow.

    The slacks are ``here`` at the start and ``there`` at the end of the way, and affine between.
    """
    sq_lengths, sq_distances = (np.einsum("sd,sd->s", array, array) for array in (starts, ways))
    along = np.einsum("sd,sd->s", starts, ways)
    # The others are large enough all along the way.
    tight = np.nonzero((here <= enough) | (there <= enough))
    here, there, enough = here[tight], there[tight], enough[tight]
    parts, growing = np.zeros(len(starts)), sq_distances > 0
    unit = np.sqrt(sq_lengths / np.where(growing, sq_distances, 1.0))
    for push in _PUSHES:
        longer = np.minimum(1.0, push * unit)
        growing &= longer * (2 * along + longer * sq_distances) <= (_LONGEST**2 - 1) * sq_lengths
        parts[growing] = longer[growing]
        part = parts[tight[0]]
        lacking = tight[0][(1 - part) * here + part * there <= enough]
        growing &= np.bincount(lacking, minlength=len(starts)) > 0
        if not growing.any():
            break
    return parts


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


def try_out(fitted: FittedKNN, raw: Array, labels: Integers, states: list[PointState], compute: Compute) -> None:
    """Put steps into the other-class points' cells to the test: for states whose attack is not certain.

    Where not even the whole way to the winner works, a copy of a point of the class may lie there, and the way to
    another point is tried. A state for which that does not work either has no winner any more. ``raw`` (s, d) are the
    caller's points, of class numbers ``labels`` (s,).
    """
    goals = _goals(fitted, raw, labels, states, compute)
    found, good = _shortest(fitted, raw, labels, states, goals, _ladders(states, goals), compute)
    for q in np.flatnonzero(~good):
        other = _another(fitted, raw[q], int(labels[q]), states[q], compute)
        if other is not None:
            one = slice(q, q + 1)
            goal = fitted.differences_from(raw[one], fitted.train.order[[other]])
            found[one], good[one] = _shortest(fitted, raw[one], labels[one], states[one], goal, _DETOUR, compute)
            states[q].winner = other
    for state, delta, works in zip(states, found, good, strict=True):
        state.certain = bool(works)
        state.delta, state.value = (delta, norm(delta)) if works else (np.zeros(len(delta)), np.inf)
        state.winner = state.winner if works else -1


def _shortest(
    fitted: FittedKNN,
    raw: Array,
    labels: Integers,
    states: list[PointState],
    goals: Array,
    ladders: Array,
    compute: Compute,
) -> tuple[Array, Booleans]:
    """The states' perturbations (s, d), gone the least of the parts (s, m) of the ways to their goals (s, d) that
    works, and for which (s,) any does.

    A cell is convex, so all steps towards a goal inside work that are longer than the shortest one that does.
    """
    last = ladders.shape[1] - 1
    failing, working = np.full(len(states), -1), np.full(len(states), last + 1)
    found, pending = np.zeros(goals.shape), np.arange(len(states))
    # Short steps are the likely ones: from the shortest on in growing strides, and between the last two from there.
    stride = 1
    while pending.size:
        tried = np.where(
            working[pending] > last,
            np.minimum(failing[pending] + stride, last),
            (failing[pending] + working[pending]) // 2,
        )
        some = [states[q] for q in pending]
        deltas = _stepped(fitted, raw[pending], some, goals[pending], ladders[pending, tried])
        works = _works(fitted, raw[pending], deltas, labels[pending], compute)
        found[pending[works]] = deltas[works]
        working[pending[works]], failing[pending[~works]] = tried[works], tried[~works]
        pending = pending[working[pending] - failing[pending] > 1]
        stride *= 2
    return found, working <= last


def _another(fitted: FittedKNN, x: Array, label: int, state: PointState, compute: Compute) -> int | None:
    """The row of the nearest other-class point within the room at which the label is lost; None if there is none."""
    train = fitted.train
    c = train.sq_distances(train.see(x[None]))[0].cpu().numpy()
    c[train.classes[label]] = np.inf
    for row in np.argsort(c, kind="stable")[: np.isfinite(c).sum()].tolist():
        goal = fitted.differences_from(x[None], train.order[[row]])
        inside = bool((goal >= -state.room[0]).all() and (goal <= state.room[1]).all())
        step = addable(x, goal[0], state.room, fitted.frame.unit)
        if inside and _works(fitted, x[None], step[None], np.array([label]), compute)[0]:
            return int(row)
    return None


def _goals(fitted: FittedKNN, raw: Array, labels: Integers, states: list[PointState], compute: Compute) -> Array:
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
            if _works(fitted, raw[q : q + 1], step[None], labels[q : q + 1], compute)[0]:
                goals[q] = inside
                break
    return goals


def _ladders(states: list[PointState], goals: Array) -> Array:
    """Parts (s, m) of the ways to the goals, growing: none, a few that are short beside the perturbation, all sizes."""
    starts = np.stack([state.delta for state in states])
    lengths, distances = np.linalg.norm(starts, axis=1), np.linalg.norm(goals - starts, axis=1)
    unit = lengths / np.where(distances > 0, distances, 1.0)
    ladders = np.concatenate([unit[:, None] * _PUSHES, np.tile(_WAYS, (len(states), 1))], axis=1)
    # From no perturbation at all there are no short steps.
    ladders[lengths == 0, : len(_PUSHES)] = np.append(np.ones(len(_PUSHES) - 1), 0.0)
    return np.sort(np.minimum(ladders, 1.0), axis=1)


def _works(fitted: FittedKNN, X: Array, deltas: Array, labels: Integers, compute: Compute) -> Booleans:
    """Whether labels (s,) are lost at ``X + deltas``, deltas in units of the frame: exactly, and for `predict`."""
    scaled = deltas * fitted.frame.unit
    moved = X + scaled
    found = outcomes(fitted, X, scaled, labels, "majority", compute)
    works = found != Outcome.KEPT
    # `predict` sees the rounded sum, and decides ties by the order of points.
    unsure = works & ~((found == Outcome.LOST) & is_exact_sum(X, scaled, moved).all(axis=1))
    works[unsure] = fitted.votes[nearest(fitted, moved[unsure], compute)[:, 0]] != labels[unsure]
    return np.asarray(works)


def _stepped(fitted: FittedKNN, raw: Array, states: list[PointState], goals: Array, parts: Array) -> Array:
    """The states' perturbations, gone those parts (s,) of the way to their goals (s, d)."""
    starts, rooms = np.stack([state.delta for state in states]), np.stack([state.room for state in states], axis=1)
    moved = np.where((parts == 1.0)[:, None], goals, starts + parts[:, None] * (goals - starts))
    return addable(raw, moved, rooms, fitted.frame.unit)


def proof_of(train: TrainingSet, states: list[PointState], n_points: int, claim: Claim) -> EntryProof:
    """Proof in the caller's order of test points and with the caller's training indices.

    An entry is written for every candidate that the closed form of one same-class point alone may not settle.
    """
    by_index = {state.index: state for state in states}
    others: list[Integers] = []
    rows: list[Integers] = []
    weights: list[Array] = []
    counts: list[Integers] = []
    for i in range(n_points):
        state = by_index.get(i)
        if state is None:
            others.append(np.empty(0, np.int64))
            continue
        open_ = np.flatnonzero(state.screened < state.proven)
        open_ = open_[(state.weights[open_] > 0).any(axis=1)]
        others.append(train.order[state.candidates[open_]])
        names = np.where(state.rows >= 0, train.order[np.maximum(state.rows, 0)], state.rows)
        multipliers = state.weights[open_]
        entries, columns = np.nonzero(multipliers)
        rows.append(names[columns])
        weights.append(multipliers[entries, columns])
        counts.append(np.bincount(entries, minlength=len(others[-1])))
    return EntryProof(
        claim,
        _pointers(np.array([len(part) for part in others], dtype=np.int64)),
        _integers(others),
        _pointers(_integers(counts)),
        _integers(rows),
        np.concatenate([*weights, np.empty(0)]),
    )


def _pointers(counts: Integers) -> Integers:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])


def _integers(parts: list[Integers]) -> Integers:
    return np.concatenate([*parts, np.empty(0, np.int64)])
