"""One proof of many points from the proofs of some of them each, in their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from arml.proofs.claim import Claim
from arml.proofs.formats import Proof


def joined(proofs: Sequence[Proof], claim: Claim) -> Proof:
    """The proofs of consecutive points as one of all these points, of what ``claim`` says.

    Whatever a proof points to by position lies within the same test point, so that only slices have to move. That the
    claim's points are those of the proofs, one behind the other, is for `arml.proofs.recheck` to find out.

    Raises
    ------
    ValueError
        If there is none, they are of two kinds, or one claims another event, box, metric or training set.
    """
    if not proofs or len({type(proof) for proof in proofs}) > 1:
        raise ValueError("only proofs of one kind, and at least one of them, can be joined")
    for proof in proofs:
        if replace(proof.claim, X=claim.X, y=claim.y) != claim:
            raise ValueError("only proofs that claim the same of other points can be joined")
    kind = type(proofs[0])
    arrays: dict[str, NDArray[np.generic]] = {}
    for name in (field.name for field in fields(kind) if field.name != "claim"):
        parts = [getattr(proof, name) for proof in proofs]
        arrays[name] = _pointers(parts) if name.endswith("_ptr") else np.concatenate(parts)
    return kind.from_arrays(claim, arrays)


def _pointers(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Starts of slices in parts that lie one behind the other, and the end of the last."""
    offsets = np.cumsum([0, *(part[-1] for part in parts)])
    moved = [part[:-1] + offset for part, offset in zip(parts, offsets[:-1], strict=True)]
    return np.concatenate([*moved, offsets[-1:]])
