"""Whether a result is one at all: types, shapes, orders of magnitude, words and digests, before anything is computed.

Everything may have been put together by someone who wants a false claim confirmed, so nothing is taken for granted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from arml.proofs.claim import EVENTS, STATUSES, Array, Claim, Subject, digest
from arml.proofs.formats import EntryProof, TreeProof
from arml.proofs.result import ProvenResult

#: Upper limit of the relative gap that may be called exact.
EXACT_GAP = 1e-6

_SHAPES: Mapping[str, tuple[str, int]] = {
    "components": ("f", 2), "X_train": ("f", 2), "y_train": ("i", 1), "X": ("f", 2), "y": ("i", 1),
}  # fmt: skip


def validated(result: ProvenResult) -> ProvenResult:
    """The result with arrays of the types it says they have.

    Raises
    ------
    ValueError
        If it is no result: the sentence says what is wrong.
    """
    if not isinstance(result.proof, EntryProof | TreeProof):
        raise ValueError("this result carries no proof; ask for one with exact_radius(..., proofs=True)")
    claim = result.proof.claim
    check_claim(claim)
    proof = type(result.proof).from_arrays(claim, result.proof.arrays())
    if isinstance(proof, EntryProof) and claim.n_neighbors != 1:
        raise ValueError(f"the proof is one for K = 1, the claim is for K = {claim.n_neighbors}")
    subject = _checked_subject(result.subject, claim)
    n, d = subject.X.shape
    lower, upper = _floats("lower", result.lower, (n,)), _floats("upper", result.upper, (n,))
    perturbation = _floats("perturbation", result.perturbation, (n, d))
    status = np.asarray(result.status)
    if status.shape != (n,) or status.dtype.kind != "U":
        raise ValueError(f"status has shape {status.shape} and type {status.dtype}, not ({n},) and text")
    if len(proof) != n:
        raise ValueError(f"the proof is about {len(proof)} points, the claim about {n}")
    return ProvenResult(subject, lower, upper, status, perturbation, proof)


def check_claim(claim: Claim) -> None:
    """The claim's own fields are of the types they should be, and possible; raises ValueError."""
    if not isinstance(claim, Claim):
        raise ValueError("the proof names no claim")
    for name in ("components", "X_train", "y_train", "X", "y", "event"):
        if not isinstance(getattr(claim, name), str):
            raise ValueError(f"the claim's {name} is not text")
    if claim.event not in EVENTS:
        raise ValueError(f"the claim is for the unknown event {claim.event!r}; there are: {', '.join(EVENTS)}")
    K = claim.n_neighbors
    if isinstance(K, bool) or not isinstance(K, int) or K < 1 or K % 2 == 0:
        raise ValueError(f"the claim is for K = {K!r}, which is not an odd positive integer")
    if not _is_number(claim.norm) or claim.norm != 2:
        raise ValueError(f"the claim is for the norm {claim.norm!r}; there are proofs for the norm 2 only")
    box = claim.box
    if not isinstance(box, tuple) or len(box) != 2 or not all(_is_number(bound) for bound in box):
        raise ValueError(f"the claim's box {box!r} is not a pair of numbers")
    if not box[0] <= box[1] or box[0] == np.inf or box[1] == -np.inf:
        raise ValueError(f"the claim's box {box!r} is empty")


def _checked_subject(subject: Subject, claim: Claim) -> Subject:
    """The subject with arrays of the right types, whose digests are those the claim names."""
    if not isinstance(subject, Subject):
        raise ValueError("the result names no data that it is about")
    arrays: dict[str, NDArray[np.generic]] = {}
    for field in fields(subject):
        array, (kind, ndim) = np.asarray(getattr(subject, field.name)), _SHAPES[field.name]
        if array.ndim != ndim or array.dtype.kind != kind:
            raise ValueError(f"the data's {field.name} has shape {array.shape} and type {array.dtype}")
        if kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"the data's {field.name} has values that are not finite")
        arrays[field.name] = array.astype(np.float64 if kind == "f" else np.int64, copy=False)
        if digest(arrays[field.name]) != getattr(claim, field.name):
            raise ValueError(f"the claim is about another {field.name}: its digest is not that of the result's data")
    checked = Subject(**arrays)  # type: ignore[arg-type]  # the loop gave every array its field's type
    n, d = checked.X_train.shape
    fits = checked.components.shape[1] == d == checked.X.shape[1] and d > 0
    if not fits or len(checked.y_train) != n or len(checked.y) != len(checked.X) or n < claim.n_neighbors:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(f"the data's arrays do not belong together for K = {claim.n_neighbors}: {shapes}")
    return checked


def _floats(name: str, values: object, shape: tuple[int, ...]) -> Array:
    array = np.asarray(values)
    if array.shape != shape or array.dtype.kind != "f":
        raise ValueError(f"{name} has shape {array.shape} and type {array.dtype}, not {shape} and float64")
    if name == "perturbation" and not np.isfinite(array).all():
        raise ValueError("the perturbation has values that are not finite")
    return array.astype(np.float64, copy=False)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def refused_statuses(result: ProvenResult, gap: float) -> list[tuple[int, str]]:
    """Points whose status is none there is, or does not fit their bounds, and why."""
    lower, upper, status = result.lower, result.upper, result.status
    with np.errstate(invalid="ignore"):
        ordered = (lower >= 0) & (lower <= upper)
        close = np.isfinite(upper) & (upper - lower <= gap * upper)
    zero = np.isin(status, ("misclassified", "tied"))
    refused = []
    for i in range(len(lower)):
        name = str(status[i])
        if name not in STATUSES:
            refused.append((i, f"unknown status {name!r}"))
        elif not ordered[i]:
            refused.append((i, f"bounds {lower[i]} and {upper[i]} are not ordered"))
        elif zero[i] and upper[i] != 0:
            refused.append((i, f"status {name}, but the radius is not 0"))
        elif (name == "unreachable") != bool(np.isinf(lower[i])):
            refused.append((i, f"status {name} does not fit the bounds {lower[i]} and {upper[i]}"))
        elif name == "exact" and not close[i]:
            refused.append((i, f"the gap between {lower[i]} and {upper[i]} is too large to be called exact"))
    return refused
