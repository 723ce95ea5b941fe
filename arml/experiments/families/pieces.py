"""Evaluations of points a piece at a time, so that an interruption loses a piece and not the record.

What a piece leaves are plain arrays with a row per point and the arrays of its proof. They are kept as shards
(`arml.records.shards`) as soon as enough seconds of work are in them, read back by whoever makes the record next, and
joined at the end.

Most evaluations have pieces of `PIECE` or `LARGE_PIECE` points, in the order of the evaluation subset, whatever was
interrupted when: the rounding of a matrix product depends on how many rows it has, and a record's last digits must not
depend on the time of day. Where points take long and nothing depends on their company (a search for each) pieces are as
large as what may be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from arml.experiments.families.base import Inputs, write_points
from arml.experiments.progress import progress_bar
from arml.proofs import EntryProof, Proof, TreeProof
from arml.proofs.claim import Claim, digest
from arml.proofs.joining import joined
from arml.radii import RadiusBounds
from arml.records.shards import Shard

#: Points of a piece whose numbers may depend, in their last digits, on which points are computed together; and where
#: a matrix product over them is most of the work, which few rows would make dear.
PIECE, LARGE_PIECE = 100, 1000
#: Seconds that a piece of points that do not should take.
LONG_ENOUGH = 15.0
#: Seconds of work that are worth a file.
WORTH_KEEPING = 10.0

_PROOF, _CLAIM = "proof_", "claim"
_KINDS = {kind.__name__: kind for kind in (EntryProof, TreeProof)}
_GROWTH = 4

Columns = Mapping[str, NDArray[np.generic]]
Solve = Callable[[NDArray[np.float64], NDArray[np.int64], Callable[[int], None]], RadiusBounds]


@dataclass(frozen=True)
class Solved:
    """Points of an evaluation: rows of the test part and labels (n,), a row each of everything else, and the proof."""

    index: NDArray[np.int64]
    X: NDArray[np.float64]
    y: NDArray[np.int64]
    columns: Columns
    proof: Proof | None

    @property
    def perturbation(self) -> NDArray[np.float64]:
        """(n, d); KeyError where there is none."""
        return np.asarray(self.columns["perturbation"], dtype=np.float64)


def solved_in_pieces(
    inputs: Inputs,
    n_eval: int | None,
    title: str,
    solve: Solve,
    *,
    alone: bool = False,
    large: bool = False,
    whole: bool = False,
) -> Solved:
    """What ``solve`` makes of the evaluation subset of ``n_eval`` points, or of all.

    ``solve`` is given points, labels, and what to tell how many are done. ``alone`` says that what a point gets does
    not depend on its company, ``large`` that pieces are to be large, ``whole`` that all have to be computed at once.
    """
    index, X, y = inputs.points(n_eval)
    size = _size_of_pieces(len(y) if whole else LARGE_PIECE if large else PIECE, alone)
    done: list[Shard] = []
    fresh: list[Shard] = []

    def keep() -> None:
        """Write what is not written yet as one shard."""
        if fresh and inputs.shards is not None:
            inputs.shards.keep(_joined(fresh))
        fresh.clear()

    with progress_bar(f"{inputs.data.name} {inputs.config.method.name}: {title}", len(y)) as advance:
        position = 0
        try:
            while position < len(y):
                found, limit = (None, len(y)) if inputs.shards is None else inputs.shards.next(position, len(y))
                if found is not None:
                    keep()
                    advance(found.end - found.first)
                    done.append(found)
                    position = found.end
                    continue
                some = slice(position, min(position + size(), limit))
                started = monotonic()
                bounds = solve(X[some], y[some], advance)
                seconds = monotonic() - started
                size.took(some.stop - some.start, seconds)
                shard = Shard(some.start, some.stop, _arrays(bounds), seconds)
                done.append(shard)
                fresh.append(shard)
                position = some.stop
                if sum(shard.seconds for shard in fresh) >= WORTH_KEEPING:
                    keep()
        except BaseException:
            keep()
            raise
    arrays = _joined(done).arrays
    columns = {name: array for name, array in arrays.items() if not name.startswith(_PROOF)}
    return Solved(index, X, y, columns, _proof(arrays, X, y))


def write_solved(inputs: Inputs, folder: Path, solved: Solved, prediction: NDArray[np.int64]) -> None:
    """``points.csv`` of solved points: of their arrays those that the record is to hold."""
    values = {"index": solved.index, "label": solved.y, "prediction": prediction, **solved.columns}
    write_points(inputs, folder, {name: values[name] for name in inputs.holds.columns})


class _Fixed:
    """Pieces of so many points."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __call__(self) -> int:
        return self._size

    def took(self, points: int, seconds: float) -> None:
        """It does not matter."""


class _Adapted:
    """Pieces that take about `LONG_ENOUGH` seconds, as far as those before tell; first a point for every thread."""

    def __init__(self, first: int) -> None:
        self._size = first

    def __call__(self) -> int:
        return self._size

    def took(self, points: int, seconds: float) -> None:
        """Choose the next size by how long the points of the last took."""
        self._size = int(np.clip(points * LONG_ENOUGH / max(seconds, 1e-3), 1, _GROWTH * self._size))


def _size_of_pieces(fixed: int, alone: bool) -> _Fixed | _Adapted:
    if not alone:
        return _Fixed(fixed)
    import torch

    return _Adapted(torch.get_num_threads())


def _arrays(bounds: RadiusBounds) -> dict[str, NDArray[np.generic]]:
    """What there is in arrays in the bounds, and their proof."""
    values = {field.name: getattr(bounds, field.name) for field in fields(bounds)}
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    proof = bounds.certificate
    if proof is None:
        return arrays
    arrays |= {_PROOF + name: array for name, array in proof.arrays().items()}
    # With an axis, so that the claims of several pieces lie one behind the other.
    return arrays | {f"{_PROOF}{_CLAIM}": np.array([f"{type(proof).__name__} {proof.claim.text()}"])}


def _joined(shards: list[Shard]) -> Shard:
    """One shard of several that follow each other."""
    arrays = [shard.arrays for shard in shards]
    if len(shards) == 1:
        return shards[0]
    columns = {
        name: np.concatenate([some[name] for some in arrays]) for name in arrays[0] if not name.startswith(_PROOF)
    }
    seconds = sum(shard.seconds for shard in shards)
    if f"{_PROOF}{_CLAIM}" in arrays[0]:
        proofs = [_stored_proof(some) for some in arrays]
        proof = joined(proofs, proofs[0].claim)  # what it is about is put right when all is there
        columns |= {_PROOF + name: array for name, array in proof.arrays().items()}
        columns[f"{_PROOF}{_CLAIM}"] = arrays[0][f"{_PROOF}{_CLAIM}"]
    return Shard(shards[0].first, shards[-1].end, columns, seconds)


def _stored_proof(arrays: Columns) -> Proof:
    kind, _, claim = str(arrays[f"{_PROOF}{_CLAIM}"][0]).partition(" ")
    proof = {name.removeprefix(_PROOF): array for name, array in arrays.items() if name.startswith(_PROOF)}
    return _KINDS[kind].from_arrays(Claim.from_text(claim), proof)


def _proof(arrays: Columns, X: NDArray[np.float64], y: NDArray[np.int64]) -> Proof | None:
    """The proof of all points, whose claim is about all of them."""
    if f"{_PROOF}{_CLAIM}" not in arrays:
        return None
    proof = _stored_proof(arrays)
    return joined([proof], replace(proof.claim, X=digest(X), y=digest(y)))
