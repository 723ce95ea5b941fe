"""Downloads from a local server that is whole, broken off, corrupted or absent."""

import gzip
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from arml.datasets import DatasetError
from arml.datasets.download import data_root, locate_files
from arml.datasets.registry import DatasetSpec, IdxFile, Scaling
from tests.datasets.handmade import FileServer, idx_bytes, idx_file

IMAGES = np.random.default_rng(3).integers(0, 256, (40, 50, 50))
GOOD = gzip.compress(idx_bytes(IMAGES))
TARGET = "img/images.gz"


def spec_at(*urls: str) -> DatasetSpec:
    file = idx_file(TARGET, IMAGES, urls)
    return DatasetSpec("img", 40, 40, 2500, 2, Scaling.DIVIDE_BY_255, (file,))


def files_under(root: Path) -> set[str]:
    return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and p.name != ".download.lock"}


def test_a_missing_file_is_fetched_and_a_present_one_is_left_alone(file_server: FileServer, tmp_path: Path) -> None:
    file_server.content["a"] = GOOD
    spec = spec_at(file_server.url("a"))
    for _ in range(2):
        paths = locate_files(spec, tmp_path)
    assert list(paths.values()) == [tmp_path / TARGET]
    assert (tmp_path / TARGET).read_bytes() == GOOD
    assert files_under(tmp_path) == {TARGET}
    assert file_server.requests == [("a", None)]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        pytest.param(None, "HTTP 404", id="absent"),
        pytest.param(GOOD[:-3000], "what it sent is not the file: truncated", id="truncated"),
        pytest.param(GOOD[:500] + bytes(100) + GOOD[600:], "what it sent is not the file", id="corrupted"),
        pytest.param(gzip.compress(idx_bytes(255 - IMAGES)), "not the published file .MD5", id="other-content"),
        pytest.param(b"<html>please log in</html>", "what it sent is not the file", id="web-page"),
        pytest.param(bytes(3_000_000), "larger than the 1,148,592 bytes", id="endless"),
    ],
)
def test_the_second_mirror_is_used_and_without_one_the_error_says_all(
    file_server: FileServer, tmp_path: Path, bad: bytes | None, reason: str
) -> None:
    if bad is not None:
        file_server.content["bad"] = bad
    bad_url = file_server.url("bad")
    with pytest.raises(DatasetError, match=reason) as caught:
        locate_files(spec_at(bad_url), tmp_path)
    for said in (TARGET, bad_url, str(tmp_path / "img"), "'img'"):
        assert said in str(caught.value)
    assert files_under(tmp_path) == set()

    file_server.content["good"] = GOOD
    locate_files(spec_at(bad_url, file_server.url("good")), tmp_path)
    assert (tmp_path / TARGET).read_bytes() == GOOD
    assert files_under(tmp_path) == {TARGET}


def test_a_dropped_connection_is_resumed_where_it_broke(file_server: FileServer, tmp_path: Path) -> None:
    file_server.content["a"] = GOOD
    file_server.drops["a"] = [30_000, 20_000]
    locate_files(spec_at(file_server.url("a")), tmp_path)
    assert file_server.requests == [("a", None), ("a", "bytes=30000-"), ("a", "bytes=50000-")]
    assert (tmp_path / TARGET).read_bytes() == GOOD
    assert files_under(tmp_path) == {TARGET}


def test_a_later_call_resumes_what_an_earlier_one_left(file_server: FileServer, tmp_path: Path) -> None:
    file_server.content["a"] = GOOD
    file_server.drops["a"] = [30_000, 0]
    spec = spec_at(file_server.url("a"))
    with pytest.raises(DatasetError, match="connection dropped after 30,000 of"):
        locate_files(spec, tmp_path)
    (left,) = files_under(tmp_path)
    assert left.startswith(TARGET)
    assert left.endswith(".part")
    assert (tmp_path / left).read_bytes() == GOOD[:30_000]

    locate_files(spec, tmp_path)
    assert file_server.requests[-1] == ("a", "bytes=30000-")
    assert (tmp_path / TARGET).read_bytes() == GOOD
    assert files_under(tmp_path) == {TARGET}


def test_a_server_without_ranges_is_asked_again_from_the_start(file_server: FileServer, tmp_path: Path) -> None:
    file_server.content["a"] = GOOD
    file_server.drops["a"] = [30_000]
    file_server.honours_range = False
    locate_files(spec_at(file_server.url("a")), tmp_path)
    assert (tmp_path / TARGET).read_bytes() == GOOD


