"""Run the tests against each fault, in copies of the tree, each in a process of its own.

Importing torch, numba and the like takes several times as long as the tests that a fault needs. So one process imports
what does not belong to the package, once, and a fork of it runs the tests of each fault: with nothing of the package
loaded, and with functions left uncompiled (``NUMBA_DISABLE_JIT``), since compiling each fault would take half a minute.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PRELOADED = ("numpy", "scipy.linalg", "torch", "numba", "sklearn.neighbors", "pandas", "matplotlib.pyplot", "pytest")
_LEFT_OUT = (".git", ".venv", "__pycache__", "runs", "demo", "data", ".pytest_cache", ".mypy_cache", ".ruff_cache")
#: Exit codes of pytest (0 all passed, 1 a test failed, 2 interrupted, for one by a module that cannot be imported).
_PASSED, _NOTICED = 0, (1, 2)


@dataclass(frozen=True)
class Task:
    """One run of tests: ``path`` has the text ``source`` instead of its own; nothing is replaced where path is "".

    ``options`` are further options of pytest.
    """

    id: str
    path: str
    source: str
    tests: tuple[str, ...]
    limit: float
    options: tuple[str, ...] = ("-x",)


@dataclass(frozen=True)
class Outcome:
    """What the tests said: "survived", "killed", "time limit" or "error"; seconds, and the first failure."""

    id: str
    verdict: str
    seconds: float
    said: str
    failed: tuple[str, ...] = ()


def preload() -> None:
    """Import what the package imports, but nothing of the package."""
    _require_unloaded()
    os.environ["NUMBA_DISABLE_JIT"] = "1"
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in _PRELOADED:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    _require_unloaded()


def _require_unloaded() -> None:
    ours = [name for name in sys.modules if name == "arml" or name.startswith("arml.")]
    if ours:
        raise RuntimeError(f"{ours[0]} is loaded already, so no fault in it would be seen; preload in a fresh process")


def copy_tree(root: Path, place: Path) -> Path:
    """Copy the tree at ``root``, without environments, records and caches, to ``place``."""
    shutil.copytree(root, place, ignore=shutil.ignore_patterns(*_LEFT_OUT), symlinks=True)
    return place


def run(tasks: Sequence[Task], copies: Sequence[Path], done: Callable[[Outcome], None]) -> None:
    """Run each task in one of the copies, as many at a time as there are copies; ``done`` gets each outcome."""
    waiting, free = list(reversed(tasks)), list(copies)
    running: list[_Run] = []
    try:
        while waiting or running:
            while waiting and free:
                running.append(_Run(waiting.pop(), free.pop()))
            time.sleep(0.02)
            for one in [one for one in running if one.ended()]:
                running.remove(one)
                free.append(one.copy)
                done(one.outcome)
    finally:
        for one in running:
            one.stop()


class _Run:
    """A fork that runs the tests of one task."""

    def __init__(self, task: Task, copy: Path) -> None:
        self.task, self.copy = task, copy
        self.original = (copy / task.path).read_text() if task.path else ""
        if task.path:
            (copy / task.path).write_text(task.source)
        self.log = copy.parent / f"{copy.name}.log"
        self.start = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            _tested(copy, (*task.options, *task.tests), self.log)

    def ended(self) -> bool:
        """Whether the tests are through, or their time is up; then `outcome` is there and the copy is as before."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        seconds = time.monotonic() - self.start
        if pid == 0 and seconds < self.task.limit:
            return False
        if pid == 0:
            self.stop()
            self.outcome = Outcome(self.task.id, "time limit", seconds, f"{self.task.limit:.0f} s were not enough")
            return True
        self._restore()
        code = os.waitstatus_to_exitcode(status)
        verdict = "survived" if code == _PASSED else "killed" if code in _NOTICED or code < 0 else "error"
        self.outcome = Outcome(self.task.id, verdict, seconds, *_failures(self.log, verdict))
        return True

    def stop(self) -> None:
        """End the tests, and whatever they started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        self._restore()

    def _restore(self) -> None:
        if self.task.path:
            (self.copy / self.task.path).write_text(self.original)


def _tested(copy: Path, arguments: Sequence[str], log: Path) -> None:
    """Run pytest in the copy, in a process that was forked for it; never returns."""
    code = 3
    try:
        os.setsid()
        with log.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.stdout, sys.stderr = io.TextIOWrapper(os.fdopen(1, "wb", 0)), io.TextIOWrapper(os.fdopen(2, "wb", 0))
        os.chdir(copy)
        sys.dont_write_bytecode = True
        sys.path.insert(0, str(copy))
        os.environ["PYTHONPATH"] = str(copy)
        for name in [name for name in sys.modules if name.partition(".")[0] in ("benchmarks", "tests", "scripts")]:
            del sys.modules[name]
        import pytest

        options = ["-q", "-p", "no:cacheprovider", "--no-header", "--tb=line", f"--rootdir={copy}"]
        code = int(pytest.main([*options, "-m", "not slow and not full_data", *arguments]))
        sys.stdout.flush()
    finally:
        os._exit(code)


def _failures(log: Path, verdict: str) -> tuple[str, tuple[str, ...]]:
    """The first failure in pytest's words, and the names of the tests that failed."""
    if verdict == "survived":
        return "", ()
    lines = log.read_text(errors="replace").splitlines()
    told = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    names = tuple(line.partition(" ")[2].partition(" - ")[0] for line in told if line.startswith("FAILED"))
    return (told or lines[-1:] or ["nothing was said"])[0][:300], names


def digest_of(root: Path, tests: Sequence[str]) -> str:
    """Twelve hexadecimal digits that change with any of the test files, or with a file beside them."""
    found = hashlib.sha256()
    for name in tests:
        place = root / name
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            found.update(path.read_bytes())
    return found.hexdigest()[:12]


class Results:
    """Outcomes that are kept from run to run: one JSON object a line.

    A fault that was noticed stays noticed while its module is the same; one that survived is tried again as soon as
    its tests are others.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, Mapping[str, object]] = {}
        for line in _whole_lines(path):
            self.known[str(line["id"])] = line

    def settled(self, id: str, module: str, tests: str) -> bool:
        """Whether nothing new can be learnt of a fault, for these digests of its module and tests."""
        known = self.known.get(id)
        if known is None or known["module"] != module or known["verdict"] == "error":
            return False
        return known["verdict"] != "survived" or known["tests"] == tests

    def add(self, outcome: Outcome, module: str, tests: str) -> None:
        """Keep an outcome, at once and whole."""
        line = {**outcome.__dict__, "seconds": round(outcome.seconds, 2), "module": module, "tests": tests}
        del line["failed"]
        self.known[outcome.id] = line
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # A last line that was cut is ended first.
        cut = self.path.exists() and self.path.read_bytes()[-1:] not in (b"", b"\n")
        with self.path.open("ab", buffering=0) as file:
            file.write(b"\n" * cut + json.dumps(line).encode() + b"\n")


def _whole_lines(path: Path) -> Iterator[Mapping[str, object]]:
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        # The last one may be cut, where a run was ended in the middle of it.
        with contextlib.suppress(json.JSONDecodeError):
            yield json.loads(line)
