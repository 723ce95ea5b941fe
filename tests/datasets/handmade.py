"""Small hand-made files in the published formats, and an HTTP server that misbehaves on demand."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from arml.datasets.registry import DatasetSpec, IdxFile, LibsvmFile

LIBSVM_TEXT = "1 1:-1 3:0.5\n2 2:1\n\n2 1:+.5 2:-0.25 3:1e-1 \n"
LIBSVM_FILE = LibsvmFile("libsvm/tiny", (), (3, 4), (1, 2), (-1.0, 1.0), "0" * 64)
LIBSVM_BZ2_FILE = LibsvmFile("libsvm/tiny.bz2", (), (3, 4), (1, 2), (-1.0, 1.0), "0" * 64)


def idx_bytes(array: np.ndarray) -> bytes:
    """An uncompressed idx file of bytes."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def idx_file(path: str, array: np.ndarray, urls: tuple[str, ...] = ()) -> IdxFile:
    """The registry's entry for exactly this array."""
    return IdxFile(path, urls, array.shape, hashlib.md5(idx_bytes(array)).hexdigest())


@dataclass
class ImageSet:
    """Twelve training and six test images of 3x4 pixels in three classes, with their registry entry and files."""

    spec: DatasetSpec
    arrays: dict[str, np.ndarray]

    def write(self, root: Path) -> None:
        for path, array in self.arrays.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(gzip.compress(idx_bytes(array)))


@dataclass
class FileServer:
    """What the local server answers. A path that is not in ``content`` is a 404."""

    address: str = ""
    content: dict[str, bytes] = field(default_factory=dict)
    #: path -> numbers of bytes after which its next answers break off
    drops: dict[str, list[int]] = field(default_factory=dict)
    honours_range: bool = True
    #: (path, the Range header or None) of every request so far
    requests: list[tuple[str, str | None]] = field(default_factory=list)

    def url(self, path: str) -> str:
        return f"{self.address}/{path}"


def handler_of(server: FileServer) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, wanted = self.path.lstrip("/"), self.headers.get("Range")
            server.requests.append((path, wanted))
            if path not in server.content:
                self.send_error(404)
                return
            body, start = server.content[path], 0
            if wanted and server.honours_range:
                start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
                if start >= len(body):
                    self.send_error(416)
                    return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            drops = server.drops.get(path)
            self.wfile.write(body[start:][: drops.pop(0)] if drops else body[start:])

        def log_message(self, *args: object) -> None:
            pass

    return Handler
