"""From finished searches to what is handed out: a perturbation that really works, and the certificate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arml.certify.certificate import OneNNCertificate
from arml.certify.cutting import PointSearch, own_class_slack
from arml.certify.training_set import TrainingSet

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

# At the optimum the classes are tied. The witness goes on towards the other-class point by the smallest of these
# fractions of its length that makes the distances differ by more than their rounding.
_PUSHES = (0.0, 1e-10, 1e-9, 1e-8, 1e-7, 4e-7)


def push_inside(train: TrainingSet, own: slice, points: Array, states: list[PointSearch]) -> None:
    """Move the states' perturbations just inside the other class's cell, and set their norms as upper bounds.

    ``points`` (t, d) are the states' test points, in the same order.

    The cell is convex and holds the other-class point itself, so the way towards it never leaves the cell, nor a box
    that holds the point. Where the point lies outside the box the perturbation is left as it is.
    """
    reached = [q for q, state in enumerate(states) if state.winner >= 0]
    if not reached:
        return
    states = [states[q] for q in reached]
    deltas = np.stack([state.delta for state in states])
    goals = train.X[[state.winner for state in states]] - points[reached]
    here = own_class_slack(train, own, states, deltas)
    there = own_class_slack(train, own, states, goals)
    for state, delta, goal, slack, goal_slack in zip(states, deltas, goals, here, there, strict=True):
        inside = bool((goal >= -state.room_below).all() and (goal <= state.room_above).all())
        distance = float(np.linalg.norm(goal - delta))
        fraction = 0.0
        for push in _PUSHES if inside and distance > 0 else (0.0,):
            fraction = min(1.0, push * state.value / distance) if distance > 0 else 0.0
            if ((1 - fraction) * slack + fraction * goal_slack).min() > 4 * state.error:
                break
        state.delta = delta + fraction * (goal - delta)
        state.value = float(np.linalg.norm(state.delta)) * (1 + 2.0**-50)


def assemble_certificate(
    states: list[PointSearch], order: Integers, n_points: int, box: tuple[float, float], weight: float
) -> OneNNCertificate:
    """Certificate in the caller's order of test points and with the caller's training indices.

    An entry is written for every candidate that the checker could not settle with the anchors alone. ``weight`` turns
    the multipliers of training points into those for the caller's units; those of box rows have no unit.
    """
    by_index = {state.index: state for state in states}
    winner = np.full(n_points, -1, dtype=np.int64)
    anchors: list[Integers] = []
    others: list[Integers] = []
    rows: list[Integers] = []
    weights: list[Array] = []
    for i in range(n_points):
        state = by_index.get(i)
        if state is None:
            anchors.append(np.empty(0, np.int64))
            others.append(np.empty(0, np.int64))
            continue
        winner[i] = order[state.winner] if state.winner >= 0 else -1
        anchors.append(order[state.anchors])
        open_ = np.flatnonzero(state.screened < state.proven)
        others.append(order[state.candidates[open_]])
        names = np.where(state.rows >= 0, order[np.maximum(state.rows, 0)], state.rows)
        for multipliers in state.weights[open_]:
            used = np.flatnonzero(multipliers)
            rows.append(names[used])
            # Only the ratios of an entry's weights matter, so whichever factor exceeds 1 is divided out.
            points, box_rows = min(weight, 1.0), 1.0 / max(weight, 1.0)
            weights.append(np.where(names[used] >= 0, points, box_rows) * multipliers[used])
    return OneNNCertificate(
        winner,
        _pointers(anchors),
        _integers(anchors),
        _pointers(others),
        _integers(others),
        _pointers(rows),
        _integers(rows),
        np.concatenate([*weights, np.empty(0)]),
        np.array(box, dtype=np.float64),
    )


def _pointers(parts: list[Integers]) -> Integers:
    return np.concatenate([[0], np.cumsum([len(part) for part in parts], dtype=np.int64)]).astype(np.int64)


def _integers(parts: list[Integers]) -> Integers:
    return np.concatenate([*parts, np.empty(0, np.int64)])