@pytest.mark.parametrize("replacement", [GOOD, gzip.compress(idx_bytes(IMAGES), compresslevel=1), GOOD[:20_000]])
def test_a_part_of_what_is_no_longer_there_is_begun_anew(
    file_server: FileServer, tmp_path: Path, replacement: bytes
) -> None:
    file_server.content["a"] = bytes(100_000)
    file_server.drops["a"] = [30_000, 0]
    spec = spec_at(file_server.url("a"))
    with pytest.raises(DatasetError):
        locate_files(spec, tmp_path)
    file_server.content["a"] = replacement
    if len(replacement) > 30_000:
        locate_files(spec, tmp_path)
        assert (tmp_path / TARGET).read_bytes() == replacement
    else:
        with pytest.raises(DatasetError, match="truncated"):
            locate_files(spec, tmp_path)
        assert files_under(tmp_path) == set()


def test_a_mirror_does_not_continue_the_part_of_another(file_server: FileServer, tmp_path: Path) -> None:
    file_server.content.update(a=gzip.compress(idx_bytes(IMAGES), compresslevel=0), b=GOOD)
    file_server.drops["a"] = [30_000, 0]
    locate_files(spec_at(file_server.url("a"), file_server.url("b")), tmp_path)
    assert file_server.requests == [("a", None), ("a", "bytes=30000-"), ("b", None)]
    assert files_under(tmp_path) == {TARGET}


def test_several_callers_at_once_download_once(file_server: FileServer, tmp_path: Path) -> None:
    file_server.content["a"] = GOOD
    file_server.drops["a"] = [30_000]
    spec = spec_at(file_server.url("a"))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: locate_files(spec, tmp_path), range(4)))
    assert found == [{spec.files[0]: tmp_path / TARGET}] * 4
    assert file_server.requests == [("a", None), ("a", "bytes=30000-")]


def test_an_unreachable_server_is_named_with_the_reason(tmp_path: Path, file_server: FileServer) -> None:
    # Port 1 of this machine refuses at once.
    url = "http://127.0.0.1:1/a"
    with pytest.raises(DatasetError, match=rf"{url}: no connection \(.*refused"):
        locate_files(spec_at(url), tmp_path)
    assert files_under(tmp_path) == set()


def test_without_downloading_the_error_names_file_addresses_and_folder(file_server: FileServer, tmp_path: Path) -> None:
    file_server.content["a"] = GOOD
    urls = file_server.url("a"), file_server.url("b")
    with pytest.raises(DatasetError, match="downloading is switched off") as caught:
        locate_files(spec_at(*urls), tmp_path / "root", download=False)
    for said in (TARGET, *urls, str(tmp_path / "root" / "img")):
        assert said in str(caught.value)
    assert file_server.requests == []
    assert not (tmp_path / "root").exists()


def test_all_missing_files_are_named(tmp_path: Path) -> None:
    other = IdxFile("img/labels.gz", (), (40,), "0" * 32)
    spec = DatasetSpec("img", 40, 40, 2500, 2, Scaling.NONE, (*spec_at("http://x/a").train, other))
    with pytest.raises(DatasetError, match=r"also missing: img/labels\.gz"):
        locate_files(spec, tmp_path, download=False)


def test_a_data_root_that_cannot_be_written_is_said_to_be(file_server: FileServer, tmp_path: Path) -> None:
    # A file in place of the folder, since permissions do not hold back the superuser.
    (tmp_path / "root").write_text("not a folder")
    file_server.content["a"] = GOOD
    with pytest.raises(DatasetError, match="the data root cannot be written"):
        locate_files(spec_at(file_server.url("a")), tmp_path / "root")
    assert file_server.requests == []


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_read_only_folder_is_said_to_be(file_server: FileServer, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(DatasetError, match="the data root cannot be written"):
        locate_files(spec_at(file_server.url("a")), tmp_path)


def test_the_data_root_is_the_argument_then_the_environment_then_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARML_DATA", str(tmp_path / "env"))
    assert data_root(tmp_path / "argument") == tmp_path / "argument"
    assert data_root() == tmp_path / "env"
    monkeypatch.delenv("ARML_DATA")
    assert data_root() == Path("data")
