import re

import pytest

from arml.datasets import dataset_names
from arml.datasets.embedded import EMBEDDED
from arml.datasets.registry import REGISTRY, DatasetSpec, IdxFile, LibsvmFile


def test_the_eight_datasets_are_there() -> None:
    assert dataset_names() == (
        "mnist",
        "fashion_mnist",
        "splice",
        "pendigits",
        "satimage",
        "usps",
        "digits",
        "toy",
    )


@pytest.mark.parametrize("spec", REGISTRY.values(), ids=lambda spec: spec.name)
def test_every_entry_is_consistent(spec: DatasetSpec) -> None:
    assert REGISTRY[spec.name] is spec
    assert bool(spec.files) != (spec.name in EMBEDDED)
    for part, n in ((spec.train, spec.n_train), (spec.test, spec.n_test)):
        for file in part:
            assert file.shape[0] == n
            assert len(set(file.urls)) >= 2
            assert all(re.match(r"https?://.*/" + re.escape(file.path.rsplit("/", 1)[1]) + "$", u) for u in file.urls)
            if isinstance(file, LibsvmFile):
                assert file.shape[1] == spec.n_features
                assert len(file.labels) == spec.n_classes
                assert re.fullmatch("[0-9a-f]{64}", file.known_sha256)
            else:
                assert re.fullmatch("[0-9a-f]{32}", file.content_md5)


def test_no_two_files_share_a_path_or_a_digest() -> None:
    files = [file for spec in REGISTRY.values() for file in spec.files]
    assert len({file.path for file in files}) == len(files)
    digests = [file.content_md5 if isinstance(file, IdxFile) else file.known_sha256 for file in files]
    assert len(set(digests)) == len(files)


def test_content_size_of_an_idx_file() -> None:
    images, labels = REGISTRY["mnist"].test
    assert (images.max_content_bytes, labels.max_content_bytes) == (16 + 10_000 * 784, 8 + 10_000)
