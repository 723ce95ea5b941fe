from __future__ import annotations

import bz2
import http.server
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from arml.datasets.registry import DatasetSpec, Scaling
from tests.datasets.handmade import LIBSVM_TEXT, FileServer, ImageSet, handler_of, idx_file


@pytest.fixture
def image_set() -> ImageSet:
    rng = np.random.default_rng(0)
    arrays = {
        "img/train-images.gz": rng.integers(0, 256, (12, 3, 4)),
        "img/train-labels.gz": np.arange(12) % 3,
        "img/test-images.gz": rng.integers(0, 256, (6, 3, 4)),
        "img/test-labels.gz": np.arange(6) % 3,
    }
    files = [idx_file(path, array) for path, array in arrays.items()]
    spec = DatasetSpec("img", 12, 6, 12, 3, Scaling.DIVIDE_BY_255, tuple(files[:2]), tuple(files[2:]))
    return ImageSet(spec, arrays)


@pytest.fixture
def libsvm_path(tmp_path: Path) -> Callable[[str | bytes], Path]:
    """Write a plain LIBSVM file."""

    def write(content: str | bytes) -> Path:
        path = tmp_path / "tiny"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def libsvm_bz2(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.bz2"
    path.write_bytes(bz2.compress(LIBSVM_TEXT.encode()))
    return path


@pytest.fixture
def file_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = FileServer()
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler_of(server))
    server.address = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    httpd.shutdown()
    httpd.server_close()
    thread.join()


@pytest.fixture(scope="session")
def full_data_root() -> Path:
    root = os.environ.get("ARML_DATA")
    if not root:
        pytest.skip("ARML_DATA is not set: the full datasets are not at hand")
    return Path(root)
