import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from arml.datasets import DatasetError, load_dataset, protocol
from arml.datasets.loading import load_spec
from arml.datasets.registry import REGISTRY, DatasetSpec, LibsvmFile, Scaling
from tests.datasets.handmade import ImageSet, idx_bytes


def test_images_are_loaded_by_the_protocol(image_set: ImageSet, tmp_path: Path) -> None:
    image_set.write(tmp_path)
    data = load_spec(image_set.spec, tmp_path, download=False)
    np.testing.assert_array_equal(data.X_train, image_set.arrays["img/train-images.gz"].reshape(12, 12) / 255)
    np.testing.assert_array_equal(data.X_test, image_set.arrays["img/test-images.gz"].reshape(6, 12) / 255)
    np.testing.assert_array_equal(data.y_train, np.arange(12) % 3)
    np.testing.assert_array_equal(data.y_test, np.arange(6) % 3)
    assert (data.X_train.dtype, data.y_test.dtype) == (np.float64, np.int64)
    assert (data.name, data.n_features, data.n_classes) == ("img", 12, 3)


def test_provenance_is_json_and_records_each_file(image_set: ImageSet, tmp_path: Path) -> None:
    image_set.write(tmp_path)
    provenance = load_spec(image_set.spec, tmp_path, download=False).provenance
    assert json.loads(json.dumps(provenance)) == provenance
    assert set(provenance["files"]) == set(image_set.arrays)
    assert all(len(record["sha256"]) == 64 for record in provenance["files"].values())
    assert provenance["scaling"] == "divide_by_255"


def test_the_digest_depends_on_content_and_protocol_but_not_on_compression(
    image_set: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_set.write(tmp_path)
    data = load_spec(image_set.spec, tmp_path, download=False)
    path = "img/test-images.gz"
    (tmp_path / path).write_bytes(gzip.compress(idx_bytes(image_set.arrays[path]), compresslevel=0))
    recompressed = load_spec(image_set.spec, tmp_path, download=False)
    assert recompressed.digest == data.digest
    assert recompressed.provenance["files"][path]["sha256"] != data.provenance["files"][path]["sha256"]

    monkeypatch.setattr(protocol, "VERSION", protocol.VERSION + 1)
    assert load_spec(image_set.spec, tmp_path, download=False).digest != data.digest


def libsvm_spec(train_text: str, test_text: str, root: Path) -> DatasetSpec:
    (root / "libsvm").mkdir(exist_ok=True)
    (root / "libsvm/t").write_text(train_text)
    (root / "libsvm/t.t").write_text(test_text)
    train = LibsvmFile("libsvm/t", (), (3, 2), (-1, 1), (0, 8), "0" * 64)
    test = LibsvmFile("libsvm/t.t", (), (2, 2), (-1, 1), (0, 8), "0" * 64)
    return DatasetSpec("t", 3, 2, 2, 2, Scaling.MIN_MAX, (train,), (test,))


TRAIN, TEST = "1 1:2 2:4\n-1 1:4 2:8\n1 1:3 2:5\n", "-1 1:8 2:4\n1 1:2 2:6\n"


def test_libsvm_files_are_loaded_by_the_protocol(tmp_path: Path) -> None:
    data = load_spec(libsvm_spec(TRAIN, TEST, tmp_path), tmp_path, download=False)
    np.testing.assert_array_equal(data.X_train, [[0, 0], [1, 1], [0.5, 0.25]])
    np.testing.assert_array_equal(data.X_test, [[3, 0], [0, 0.5]])
    np.testing.assert_array_equal(data.y_train, [1, 0, 1])
    np.testing.assert_array_equal(data.y_test, [0, 1])
    assert data.provenance["files"]["libsvm/t"]["known_copy"] is False


@pytest.mark.parametrize(
    "change",
    [
        pytest.param((TRAIN.replace("1:4", "1:4.5"), TEST), id="training-feature"),
        pytest.param((TRAIN, TEST.replace("2:6", "2:7")), id="test-feature"),
        pytest.param((TRAIN, "1 1:8 2:4\n-1 1:2 2:6\n"), id="test-label"),
    ],
)
def test_the_digest_sees_every_part(tmp_path: Path, change: tuple[str, str]) -> None:
    before = load_spec(libsvm_spec(TRAIN, TEST, tmp_path), tmp_path, download=False)
    after = load_spec(libsvm_spec(*change, tmp_path), tmp_path, download=False)
    assert before.digest != after.digest


def test_swapped_files_are_refused_with_the_reason(image_set: ImageSet, tmp_path: Path) -> None:
    image_set.write(tmp_path)
    folder = tmp_path / "img"
    for one, other, reason in (
        ("train-images.gz", "test-images.gz", "training and test files swapped"),
        ("train-images.gz", "train-labels.gz", "images and labels swapped|less than an idx header"),
    ):
        for source, target in ((one, other), (other, one)):
            image_set.write(tmp_path)
            shutil.copy(folder / source, folder / target)
            with pytest.raises(DatasetError, match=reason):
                load_spec(image_set.spec, tmp_path, download=False)
    spec = libsvm_spec(TEST, TRAIN, tmp_path)
    with pytest.raises(DatasetError, match="2 rows instead of 3"):
        load_spec(spec, tmp_path, download=False)


def test_loading_what_is_there_writes_nothing(image_set: ImageSet, tmp_path: Path) -> None:
    image_set.write(tmp_path)
    load_spec(image_set.spec, tmp_path, download=True)
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()} == set(image_set.arrays)


