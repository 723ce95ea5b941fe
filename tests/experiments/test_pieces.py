"""Evaluations in pieces: one record whatever was interrupted, nothing computed twice, proofs joined and checked."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from arml.experiments.families import pieces
from arml.experiments.pipeline import Outcome, run
from arml.experiments.verify import Checker, Verdict
from arml.neighbors import MahalanobisKNN
from arml.radii import RadiusBounds
from arml.records.format import read_arrays

from .composing import compose_run

BASE = ("dataset=digits", "device=cpu", "threads=1")
N = 23
REQUESTS = {
    "exact_1nn": ("evaluation=exact_1nn",),
    "exact_knn": ("evaluation=exact_knn", "k=5"),
    "proofs": ("evaluation=exact_knn", "k=3", "evaluation.proofs=true"),
    "few nodes": ("evaluation=exact_knn", "k=11", "evaluation.max_nodes=3"),
    "certified": ("evaluation=certified_knn", "k=3"),
    "local_search": ("evaluation=local_search", "k=3"),
}


def make(name: str, runs: Path) -> Outcome:
    return run(compose_run(*BASE, *REQUESTS[name], f"n_eval={N}", f"output.runs={runs}"))


def content(outcome: Outcome) -> dict[str, object]:
    folder = outcome.record.folder
    arrays = {path.name: read_arrays(path) for path in folder.glob("*.npz")}
    listed = {f"{file}: {name}": array.tolist() for file, some in arrays.items() for name, array in some.items()}
    return {"points": (folder / "points.csv").read_text(), **listed}


class Interrupted:
    """Stands in for a method that computes radii: raises in every call of a given number, and counts the points."""

    def __init__(self, method: Callable[..., RadiusBounds], at: int) -> None:
        self._method, self.left, self.points = method, at, 0

    def __call__(self, knn: MahalanobisKNN, X: np.ndarray, *rest: object, **more: object) -> RadiusBounds:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        result = self._method(knn, X, *rest, **more)
        self.points += len(X)
        return result


METHODS = {"certified": "certified_radius", "local_search": "attacked_radius"}


@pytest.mark.parametrize("name", REQUESTS)
def test_an_interrupted_record_goes_on_and_is_the_same(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE", 5)
    monkeypatch.setattr(pieces, "LARGE_PIECE", 5)
    monkeypatch.setattr(pieces, "WORTH_KEEPING", 0.0)
    whole = content(make(name, tmp_path / "whole"))
    method = METHODS.get(name, "exact_radius")
    original = getattr(MahalanobisKNN, method)
    computed = interruptions = 0
    parts = None
    while parts is None:
        interrupted = Interrupted(original, 2)
        monkeypatch.setattr(MahalanobisKNN, method, lambda *args, _call=interrupted, **more: _call(*args, **more))
        try:
            parts = make(name, tmp_path / "parts")
        except KeyboardInterrupt:
            interruptions += 1
            assert list((tmp_path / "parts" / ".shards").glob("*/*.npz"))
        computed += interrupted.points
    assert interruptions > 1
    assert computed == N
    assert content(parts) == whole
    assert not (tmp_path / "parts" / ".shards").exists()
    if name in ("exact_1nn", "proofs"):
        assert Checker().check(parts.record.folder).verdict is Verdict.CONFIRMED


@pytest.mark.parametrize("name", ["exact_knn", "proofs", "few nodes"])
def test_exact_knn_does_not_depend_on_its_pieces(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = []
    for number, growth in enumerate((1, 2, 50)):
        monkeypatch.setattr(pieces, "_GROWTH", growth)
        contents.append(content(make(name, tmp_path / str(number))))
    assert contents[0] == contents[1] == contents[2]


@pytest.mark.parametrize("name", ["exact_1nn", "proofs"])
def test_a_joined_proof_is_that_of_all_points_at_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = make(name, tmp_path / "at once") if name == "exact_1nn" else None
    monkeypatch.setattr(pieces, "PIECE", 7)
    monkeypatch.setattr(pieces, "LARGE_PIECE", 7)
    joined = make(name, tmp_path / "joined")
    assert Checker().check(joined.record.folder).verdict is Verdict.CONFIRMED
    if at_once is None:
        monkeypatch.setattr(pieces, "_Adapted", lambda first: pieces._Fixed(N))
        at_once = make(name, tmp_path / "at once")
    one, other = (read_arrays(each.record.folder / "witness.npz") for each in (at_once, joined))
    assert one.keys() == other.keys()
    assert str(one["claim"]) == str(other["claim"])
    for array in one:
        if array in ("weight", "perturbation"):  # the last digits may depend on what is multiplied together
            np.testing.assert_allclose(one[array], other[array], rtol=1e-9, atol=1e-12)
        else:
            np.testing.assert_array_equal(one[array], other[array])


def interrupt_after(calls: int, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        interrupted = Interrupted(MahalanobisKNN.exact_radius, calls)
        patch.setattr(MahalanobisKNN, "exact_radius", lambda *args, **more: interrupted(*args, **more))
        with pytest.raises(KeyboardInterrupt):
            make("exact_1nn", runs)


def test_only_the_piece_that_was_under_way_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of pieces that took too little time to be worth a file until then."""
    monkeypatch.setattr(pieces, "PIECE", 5)
    monkeypatch.setattr(pieces, "LARGE_PIECE", 5)
    interrupt_after(3, tmp_path, monkeypatch)
    assert [path.name for path in tmp_path.glob(".shards/*/*.npz")] == ["0-15.npz"]


