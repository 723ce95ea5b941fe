"""Which version of the code is running, and where its machine code is kept (`arml.compiled`)."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import sys
import tempfile
import uuid
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from llvmlite import binding

_PACKAGE = Path(__file__).resolve().parent
_PREFIX = "arml-compiled-"
#: An empty file in a folder with all machine code of its version.
COMPLETE = "complete"
# Folders of other versions that are kept.
_KEPT = 3
_DECORATED = b"\n@compiled\n"
_IMPORT = re.compile(
    rb"^[ \t]*(?:from[ \t]+([.\w]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)|import[ \t]+([.\w]+))", re.MULTILINE
)
# Settings of numba that have no influence on the machine code.
_INDIFFERENT = {"NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS", "NUMBA_DEBUG_CACHE"}
# numba is untyped where it matters here.
_config: Any = numba.config


@cache
def digest() -> str:
    """What the machine code depends on, as 16 hexadecimal digits."""
    result = hashlib.sha256()
    for file in sources():
        content = file.read_bytes()
        result.update(f"{file.relative_to(_PACKAGE)} {len(content)}\n".encode() + content)
    settings = sorted((k, v) for k, v in os.environ.items() if k.startswith("NUMBA_") and k not in _INDIFFERENT)
    versions = numba.__version__, llvmlite.__version__, np.__version__, sys.version, platform.machine()
    processor = binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()
    result.update(repr((versions, processor, settings)).encode())
    return result.hexdigest()[:16]


def sources() -> list[Path]:
    """The modules with compiled functions, whatever of the package they import, and those that compile them."""
    content = {file: file.read_bytes() for file in sorted(_PACKAGE.rglob("*.py"))}
    found: set[Path] = set()
    waiting = [_PACKAGE / "compiled.py"] + [file for file, text in content.items() if _DECORATED in text]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += [other for other in _imported(file, content[file]) if other in content]
    return sorted(found)


def _imported(file: Path, text: bytes) -> list[Path]:
    """Files that the import lines of a module may mean, whether they exist or not."""
    result = []
    for origin, names, plain in _IMPORT.findall(text):
        module = (origin or plain).decode()
        dots = len(module) - len(module.lstrip("."))
        if dots:
            base = file.parents[dots - 1].joinpath(*filter(None, module.lstrip(".").split(".")))
        elif module.split(".")[0] == _PACKAGE.name:
            base = _PACKAGE.joinpath(*module.split(".")[1:])
        else:
            continue
        inside = [base / name for name in re.findall(r"\w+", names.decode())]
        for path in (base, *inside):
            result += [path.with_suffix(".py"), path / "__init__.py"]
    return result


@cache
def place() -> Path | None:
    """The folder of this version's machine code, which need not exist yet; None where there is nowhere to write.

    Says so once, and removes folders of versions long unused.
    """
    user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    parents = [_PACKAGE / "__pycache__", Path(user) / "arml"]
    if _config.CACHE_DIR:
        parents = [Path(_config.CACHE_DIR)]
    for parent in parents:
        try:
            parent = parent.expanduser()
            folder = parent / f"{_PREFIX}{digest()}"
            if not (folder / COMPLETE).exists():
                # Where all is there already nothing need be written.
                parent.mkdir(parents=True, exist_ok=True)
                tempfile.TemporaryFile(dir=parent).close()
        except (OSError, RuntimeError):  # RuntimeError: there is no home
            continue
        _remove_old(folder)
        return folder
    say(
        f"nowhere to keep compiled code ({', '.join(map(str, parents))} cannot be written to): every process compiles "
        "anew, in memory; set NUMBA_CACHE_DIR to a folder that can be written to"
    )
    return None


def _remove_old(folder: Path) -> None:
    """Mark ``folder`` as used now, and remove the folders beside it that were not used for the longest time.

    Another process may be at work in one of these: a folder disappears as a whole, and whoever misses it compiles.
    """
    try:
        folder.mkdir(exist_ok=True)
        os.utime(folder)
        others = [path for path in folder.parent.glob(f"{_PREFIX}*") if path != folder]
        for path in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)[_KEPT:]:
            doomed = path.with_name(f"removed-{uuid.uuid4().hex}")
            path.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)
    except OSError:
        # Removed by another process at the same time, or not ours to remove.
        return


def say(text: str) -> None:
    """Print one line on stderr, unless ``ARML_QUIET`` is set."""
    if os.environ.get("ARML_QUIET", "0") in ("", "0"):
        print(f"arml: {text}", file=sys.stderr, flush=True)
