"""Lower bounds for K = 1: an entry of the proof for some others, the closed form for all that are left."""

from __future__ import annotations

import numpy as np

from arml.proofs.formats import EntryProof
from arml.proofs.rational_evidence import Room, clearly_reaches, weighed
from arml.proofs.rational_geometry import Goal
from arml.proofs.rational_rows import TestPoint
from arml.proofs.verdict import require


def check_entries(point: TestPoint, label: int, room: Room, proof: EntryProof, i: int, goal: Goal) -> None:
    """Every training point of another class than ``label`` needs at least ``goal``; raises `CheckFailedError`."""
    y = point.exact.train.y
    others = np.flatnonzero(y != label)
    shown = {
        int(proof.entry_other[entry])
        for entry in range(int(proof.entry_ptr[i]), int(proof.entry_ptr[i + 1]))
        if _entry_shows(point, label, room, proof, entry, goal)
    }
    rest = np.array([j for j in others.tolist() if j not in shown], dtype=np.int64)
    left = point.unshown(rest, np.flatnonzero(y == label), 1, goal)
    require(not left.size, f"nothing proves the lower bound for training point {left[:1].tolist()}")


def _entry_shows(point: TestPoint, label: int, room: Room, proof: EntryProof, entry: int, goal: Goal) -> bool:
    """Whether an entry reaches the goal; raises if it names what it must not."""
    y, other = point.exact.train.y, int(proof.entry_other[entry])
    used = slice(int(proof.row_ptr[entry]), int(proof.row_ptr[entry + 1]))
    rows, weights = proof.row[used], proof.weight[used]
    require(0 <= other < len(y) and y[other] != label, f"an entry names {other}, not a point of another class")
    require(bool((weights >= 0).all()), "a weight is negative")
    known = bool((rows < len(y)).all()) and bool((y[rows[rows >= 0]] == label).all())
    require(known, "a row of an entry is not that of a training point of the label's class")
    rounded = point.rounded
    if rounded is not None and bool((rows >= 0).all()):
        named = np.stack([np.full(len(rows), other), rows], axis=1)
        if clearly_reaches(rounded, named, weights, goal):
            return True
    walls = [_wall(int(row), len(point.exact.x)) for row in rows[rows < 0]]
    pairs = [(other, int(same)) for same in rows[rows >= 0]]
    ordered = np.concatenate([weights[rows >= 0], weights[rows < 0]])
    return weighed(point.exact, pairs, walls, ordered, room).reaches(goal)


def _wall(row: int, d: int) -> tuple[int, int]:
    """(side, feature) of a row of the box."""
    place = -1 - row
    return (-1, place) if place < d else (-2, place - d)
