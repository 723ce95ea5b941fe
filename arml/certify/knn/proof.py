"""From finished search trees to the proof that is handed out (`arml.proofs.formats.TreeProof`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from arml.certify.knn.point_search import Tree
from arml.certify.knn.tree import SPLIT, VOTE
from arml.least_distance.cell import LOW
from arml.proofs.claim import Claim
from arml.proofs.formats import TreeProof

Integers = NDArray[np.int64]


def proof_of(trees: Sequence[Tree | None], claim: Claim) -> TreeProof:
    """Proof from the search trees of the test points, None where there was nothing to search."""
    points, parents, decided, low, pairs, weights = [], [], [], [], [], []
    pair_counts: list[Integers] = []
    for tree in trees:
        if tree is None:
            points.append(np.empty(0, np.int64))
            parents.append(np.empty(0, np.int64))
            continue
        # Inner nodes need no evidence: what they show holds for their children with the children's own.
        counts = np.diff(tree.first_pair)
        used = np.repeat((tree.kind != SPLIT) & (tree.kind != VOTE), counts) & (tree.lam > 0)
        owner = np.repeat(np.arange(len(tree.parent)), counts)
        points.append(tree.index)
        parents.append(np.where(np.arange(len(tree.parent)) == 0, -1, tree.parent))
        decided.append(np.where(np.arange(len(tree.parent)) == 0, -1, tree.point))
        low.append(tree.side == LOW)
        pair_counts.append(np.bincount(owner[used], minlength=len(tree.parent)))
        pairs.append(tree.pairs[used])
        weights.append(tree.lam[used])
    return TreeProof(
        claim,
        _pointers([len(part) for part in points]),
        _joined(points),
        _pointers([len(part) for part in parents]),
        _joined(parents),
        _joined(decided),
        np.concatenate([*low, np.empty(0, dtype=bool)]),
        _pointers(_joined(pair_counts).tolist()),
        np.concatenate([*pairs, np.empty((0, 2), dtype=np.int64)]),
        np.concatenate([*weights, np.empty(0)]),
    )


def _pointers(lengths: list[int]) -> Integers:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def _joined(parts: list[Integers]) -> Integers:
    return np.concatenate([*parts, np.empty(0, np.int64)]).astype(np.int64)
