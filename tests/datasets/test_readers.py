import bz2
import gzip
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from arml.datasets.errors import DamagedFileError, DatasetError
from arml.datasets.readers import file_sha256, read_idx, read_libsvm, verify_file
from arml.datasets.registry import DatasetSpec, IdxFile, Scaling
from tests.datasets.handmade import LIBSVM_BZ2_FILE, LIBSVM_FILE, LIBSVM_TEXT, idx_bytes, idx_file

IMAGES = np.arange(24).reshape(2, 3, 4) * 10
FILE = idx_file("img/images.gz", IMAGES)


def write_gzip(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content))
    return path


def test_idx_is_read_whatever_the_compression_level(tmp_path: Path) -> None:
    for level in (0, 9):
        path = tmp_path / f"{level}.gz"
        path.write_bytes(gzip.compress(idx_bytes(IMAGES), compresslevel=level))
        found = read_idx(path, FILE)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, IMAGES)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "truncated: 0 bytes", id="empty"),
        pytest.param(idx_bytes(IMAGES)[:10], "less than an idx header", id="cut-header"),
        pytest.param(idx_bytes(IMAGES)[:-1], "truncated: 39 bytes of content instead of 40", id="one-byte-short"),
        pytest.param(idx_bytes(IMAGES) + b"\0", "goes on after", id="one-byte-long"),
        pytest.param(b"\0\0\x0d\x03" + idx_bytes(IMAGES)[4:], "starts with 00000d03, expected 00000803", id="floats"),
        pytest.param(b"<html>" + bytes(34), "not an idx file", id="web-page"),
        pytest.param(idx_bytes(np.zeros(32)), "images and labels swapped", id="labels-for-images"),
        pytest.param(idx_bytes(IMAGES[:1]) + bytes(12), r"shape \(1, 3, 4\), expected \(2, 3, 4\)", id="other-shape"),
        pytest.param(struct.pack(">HBB3I", 0, 8, 3, 2**31, 28, 28), "2147483648, 28, 28", id="hostile-header"),
        pytest.param(idx_bytes(255 - IMAGES), "not the published file .MD5", id="other-content"),
    ],
)
def test_wrong_idx_content_is_refused_with_the_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    path = write_gzip(tmp_path / "images.gz", content)
    with pytest.raises(DatasetError, match=reason) as caught:
        read_idx(path, FILE)
    assert str(path) in str(caught.value)
    assert "fetch it again" in str(caught.value)


@pytest.mark.parametrize(
    ("container", "reason"),
    [
        pytest.param(idx_bytes(IMAGES), "not of the format", id="not-compressed"),
        pytest.param(b"\x1f\x8b garbage garbage", "not of the format", id="garbage"),
        pytest.param(gzip.compress(idx_bytes(IMAGES))[:-12], "truncated", id="cut"),
        pytest.param(gzip.compress(idx_bytes(IMAGES))[:20] + bytes(40), "damaged", id="damaged-stream"),
        pytest.param(gzip.compress(idx_bytes(IMAGES)) + b"trailing", "damaged", id="trailing-garbage"),
    ],
)
def test_damaged_gzip_is_refused(tmp_path: Path, container: bytes, reason: str) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(container)
    with pytest.raises(DamagedFileError, match=reason):
        read_idx(path, FILE)


def test_a_decompression_bomb_is_read_one_byte_too_far_and_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    original = gzip.GzipFile.read

    def read(self: gzip.GzipFile, size: int = -1) -> bytes:
        asked.append(size)
        return original(self, size)

    monkeypatch.setattr(gzip.GzipFile, "read", read)
    path = write_gzip(tmp_path / "images.gz", idx_bytes(IMAGES) + bytes(10_000_000))
    with pytest.raises(DamagedFileError, match="goes on after the 40 bytes"):
        read_idx(path, FILE)
    assert asked == [41]


def test_a_known_file_under_another_name_is_called_by_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = DatasetSpec("other", 2, 0, 12, 2, Scaling.NONE, (idx_file("other/images.gz", IMAGES),))
    monkeypatch.setattr("arml.datasets.readers.REGISTRY", {"other": other})
    path = write_gzip(tmp_path / "images.gz", idx_bytes(IMAGES))
    with pytest.raises(DamagedFileError, match=r"its content is that of other/images\.gz"):
        read_idx(path, IdxFile("img/images.gz", (), (2, 3, 4), "f" * 32))


def test_a_missing_file_or_a_folder_in_its_place_is_a_dataset_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read"):
        read_idx(tmp_path / "nothing.gz", FILE)
    with pytest.raises(DatasetError, match="cannot be read"):
        read_libsvm(tmp_path, LIBSVM_FILE)


