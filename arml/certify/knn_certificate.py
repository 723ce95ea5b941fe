"""The proof that comes with exact K-NN radii, as plain arrays that can be saved, sent and checked.

The proof of a lower bound l for one test point is a binary tree. A node decides for one training point whether it is
*low* or *high* (`arml.certify.tree` says what that means); the root decides nothing. Every attack is in the root, and
every attack in a node is in one of its two children, so if no leaf holds an attack shorter than l there is none.

Evidence for a leaf are nonnegative weights on pairs (low point, high point), see (1) in `arml.cells.solve`. They show
by weak duality that attacks in the leaf are at least l long, or take the checker to a point from which it sees that too
few of the undecided points can still become low (`arml.certify.lookahead`). For the lost vote a leaf may also show that
no class can get as many low points as the label has. Evidence at a node that is split is welcome but not needed.

All other-class training points that a proof does not mention must cost at least l by themselves; the checker finds
that out from Theorem 1's row values, without evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from arml.cells.solve import LOW
from arml.certify.point_search import Tree
from arml.certify.tree import SPLIT, VOTE

Integers = NDArray[np.int64]

_KINDS = {"weight": "f", "box": "f", "low": "b"}


@dataclass(frozen=True)
class KNNCertificate:
    """Evidence for n test points, in compressed rows: item i owns the slice ``ptr[i]:ptr[i + 1]``.

    Attributes
    ----------
    setting : (2,) K, and 1 for the lost vote or 0 for the lost majority
    point_ptr (n + 1,), points : training indices that the proof of each test point speaks of
    node_ptr (n + 1,) : nodes of each test point; none where the radius is 0 or infinite, or Theorem 1's rows suffice
    parent, point, low : (nodes,) position of the node's parent within the proof (-1 for the root), of the point it
        decides among ``points`` (-1 for the root), and whether that is low
    pair_ptr (nodes + 1,), pairs (p, 2), weight (p,) : evidence; positions of the low and the high point of each pair,
        or (-1, feature) and (-2, feature) for the lower and the upper bound of the box
    box (2,) : range of the perturbed points' coordinates; infinite without one, and where a stored proof names none
    """

    setting: Integers
    point_ptr: Integers
    points: Integers
    node_ptr: Integers
    parent: Integers
    point: Integers
    low: NDArray[np.bool_]
    pair_ptr: Integers
    pairs: Integers
    weight: NDArray[np.float64]
    box: NDArray[np.float64]

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Name to array, as they are stored in an ``.npz``; `from_arrays` is the inverse."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> KNNCertificate:
        """Certificate from stored arrays.

        Raises
        ------
        ValueError
            If an array is missing, has the wrong type or shape, or the pointers do not fit together.
        """
        values: dict[str, NDArray[np.generic]] = {}
        arrays = {"box": np.array([-np.inf, np.inf]), **arrays}
        for name in (field.name for field in fields(cls)):
            if name not in arrays:
                raise ValueError(f"damaged certificate: array {name!r} is missing")
            array, kind = np.asarray(arrays[name]), _KINDS.get(name, "i")
            if array.ndim != (2 if name == "pairs" else 1) or array.dtype.kind != kind:
                raise ValueError(f"damaged certificate: {name!r} has shape {array.shape} and type {array.dtype}")
            values[name] = array.astype({"f": np.float64, "b": np.bool_, "i": np.int64}[kind])
        certificate = cls(**values)  # type: ignore[arg-type]  # the loop above has made every array of its field's type
        certificate.check_pointers()
        return certificate

    def check_pointers(self) -> None:
        """Raise ValueError unless the compressed rows are consistent."""
        n = len(self.point_ptr) - 1
        expected = (
            ("point_ptr", self.point_ptr, n, len(self.points)),
            ("node_ptr", self.node_ptr, n, len(self.parent)),
            ("pair_ptr", self.pair_ptr, len(self.parent), len(self.pairs)),
        )
        for name, pointer, items, total in expected:
            ordered = len(pointer) == items + 1 and pointer[0] == 0 and bool((np.diff(pointer) >= 0).all())
            if not ordered or pointer[-1] != total:
                raise ValueError(f"damaged certificate: {name!r} does not describe {items} items with {total} values")
        same = len(self.parent) == len(self.point) == len(self.low) and len(self.pairs) == len(self.weight)
        if not same or len(self.setting) != 2 or len(self.box) != 2 or self.pairs.shape[1:] != (2,):
            raise ValueError("damaged certificate: arrays that belong together differ in length")

    def __len__(self) -> int:
        return len(self.point_ptr) - 1


def certificate_of(
    trees: Sequence[Tree | None], n_neighbors: int, *, plurality: bool, box: tuple[float, float] | None = None
) -> KNNCertificate:
    """Certificate from the search trees of the test points, None where there was nothing to search."""
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
    return KNNCertificate(
        np.array([n_neighbors, int(plurality)]),
        _pointers([len(part) for part in points]),
        _joined(points),
        _pointers([len(part) for part in parents]),
        _joined(parents),
        _joined(decided),
        np.concatenate([*low, np.empty(0, dtype=bool)]),
        _pointers(_joined(pair_counts).tolist()),
        np.concatenate([*pairs, np.empty((0, 2), dtype=np.int64)]),
        np.concatenate([*weights, np.empty(0)]),
        np.array([-np.inf, np.inf] if box is None else box, dtype=np.float64),
    )


def _pointers(lengths: list[int]) -> Integers:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def _joined(parts: list[Integers]) -> Integers:
    return np.concatenate([*parts, np.empty(0, np.int64)]).astype(np.int64)
