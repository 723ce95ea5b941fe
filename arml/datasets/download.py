"""Find a dataset's files in the data root, and fetch with pooch those that are missing.

A file appears under its name only when it is complete and its content is verified: by the official digest where there
is one, else by reading it (shape, labels, value range). Until then it is ``<name>.<hash of its address>.part``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pooch
from filelock import FileLock

from arml.datasets.errors import DatasetError
from arml.datasets.readers import verify_file
from arml.datasets.registry import DatasetSpec, SourceFile
from arml.datasets.transfer import TRANSFER_ERRORS, ResumableDownloader, failure_reason

#: A container may be a little larger than its content.
_CONTAINER_OVERHEAD_BYTES = 1 << 20


def data_root(root: str | Path | None = None) -> Path:
    """The folder that holds the files: ``root``, else the environment variable ``ARML_DATA``, else ``data``."""
    return Path(root or os.environ.get("ARML_DATA") or "data").expanduser()


def locate_files(spec: DatasetSpec, root: Path, *, download: bool = True) -> dict[SourceFile, Path]:
    """Where the dataset's files are, after fetching the missing ones; files that exist are left as they are.

    Raises
    ------
    DatasetError
        If a file is missing and cannot be fetched (or must not, with ``download=False``): it names the file, the
        addresses, why each failed, and the folder to put the file in.
    """
    paths = {file: root / file.path for file in spec.files}
    missing = [file for file, path in paths.items() if not path.exists()]
    for position, file in enumerate(missing):
        failures = _fetch(file, root) if download else {}
        if not paths[file].exists():
            raise _absent(spec, root, missing[position:], failures)
    return paths


def _fetch(file: SourceFile, root: Path) -> dict[str, str]:
    """Try the file's addresses in turn until one works; the reasons of those that failed."""
    folder = (root / file.path).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(root / ".download.lock")
        lock.acquire()
    except OSError as error:
        return dict.fromkeys(file.urls, f"not tried, the data root cannot be written ({error.strerror or error})")
    failures: dict[str, str] = {}
    try:
        for url in file.urls:
            # Also true when another process fetched it while this one waited for the lock.
            if (root / file.path).exists():
                break
            try:
                _fetch_from(url, file, root)
            except (DatasetError, *TRANSFER_ERRORS) as error:
                failures[url] = failure_reason(error)
    finally:
        lock.release()
    return failures


def _fetch_from(url: str, file: SourceFile, root: Path) -> None:
    # One part per address: two mirrors may hold one content in different containers, which must not be mixed.
    parts = {u: root / f"{file.path}.{hashlib.sha256(u.encode()).hexdigest()[:8]}.part" for u in file.urls}
    max_bytes = file.max_content_bytes + _CONTAINER_OVERHEAD_BYTES
    downloader = ResumableDownloader(parts[url], max_bytes, lambda part: verify_file(part, file))
    # pooch is told no digest: the digests are of the content, and the downloader checks them.
    store = pooch.Pooch(path=root, base_url="", registry={file.path: None}, urls={file.path: url})
    store.fetch(file.path, downloader=downloader)
    for part in parts.values():
        part.unlink(missing_ok=True)


def _absent(spec: DatasetSpec, root: Path, missing: Sequence[SourceFile], failures: Mapping[str, str]) -> DatasetError:
    file, *others = missing
    folder = (root / file.path).parent.resolve()
    also = f" (also missing: {', '.join(other.path for other in others)})" if others else ""
    reason = "and could not be downloaded" if failures else "and downloading is switched off"
    addresses = "\n".join(f"  {url}: {failures[url]}" if url in failures else f"  {url}" for url in file.urls)
    return DatasetError(
        f"dataset {spec.name!r}: {file.path} is not in the data root {root.resolve()}{also} {reason}:\n{addresses}\n"
        f"Fetch it by hand from one of these addresses and put it into {folder}/, "
        "or set ARML_DATA (or root) to a folder that has it."
    )
