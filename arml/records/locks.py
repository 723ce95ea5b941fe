"""Locks on file systems of which several machines see the same files, but not each other's ``flock``.

A lock is a small file that names its owner: host, boot, process, a token of its own, and a heartbeat that the owner
counts up. It is made by ``link``, which is atomic also on NFS, and is there from then on until its owner removes it. A
lock is taken over when its owner is *gone*: a process of this machine that is not there any more (its number may be
another's by now, so the time it started counts, too); or when it is *silent*: its heartbeat has not moved while this
process looked on for so long, which two clocks need not agree on. A process of this machine that is there is never
silent.

Taking over is renaming the file away, which only one can do; whoever finds that he has renamed another lock than he
judged puts it back. So two owners at a time are next to impossible but for one who was silent and comes back (he may
have been suspended, or in a call that held up all his threads), and no promise is made that there are none: what owners
write must stand the other, as the store's folders named by token do.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

#: Seconds between two heartbeats, and without one until an owner counts as silent.
BEAT, SILENCE = 10.0, 60.0
# Seconds between two looks at a lock that somebody else holds.
_LOOK = 0.5
# Digits of a heartbeat: the file keeps its length, so that it can be written over in place.
_DIGITS = 12


@dataclass(frozen=True)
class Owner:
    """Who holds a lock. ``start`` and ``boot`` are empty where the system does not tell them."""

    host: str
    boot: str
    pid: int
    start: str
    token: str

    @classmethod
    def here(cls) -> Owner:
        """This process, with a new token."""
        return cls(hostname(), _boot(), os.getpid(), _start(os.getpid()), uuid.uuid4().hex[:16])

    @property
    def is_local(self) -> bool:
        """Whether its process would be seen from here, if it is there."""
        return self.boot != "" and self.start != "" and (self.host, self.boot) == (hostname(), _boot())

    @property
    def is_gone(self) -> bool:
        """Whether its process would be seen from here and is not there."""
        return self.is_local and _start(self.pid) != self.start

    def text(self, beat: int) -> str:
        """Content of the lock at a heartbeat; always as long."""
        return json.dumps({**vars(self), "beat": f"{beat:0{_DIGITS}d}"}, sort_keys=True) + "\n"

    @classmethod
    def read(cls, content: bytes) -> Owner | None:
        """Owner in the content of a lock; None where that is none, as while it is written."""
        try:
            values = json.loads(content)
            del values["beat"]
            return cls(**values)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


class Lock:
    """A lock of the given name in a folder, which must exist."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self.owner = Owner.here()
        self._held: Path | None = None
        self._descriptor = -1
        self._stop = threading.Event()
        self._beating: threading.Thread | None = None
        self._watched: list[Path] = []

    @property
    def token(self) -> str:
        """Names this owner, and nobody else ever."""
        return self.owner.token

    def acquire(self, wait: Callable[[], None] | None = None) -> bool:
        """Take the lock; without ``wait`` only if nobody holds it, which the answer tells.

        With it, it is called once if another holds the lock, and the lock is waited for.
        """
        patience = _Patience()
        while not self._try(patience):
            if wait is None:
                return False
            if not patience.told:
                wait()
                patience.told = True
            time.sleep(_LOOK)
        return True

    def holder(self) -> Owner | None:
        """Who holds the lock now, as far as that can be read."""
        content = _content(self._path(0))
        return None if content is None else Owner.read(content)

    def keep_fresh(self, path: Path) -> None:
        """Touch ``path`` with every heartbeat from now on, so that nobody takes it for forgotten."""
        self._watched.append(path)

    def release(self) -> None:
        """Give the lock back; nothing happens if another has taken it over."""
        if self._held is None:
            return
        self._stop.set()
        assert self._beating is not None
        self._beating.join()
        os.close(self._descriptor)
        content = _content(self._held)
        if content is not None and Owner.read(content) == self.owner:
            self._take_away(self._held, content)
        self._held = None

    def _path(self, number: int) -> Path:
        return self._folder / (f"{self._name}.held" if number == 0 else f"{self._name}.{number}.held")

    def _try(self, patience: _Patience) -> bool:
        """Take the lock if it is free or its owner is gone or silent."""
        for number in count():
            path = self._path(number)
            for _ in range(3):
                if self._make(path):
                    self._begin(path)
                    return True
                content = _content(path)
                if content is None:
                    continue  # given back in between
                if not patience.exhausted(path, content):
                    return False
                try:
                    taken = self._take_away(path, content)
                except PermissionError:
                    break  # another user's, who does not come back: the next name serves as well
                if not taken:
                    return False
            else:
                return False
        raise AssertionError

    def _make(self, path: Path) -> bool:
        """Put the lock's file at ``path``, whole and at once; False if one is there."""
        mine = path.with_name(f"{self._name}.{self.token}.new")
        mine.write_text(self.owner.text(0))
        mine.chmod(0o644)  # whoever waits has to read it, whatever the umask
        try:
            try:
                os.link(mine, path)
            except FileExistsError:
                # A reply that NFS lost is asked for again, and then denied although the link was made.
                return mine.stat().st_nlink == 2
            except OSError:
                return self._make_without_links(path)
            return True
        finally:
            mine.unlink(missing_ok=True)

    def _make_without_links(self, path: Path) -> bool:
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "w") as file:
            file.write(self.owner.text(0))
        return True

    def _begin(self, path: Path) -> None:
        # Held open: a heartbeat goes into this very file also when it has been renamed away, and never into another's.
        self._held, self._descriptor = path, os.open(path, os.O_WRONLY)
        self._stop.clear()
        self._beating = threading.Thread(target=self._beat, daemon=True, name="heartbeat of a lock")
        self._beating.start()

    def _beat(self) -> None:
        for beat in count(1):
            if self._stop.wait(BEAT):
                return
            with contextlib.suppress(OSError):  # the next one may go through
                os.pwrite(self._descriptor, self.owner.text(beat).encode(), 0)
                os.fsync(self._descriptor)
            for path in self._watched:
                with contextlib.suppress(OSError):
                    os.utime(path)

    def _take_away(self, path: Path, judged: bytes) -> bool:
        """Remove the file with the content ``judged``; False if it was gone before, or was another by then."""
        aside = path.with_name(f"{self._name}.{self.token}.gone")
        try:
            path.rename(aside)
        except FileNotFoundError:
            return False
        right = _content(aside) == judged
        if not right:
            with contextlib.suppress(OSError):
                os.link(aside, path)
        aside.unlink(missing_ok=True)
        return right


class _Patience:
    """What was seen of the locks that stood in the way, and for how long."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[bytes, float]] = {}
        self.told = False

    def exhausted(self, path: Path, content: bytes) -> bool:
        """Whether the lock's owner is gone, or has been silent for as long as this process looked on."""
        owner = Owner.read(content)
        if owner is not None and owner.is_local:
            return owner.is_gone
        now = time.monotonic()
        seen = self._seen.get(path)
        if seen is None or seen[0] != content:
            self._seen[path] = (content, now)
            return False
        return now - seen[1] > SILENCE


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def hostname() -> str:
    """Name of this machine, and of the processes that see each other on it: containers may share the name."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    return f"{socket.gethostname()} {space}".strip()


def _boot() -> str:
    """What tells this machine's running from an earlier one; empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _start(pid: int) -> str:
    """When a process started, in ticks since the boot; empty if it is not there, or a zombie, or nobody tells."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    # The second field is the program's name in parentheses, and may hold anything.
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]