@pytest.mark.full_data
def test_fashion_under_the_name_of_mnist_is_refused(full_data_root: Path, tmp_path: Path) -> None:
    (tmp_path / "mnist").mkdir()
    for file in REGISTRY["mnist"].files:
        (tmp_path / file.path).symlink_to(full_data_root.resolve() / file.path.replace("mnist/", "fashion-mnist/"))
    with pytest.raises(DatasetError, match=r"its content is that of fashion-mnist/train-images-idx3-ubyte\.gz"):
        load_dataset("mnist", tmp_path, download=False)


@pytest.mark.full_data
@pytest.mark.parametrize("name", ["splice", "pendigits", "satimage"])
def test_the_files_of_another_libsvm_dataset_are_refused(name: str, full_data_root: Path, tmp_path: Path) -> None:
    (tmp_path / "libsvm").mkdir()
    other = {"splice": "pendigits", "pendigits": "satimage", "satimage": "splice"}[name]
    for file, source in zip(REGISTRY[name].files, REGISTRY[other].files, strict=True):
        (tmp_path / file.path).symlink_to(full_data_root.resolve() / source.path)
    with pytest.raises(DatasetError, match="another dataset's file"):
        load_dataset(name, tmp_path, download=False)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(DatasetError, match=r"unknown dataset 'minst'.*mnist.*toy"):
        load_dataset("minst")


def test_digits_is_split_alike_every_time_and_stratified() -> None:
    data, again = load_dataset("digits"), load_dataset("digits")
    assert (data.X_train.shape, data.X_test.shape, data.n_classes) == ((1297, 64), (500, 64), 10)
    # Guards the split and the protocol: a change of either changes what every record of digits was made from.
    assert data.digest == again.digest
    assert data.digest.startswith("15454bf7ee3a0b8c")
    assert data.X_train.min() == 0
    assert data.X_train.max() == 1
    shares = np.bincount(data.y_train) / 1297 - np.bincount(data.y_test) / 500
    assert np.abs(shares).max() < 0.003


def test_toy_is_four_points_against_three_with_the_difference_across_the_spread() -> None:
    data = load_dataset("toy")
    assert np.bincount(data.y_train).tolist() == [4, 3]
    assert data.X_train.shape == (7, 2)
    assert 0 <= data.X_train.min() <= data.X_train.max() <= 1
    np.testing.assert_array_equal(data.X_train, data.X_test)
    spread, across = data.X_train.std(axis=0)
    assert spread > 2 * across
    assert data.X_train[data.y_train == 0, 1].max() < data.X_train[data.y_train == 1, 1].min()


def test_the_evaluation_subset_is_the_rows_of_its_indices() -> None:
    data = load_dataset("digits")
    X, y = data.evaluation_subset(30, seed=7)
    chosen = data.evaluation_indices(30, seed=7)
    assert X.shape == (30, 64)
    np.testing.assert_array_equal(X, data.X_test[chosen])
    np.testing.assert_array_equal(y, data.y_test[chosen])


@pytest.mark.slow
@pytest.mark.full_data
@pytest.mark.parametrize("name", [name for name, spec in REGISTRY.items() if spec.files])
def test_full_data(name: str, full_data_root: Path) -> None:
    spec = REGISTRY[name]
    data, again = (load_dataset(name, full_data_root, download=False) for _ in range(2))
    assert data.digest == again.digest
    assert data.X_train.shape == (spec.n_train, spec.n_features)
    assert data.X_test.shape == (spec.n_test, spec.n_features)
    for y, n in ((data.y_train, spec.n_train), (data.y_test, spec.n_test)):
        assert y.shape == (n,)
        np.testing.assert_array_equal(np.unique(y), np.arange(spec.n_classes))
    assert data.X_train.min() == 0
    assert data.X_train.max() == 1
    assert -0.5 < data.X_test.min() <= data.X_test.max() < 1.5
