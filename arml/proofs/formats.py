"""The two kinds of proof, as plain arrays that can be saved, sent and checked. docs/proofs.md is their reference.

Notation: x a test point with label y; c_i = d_M(x, x_i) and p_i = M (x_i - x) for a training point i. *Same* training
points have the label y, *others* do not. After a perturbation delta, point l is at least as near as point h exactly if

    (p_h - p_l)' delta <= (c_h - c_l) / 2                                                                       (1)

Evidence are weights w >= 0 on *unit rows*: on a pair (l, h) the weight belongs to (1) divided by ``||p_h - p_l||``, on
a bound of the box to ``-delta_k <= room_below_k`` or ``delta_k <= room_above_k``. Every weight is allowed that is
finite and not negative, so there is nothing a weight could violate: with a = sum w row and g = -sum w limit, all delta
that satisfy the rows have ``-a'delta >= g``, hence ``||delta|| >= g / ||a||`` (weak duality). Only ratios of weights
count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from arml.proofs.claim import Claim

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]


class DamagedProofError(ValueError):
    """Arrays that are no proof: one is missing, has another type or shape, or does not fit the others."""


@dataclass(frozen=True)
class _Stored:
    """A proof of what ``claim`` says, in arrays."""

    claim: Claim

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Name to array, as stored in an ``.npz``; ``from_arrays`` is the inverse."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "claim"}


@dataclass(frozen=True)
class EntryProof(_Stored):
    """Proof for K = 1, in compressed rows: item i owns the slice ``ptr[i]:ptr[i + 1]``.

    For a test point with claimed lower bound l every other training point j needs a perturbation of at least l before
    it is at least as near as all sames. An *entry* shows that for one j by weights on pairs (j, i) with sames i, and on
    bounds of the box. For every j without an entry some same i shows it alone:
    ``(c_j - c_i) / (2 ||p_j - p_i||) >= l``, which the checker finds out by itself.

    Attributes
    ----------
    claim : what is claimed
    entry_ptr (n + 1,), entry_other (e,) : the training index j that each entry of a test point is about
    row_ptr (e + 1,), row (r,), weight (r,) : the rows of each entry. ``row >= 0`` is the training index of i,
        ``-1 - k`` the lower and ``-1 - d - k`` the upper bound of the box for feature k
    """

    entry_ptr: Integers
    entry_other: Integers
    row_ptr: Integers
    row: Integers
    weight: Array

    def __len__(self) -> int:
        return len(self.entry_ptr) - 1

    @classmethod
    def from_arrays(cls, claim: Claim, arrays: Mapping[str, NDArray[np.generic]]) -> EntryProof:
        """Proof from stored arrays, checked.

        Raises
        ------
        DamagedProofError
            If an array is missing, has the wrong type or shape, or the pointers do not fit together.
        """
        proof = cls(claim, **_typed(cls, arrays))  # type: ignore[arg-type]  # _typed gives every array its field's type
        n = len(proof)
        _check_pointer("entry_ptr", proof.entry_ptr, n, len(proof.entry_other))
        _check_pointer("row_ptr", proof.row_ptr, len(proof.entry_other), len(proof.row))
        _check_lengths({"row": proof.row, "weight": proof.weight})
        return proof


@dataclass(frozen=True)
class TreeProof(_Stored):
    """Proof for any odd K, in compressed rows: item i owns the slice ``ptr[i]:ptr[i + 1]``.

    The proof of a lower bound l for one test point is a binary tree. A node decides for one training point whether it
    is *low* or *high*; the root decides nothing. Every attack is in the root, and every attack in a node is in one of
    its two children, so if no leaf holds an attack shorter than l there is none. A leaf shows that by counting, by its
    weights on pairs (low point, high point), or by what these weights lead to (look-ahead); docs/proofs.md says how.
    All others that the proof of a test point does not mention must cost at least l by themselves (Theorem 1's row
    values), which the checker finds out without evidence.

    Attributes
    ----------
    claim : what is claimed
    point_ptr (n + 1,), points : training indices that the proof of each test point speaks of
    node_ptr (n + 1,) : nodes of each test point; none where the radius is 0 or infinite, or row values suffice
    parent, point, low (nodes,) : position of the node's parent within the proof (-1 for the root), of the point it
        decides among ``points`` (-1 for the root), and whether that is low
    pair_ptr (nodes + 1,), pairs (p, 2), weight (p,) : evidence; positions of the low and the high point of each pair,
        or (-1, feature) and (-2, feature) for the lower and the upper bound of the box
    """

    point_ptr: Integers
    points: Integers
    node_ptr: Integers
    parent: Integers
    point: Integers
    low: Booleans
    pair_ptr: Integers
    pairs: Integers
    weight: Array

    def __len__(self) -> int:
        return len(self.point_ptr) - 1

    @classmethod
    def from_arrays(cls, claim: Claim, arrays: Mapping[str, NDArray[np.generic]]) -> TreeProof:
        """Proof from stored arrays, checked.

        Raises
        ------
        DamagedProofError
            If an array is missing, has the wrong type or shape, or the pointers do not fit together.
        """
        proof = cls(claim, **_typed(cls, arrays))  # type: ignore[arg-type]  # _typed gives every array its field's type
        n = len(proof)
        _check_pointer("point_ptr", proof.point_ptr, n, len(proof.points))
        _check_pointer("node_ptr", proof.node_ptr, n, len(proof.parent))
        _check_pointer("pair_ptr", proof.pair_ptr, len(proof.parent), len(proof.pairs))
        _check_lengths({"parent": proof.parent, "point": proof.point, "low": proof.low})
        _check_lengths({"pairs": proof.pairs, "weight": proof.weight})
        return proof


Proof: TypeAlias = EntryProof | TreeProof


def _typed(kind: type, arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    """The arrays of a kind of proof as int64, float64 and bool; others are ignored."""
    letters = {"weight": "f", "low": "b"}
    values: dict[str, NDArray[np.generic]] = {}
    for name in (field.name for field in fields(kind) if field.name != "claim"):
        if name not in arrays:
            raise DamagedProofError(f"damaged proof: array {name!r} is missing")
        array, letter = np.asarray(arrays[name]), letters.get(name, "i")
        shaped = array.ndim == 2 and array.shape[1] == 2 if name == "pairs" else array.ndim == 1
        if not shaped or array.dtype.kind != letter:
            raise DamagedProofError(f"damaged proof: {name!r} has shape {array.shape} and type {array.dtype}")
        values[name] = array.astype({"f": np.float64, "b": np.bool_, "i": np.int64}[letter])
    return values


def _check_pointer(name: str, pointer: Integers, items: int, total: int) -> None:
    ordered = len(pointer) == items + 1 and pointer[0] == 0 and bool((pointer[1:] >= pointer[:-1]).all())
    if items < 0 or not ordered or pointer[-1] != total:
        raise DamagedProofError(f"damaged proof: {name!r} does not describe {items} items with {total} values")


def _check_lengths(arrays: Mapping[str, NDArray[np.generic]]) -> None:
    if len({len(array) for array in arrays.values()}) > 1:
        raise DamagedProofError(f"damaged proof: {', '.join(arrays)} differ in length")