def test_libsvm_text_plain_and_bzip2(libsvm_path: Callable[[str], Path], libsvm_bz2: Path) -> None:
    for path, file in ((libsvm_path(LIBSVM_TEXT), LIBSVM_FILE), (libsvm_bz2, LIBSVM_BZ2_FILE)):
        X, y = read_libsvm(path, file)
        # Column 4 is written in no row; the dimension is the registry's.
        np.testing.assert_array_equal(X, [[-1, 0, 0.5, 0], [0, 1, 0, 0], [0.5, -0.25, 0.1, 0]])
        np.testing.assert_array_equal(y, [1, 2, 2])
        assert (X.dtype, y.dtype) == (np.float64, np.int64)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("2 hello", "line 2: not 'label index:value"),
        ("2 1:0.5 2", "line 2: not 'label"),
        ("2 1:0.5:3", "line 2: not 'label"),
        ("2 1:nan", "line 2: not 'label"),
        ("2 1:inf", "line 2: not 'label"),
        ("2 1:-Infinity", "line 2: not 'label"),
        ("2 1:1_0", "line 2: not 'label"),
        ("2 -1:0.5", "line 2: not 'label"),
        ("2 1:0.5 # comment", "line 2: not 'label"),
        ("1:0.5", "line 2: not 'label"),
        ("\x00\x01", "line 2: not 'label"),
        ("2 99999999999999999999:1", "line 2: not 'label"),
        ("2 1:1e999", r"line 2: feature 1 is inf, outside the dataset's range \[-1, 1\]"),
        ("2 3:1.5", "line 2: feature 3 is 1.5, outside"),
        ("2 0:1", "line 2: feature indices must increase within 1..4"),
        ("2 5:1", "line 2: feature indices must increase"),
        ("2 2:1 2:1", "line 2: feature indices must increase"),
        ("2 3:1 2:1 4:1", "line 2: feature indices must increase"),
        ("3 1:1", "line 2: label 3 is none of 1, 2"),
        ("1.5 1:1", "line 2: label 1.5 is none of 1, 2"),
        ("1e999 1:1", "line 2: label inf is none of 1, 2"),
        ("2 1:1\n2 1:1", "line 4: more than the expected 3 rows"),
    ],
)
def test_a_bad_libsvm_line_is_refused_by_number(libsvm_path: Callable[[str], Path], line: str, reason: str) -> None:
    path = libsvm_path(f"1 1:1\n{line}\n2 1:1\n")
    with pytest.raises(DamagedFileError, match=reason) as caught:
        read_libsvm(path, LIBSVM_FILE)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "0 rows instead of 3", id="empty"),
        pytest.param(b"1 1:1\n2 1:1\n", "2 rows instead of 3", id="rows-missing"),
        pytest.param(b"1 1:1\n2 1:1\n2 1:0.", "last line does not end", id="cut-in-the-last-line"),
        pytest.param(b"1 1:1\n1 1:1\n1 1:1\n", "no row has label 2", id="class-missing"),
        pytest.param(b"1 1:1\n" * 1000, "far too long for 3 rows", id="bomb"),
        pytest.param(bytes(range(256)), "not 'label", id="binary"),
    ],
)
def test_wrong_libsvm_content_is_refused(libsvm_path: Callable[[bytes], Path], content: bytes, reason: str) -> None:
    with pytest.raises(DamagedFileError, match=reason):
        read_libsvm(libsvm_path(content), LIBSVM_FILE)


@pytest.mark.parametrize(
    ("container", "reason"),
    [
        pytest.param(LIBSVM_TEXT.encode(), "not of the format", id="not-compressed"),
        pytest.param(b"BZh9 garbage", "not of the format|truncated", id="garbage"),
        pytest.param(bz2.compress(LIBSVM_TEXT.encode())[:-8], "truncated", id="cut"),
        pytest.param(bz2.compress(b"1 1:1\n" * 100_000), "far too long", id="bomb"),
    ],
)
def test_damaged_bzip2_is_refused(tmp_path: Path, container: bytes, reason: str) -> None:
    path = tmp_path / "tiny.bz2"
    path.write_bytes(container)
    with pytest.raises(DamagedFileError, match=reason):
        read_libsvm(path, LIBSVM_BZ2_FILE)


def test_verify_file_reads_either_format(tmp_path: Path, libsvm_path: Callable[[str], Path]) -> None:
    verify_file(write_gzip(tmp_path / "images.gz", idx_bytes(IMAGES)), FILE)
    verify_file(libsvm_path(LIBSVM_TEXT), LIBSVM_FILE)
    with pytest.raises(DamagedFileError):
        verify_file(libsvm_path("junk"), LIBSVM_FILE)


def test_file_sha256(libsvm_path: Callable[[str], Path]) -> None:
    # The published test vector of SHA-256 for "abc".
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_sha256(libsvm_path("abc")) == expected


def test_the_error_survives_a_process_boundary(tmp_path: Path) -> None:
    error = DamagedFileError(tmp_path / "a", "too long")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.problem) == (str(error), "too long")
    assert isinstance(error, ValueError)
