"""Proven results on disk: what was written comes back, and nothing else is believed."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from dataclasses import fields, replace

import numpy as np
import pytest

import arml
from arml.proofs import files
from arml.proofs.claim import Subject
from arml.proofs.formats import DamagedProofError
from tests.proofs.results import claiming, random_result


@pytest.fixture(scope="module", params=[1, 3], ids=["entries", "tree"])
def result(request):
    return random_result(1, K=request.param)


@pytest.fixture
def path(result, tmp_path):
    files.save(result, tmp_path / "radii.npz")
    return tmp_path / "radii.npz"


def arrays_of(path):
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def rewritten(path, **changed):
    arrays = arrays_of(path) | changed
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_a_result_comes_back_as_it_was(result, path):
    back = files.load(path)
    assert back.claim == result.claim
    assert type(back.proof) is type(result.proof)
    for name in ("lower", "upper", "status", "perturbation"):
        np.testing.assert_array_equal(getattr(back, name), getattr(result, name))
    for field in fields(Subject):
        np.testing.assert_array_equal(getattr(back.subject, field.name), getattr(result.subject, field.name))
    for name, array in result.proof.arrays().items():
        np.testing.assert_array_equal(back.proof.arrays()[name], array)


def test_pack_and_unpack_are_inverse_without_the_data(result):
    back = files.unpack(files.pack(result), result.subject)
    assert files.pack(back).keys() == files.pack(result).keys()
    assert all((files.pack(back)[name] == array).all() for name, array in files.pack(result).items())


def test_bounds_are_saved_with_their_proof_or_not_at_all(tmp_path):
    rng = np.random.default_rng(0)
    knn = arml.MahalanobisKNN(n_neighbors=1).fit(rng.normal(size=(20, 2)), rng.integers(2, size=20))
    bounds = knn.exact_radius(rng.normal(size=(2, 2)), np.zeros(2, int))
    bounds.save(tmp_path / "radii.npz")
    np.testing.assert_array_equal(files.load(tmp_path / "radii.npz").lower, bounds.lower)
    with pytest.raises(ValueError, match=r"no proof .*proofs=True"):
        replace(bounds, certificate=None).save(tmp_path / "none.npz")
    assert [entry.name for entry in tmp_path.iterdir()] == ["radii.npz"]


def test_an_interrupted_save_leaves_what_was_there(result, path, monkeypatch):
    before = path.read_bytes()

    def full(*_arguments, **_arrays):
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="no space left"):
        files.save(result, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_file_that_is_cut_anywhere_is_refused(path):
    whole = path.read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedProofError):
            files.load(path)


def test_bytes_that_were_changed_never_end_in_another_error(path):
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(150):
        broken = bytearray(whole)
        for place in rng.integers(len(whole), size=3):
            broken[place] ^= int(rng.integers(1, 256))
        path.write_bytes(bytes(broken))
        try:
            files.load(path)
        except DamagedProofError:
            continue


def test_a_pickle_is_refused_and_not_run(path, tmp_path):
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return ran.touch, ()

    np.savez(path, **arrays_of(path) | {"weight": np.array([Evil()], dtype=object)})
    ran.unlink(missing_ok=True)
    with pytest.raises(DamagedProofError, match="'weight' has the type object"):
        files.load(path)
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(DamagedProofError, match=r"cannot be read as \.npz"):
        files.load(path)
    assert not ran.exists()


def test_a_header_that_announces_more_than_there_is_asks_for_no_memory(path):
    arrays, stream = arrays_of(path), io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            if name == "weight":
                header = {"descr": "<f8", "fortran_order": False, "shape": (10**13,)}
                np.lib.format.write_array_header_1_0(member, header)
                member.write(b"\0" * 80)
            else:
                np.lib.format.write_array(member, array)
            archive.writestr(f"{name}.npy", member.getvalue())
    path.write_bytes(stream.getvalue())
    with pytest.raises(DamagedProofError, match="'weight' announces 80000000000128 bytes"):
        files.load(path)


def test_a_member_that_ends_before_what_header_and_directory_announce_is_refused(path):
    arrays, stream, short = arrays_of(path), io.BytesIO(), 8
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array)
            archive.writestr(f"{name}.npy", member.getvalue()[: -short if name == "weight" else None])
    whole = bytearray(stream.getvalue())
    # The directory's entry of it: its size is in bytes 24 to 27, its name from byte 46 on.
    entry = whole.rindex(b"weight.npy") - 46
    size = int.from_bytes(whole[entry + 24 : entry + 28], "little")
    whole[entry + 24 : entry + 28] = (size + short).to_bytes(4, "little")
    path.write_bytes(bytes(whole))
    with pytest.raises(DamagedProofError, match="damaged proof: 'weight' is cut off"):
        files.load(path)


def test_a_directory_that_announces_more_than_a_file_can_hold_is_refused(path, monkeypatch):
    monkeypatch.setattr(files, "LIMIT", 1000)
    with pytest.raises(DamagedProofError, match="announce arrays of"):
        files.load(path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"extra": np.zeros(3)}, r"unknown: \['extra'\]"),
        ({"lower": None}, r"arrays missing: \['lower'\]"),
        ({"weight": None}, r"arrays missing: \['weight'\]"),
        ({"claim": None}, "the text 'claim' is missing"),
        ({"claim": np.array("{")}, "its claim cannot be read"),
        ({"claim": np.array("[" * 4000)}, "its claim cannot be read"),
        ({"format": np.array("arml-proof 2")}, "its format is 'arml-proof 2'"),
        ({"kind": np.array("guess")}, "unknown kind 'guess'"),
        ({"subject_X": None}, "the data it is about are not all there"),
        ({"lower": np.zeros((3, 1))}, r"lower has shape \(3, 1\)"),
        ({"lower": np.zeros(3, dtype=int)}, "lower has shape .* and type int64"),
        ({"lower": np.zeros(3, dtype=complex)}, "'lower' has the type complex128"),
        ({"upper": np.zeros(4)}, "the results are not those of 3 points"),
        ({"upper": np.array([0.0, np.nan, 0.0])}, "a bound is NaN"),
        ({"perturbation": np.zeros((3, 40))}, "the results are not those of 3 points"),
        ({"weight": np.zeros(10**5)}, "differ in length"),
        ({"status": np.zeros(3)}, "status has shape"),
        ({"subject_y": np.zeros(3)}, "y has shape"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(path, changed, message):
    with pytest.raises(DamagedProofError, match=message):
        files.load(rewritten(path, **changed))


def test_another_kind_of_proof_or_data_than_claimed_is_refused(result, path):
    other = "tree" if result.claim.n_neighbors == 1 else "entries"
    with pytest.raises(DamagedProofError, match="arrays missing"):
        files.load(rewritten(path, kind=np.array(other)))
    files.save(result, path)
    X_train = result.subject.X_train.copy()
    X_train[0, 0] = np.nextafter(X_train[0, 0], np.inf)
    with pytest.raises(DamagedProofError, match="the digest of X_train is another"):
        files.load(rewritten(path, subject_X_train=X_train))
    with pytest.raises(DamagedProofError, match="the digest of y_train is another"):
        files.load(rewritten(path, subject_X_train=result.subject.X_train, subject_y_train=result.subject.y_train + 1))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("n_neighbors", 2, "K = 2, which is not"),
        ("n_neighbors", 10**6 + 1, "K = 1000001"),
        ("event", "luck", "unknown event 'luck'"),
        ("norm", 1.0, "the norm 1.0; there are"),
        ("box", [1.0, 0.0], "box .* is empty"),
        ("X", "0" * 64, "the digest of X is another"),
    ],
)
def test_a_claim_that_cannot_be_checked_is_refused(path, field, value, message):
    claim = json.loads(str(arrays_of(path)["claim"])) | {field: value}
    with pytest.raises(DamagedProofError, match=message):
        files.load(rewritten(path, claim=np.array(json.dumps(claim))))


def test_values_that_are_not_finite_are_refused_before_they_are_written(result, tmp_path):
    with pytest.raises(DamagedProofError, match="a perturbation holds a value that is not finite"):
        files.save(claiming(result, 0, perturbation=np.inf), tmp_path / "radii.npz")
    weight = np.append(result.proof.weight[:-1], np.nan) if len(result.proof.weight) else np.array([np.nan])
    if len(result.proof.weight):
        with pytest.raises(DamagedProofError, match="a weight is not finite"):
            files.save(replace(result, proof=replace(result.proof, weight=weight)), tmp_path / "radii.npz")
    assert not list(tmp_path.iterdir())
