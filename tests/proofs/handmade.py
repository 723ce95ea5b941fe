"""Results put together by hand, and the radius of a small K = 1 problem in rationals."""

from __future__ import annotations

from dataclasses import fields, replace
from fractions import Fraction

import numpy as np

from arml.proofs import Claim, EntryProof, ProvenResult, Subject, digest


def about(G, X_train, y_train, x, label) -> Subject:
    """One test point, and the data around it."""
    arrays = (np.array(array, dtype=np.float64) for array in (G, X_train, [x]))
    G, X_train, X = arrays
    return Subject(G, X_train, np.array(y_train, dtype=np.int64), X, np.array([label], dtype=np.int64))


def result_of(subject, lower, upper, status, perturbation, *, K=1, event="plurality", box=None) -> ProvenResult:
    """A result for one test point whose proof has no evidence: the closed form has to do."""
    claim = Claim.about(subject, K, event, box, {})
    none = np.zeros(0, dtype=np.int64)
    proof = EntryProof(claim, np.zeros(2, dtype=np.int64), none, np.zeros(1, dtype=np.int64), none, np.zeros(0))
    bounds = np.array([float(lower)]), np.array([float(upper)])
    return ProvenResult(subject, *bounds, np.array([status]), np.array([perturbation], dtype=np.float64), proof)


def with_data(result, **arrays) -> ProvenResult:
    """The same result about other data, with digests renewed."""
    subject = replace(result.subject, **arrays)
    digests = {field.name: digest(getattr(subject, field.name)) for field in fields(Subject)}
    claim = replace(result.claim, **digests)
    return replace(result, subject=subject, proof=replace(result.proof, claim=claim))


def rationals(array):
    """The same numbers as exact fractions, row by row."""
    return [[Fraction(float(value)) for value in row] for row in np.atleast_2d(array)]


def mapped(G, t):
    """``G t`` in rationals."""
    return [sum((g * v for g, v in zip(row, t, strict=True)), Fraction(0)) for row in rationals(G)]


def sq_radius(G, own, other, x) -> Fraction:
    """Square of the perturbation of x after which ``other`` is as near as ``own``: eq. (8), in rationals."""
    (own,), (other,), (x,) = rationals(own), rationals(other), rationals(x)
    z_own = mapped(G, [a - b for a, b in zip(own, x, strict=True)])
    z_other = mapped(G, [a - b for a, b in zip(other, x, strict=True)])
    row = mapped(np.asarray(G).T, [a - b for a, b in zip(z_other, z_own, strict=True)])
    ahead = sum(z * z for z in z_other) - sum(z * z for z in z_own)
    return ahead * abs(ahead) / (4 * sum(r * r for r in row))
