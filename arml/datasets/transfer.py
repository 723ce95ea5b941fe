"""A downloader for pooch that resumes: pooch's own HTTP downloader starts again from nothing after every failure.

What has arrived is kept in a ``.part`` file beside the target, so a later call, even of another process, goes on where
this one stopped. pooch gets the file only when it is complete and verified.
"""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError

from tqdm import tqdm

from arml.datasets.errors import DamagedFileError

#: What a transfer may fail with; `failure_reason` puts it into words.
TRANSFER_ERRORS = (OSError, HTTPException)

_CHUNK_BYTES = 1 << 16
_MAX_RESUMPTIONS = 10
_PARTIAL_CONTENT, _RANGE_NOT_SATISFIABLE = 206, 416


class ResumableDownloader:
    """Downloader with the signature that `pooch.Pooch.fetch` calls.

    Parameters
    ----------
    part : file that collects what arrives; kept after a dropped connection, removed when its content is wrong
    max_bytes : the transfer is refused when it grows beyond this
    verify : called with ``part`` when complete; raises `DatasetError` if it is not the wanted file
    timeout : seconds without any answer after which the address is given up
    """

    def __init__(self, part: Path, max_bytes: int, verify: Callable[[Path], None], timeout: float = 30.0) -> None:
        self._part, self._max_bytes, self._verify, self._timeout = part, max_bytes, verify, timeout

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        """Download ``url``, verify it, move it to ``output_file``; raises `TRANSFER_ERRORS` or `DatasetError`."""
        began_from_part = self._size() > 0
        self._receive_all(url)
        try:
            self._verified()
        except DamagedFileError:
            if not began_from_part:
                raise
            # The file may have changed at its source since the part was begun: once more from the start.
            self._receive_all(url)
            self._verified()
        self._part.replace(output_file)

    def _verified(self) -> None:
        try:
            self._verify(self._part)
        except DamagedFileError:
            self._part.unlink()
            raise

    def _receive_all(self, url: str) -> None:
        """Go on after dropped connections for as long as each brings something new."""
        for _ in range(_MAX_RESUMPTIONS):
            before = self._size()
            try:
                self._receive(url)
                return
            except HTTPError:
                raise
            except TRANSFER_ERRORS:
                if self._size() <= before:
                    raise
        raise ConnectionError(f"connection dropped {_MAX_RESUMPTIONS} times")

    def _receive(self, url: str) -> None:
        with self._open(url) as response:
            # A server that ignores the range answers 200 and sends everything again.
            start = self._size() if response.status == _PARTIAL_CONTENT else 0
            if start and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                self._part.unlink()
                raise ConnectionError("the server resumed at another place than asked for")
            total = None if response.length is None else start + response.length
            self._store(response, start, total)
        if total is not None and self._size() < total:
            raise ConnectionError(f"connection dropped after {self._size():,} of {total:,} bytes")

    def _open(self, url: str) -> HTTPResponse:
        headers = {"User-Agent": "arml", "Accept-Encoding": "identity"}
        if self._size():
            headers["Range"] = f"bytes={self._size()}-"
        try:
            response: HTTPResponse = urllib.request.urlopen(
                urllib.request.Request(url, headers=headers), timeout=self._timeout
            )
        except HTTPError as error:
            if error.code != _RANGE_NOT_SATISFIABLE or "Range" not in headers:
                raise
            # Nothing follows what we have, so what we have is not a beginning of this file.
            self._part.unlink()
            return self._open(url)
        return response

    def _store(self, response: HTTPResponse, start: int, total: int | None) -> None:
        name = self._part.name.rsplit(".", 2)[0]
        with (
            self._part.open("ab" if start else "wb") as stream,
            tqdm(desc=name, initial=start, total=total, unit="B", unit_scale=True, disable=None) as progress,
        ):
            size = start
            while chunk := response.read(_CHUNK_BYTES):
                size += len(chunk)
                if size > self._max_bytes:
                    break
                stream.write(chunk)
                progress.update(len(chunk))
            stream.flush()
            os.fsync(stream.fileno())
        if size > self._max_bytes:
            self._part.unlink()
            raise DamagedFileError(self._part, f"it is larger than the {self._max_bytes:,} bytes that it can have")

    def _size(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0


def failure_reason(error: Exception) -> str:
    """Why a transfer failed, in a few words."""
    if isinstance(error, DamagedFileError):
        return f"what it sent is not the file: {error.problem}"
    if isinstance(error, HTTPError):
        return f"HTTP {error.code} {error.reason}"
    if isinstance(error, URLError):
        return f"no connection ({error.reason})"
    return str(error) or type(error).__name__