@pytest.mark.parametrize("harm", ["truncated", "other code", "gap"])
def test_a_shard_that_cannot_be_used_is_computed_again(
    harm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE", 5)
    monkeypatch.setattr(pieces, "LARGE_PIECE", 5)
    whole = content(make("exact_1nn", tmp_path / "whole"))
    monkeypatch.setattr(pieces, "WORTH_KEEPING", 0.0)
    interrupt_after(3, tmp_path / "parts", monkeypatch)
    first, second, third = sorted(
        (tmp_path / "parts").glob(".shards/*/*.npz"), key=lambda path: int(path.stem.split("-")[0])
    )
    if harm == "truncated":
        second.write_bytes(second.read_bytes()[:-40])
    elif harm == "other code":
        arrays = dict(read_arrays(second)) | {"_about": np.array("another")}
        np.savez(second, **arrays)
    else:
        second.unlink()
    interrupted = Interrupted(MahalanobisKNN.exact_radius, 9)
    monkeypatch.setattr(MahalanobisKNN, "exact_radius", lambda *args, **more: interrupted(*args, **more))
    assert content(make("exact_1nn", tmp_path / "parts")) == whole
    assert interrupted.points == N - 10
    assert (first.exists(), third.exists()) == (False, False)


def test_the_time_of_a_record_is_that_of_all_its_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE", 5)
    monkeypatch.setattr(pieces, "LARGE_PIECE", 5)
    interrupt_after(3, tmp_path, monkeypatch)
    (path,) = tmp_path.glob(".shards/*/*.npz")
    np.savez(path, **dict(read_arrays(path)) | {"_seconds": np.array(1234.5)})
    made = make("exact_1nn", tmp_path)
    described = json.loads((made.record.folder / "record.json").read_text())
    assert described["provenance"]["wall_seconds"] >= 1234.5


def test_attacks_that_draw_are_made_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE", 5)
    monkeypatch.setattr(pieces, "LARGE_PIECE", 5)
    sizes: list[int] = []
    attacked = MahalanobisKNN.attacked_radius

    def noting(knn: MahalanobisKNN, X: np.ndarray, *rest: object, **more: object) -> RadiusBounds:
        sizes.append(len(X))
        return attacked(knn, X, *rest, **more)

    monkeypatch.setattr(MahalanobisKNN, "attacked_radius", noting)
    request = compose_run(*BASE, "evaluation=hopskipjump", "evaluation.steps=1", "n_eval=12", f"output.runs={tmp_path}")
    run(dataclasses.replace(request, k=1))
    assert sizes == [12]
