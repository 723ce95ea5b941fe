"""Processes that do the blocks of the fuzz: one that dies or hangs costs its block, and says so.

No module of the package is imported with this one, so that `import_from` can choose the working copy it comes from.
"""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BLOCK = 20  # cases of one kind that are done, or lost, together
PATIENCE = 900.0  # seconds until a block counts as hanging; the first one compiles
EXAMPLES = 5  # violations of one name and kind that are kept with their details

#: What is known of a block or a kind: numbers of problems by outcome, of violations by name, and examples of these.
Summary = dict[str, Any]
#: A block: its kind and the index of its first case.
Block = tuple[str, int]


class Worker:
    """A process that does blocks, and can be given up."""

    def __init__(self, library: Path, seed: int, recheck: bool) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=serve, args=(theirs, library, seed, recheck), daemon=True)
        self.process.start()
        theirs.close()
        self.block: Block | None = None
        self.alive = True
        self._since = 0.0

    def give(self, block: Block) -> None:
        """Have a block done."""
        self.block, self._since = block, monotonic()
        with suppress(OSError):  # it died; `result` will say so
            self.connection.send(block)

    def result(self) -> Summary | None:
        """Summary of the block, or None while it is being worked on; a process that dies or hangs is a violation."""
        try:
            if self.connection.poll():
                summary = dict(self.connection.recv())
                self.block = None
                return summary
        except (EOFError, OSError):
            return self._lost("the process died")
        if monotonic() - self._since > PATIENCE:
            return self._lost(f"no answer within {PATIENCE:.0f} s")
        return None

    def stop(self) -> None:
        """End the process."""
        self.alive = False
        self.process.terminate()
        self.process.join()

    def _lost(self, why: str) -> Summary:
        kind, start = self.block or ("", 0)
        self.block = None
        self.stop()
        detail = f"{why}, somewhere in the cases {start} to {start + BLOCK - 1}"
        return {
            "counts": {"violation": 1},
            "names": {why: 1},
            "examples": [{"name": why, "kind": kind, "detail": detail}],
        }


def serve(connection: Connection, library: Path, seed: int, recheck: bool) -> None:
    """Do blocks until the other side is gone."""
    import_from(library)
    from tests.fuzz.cases import draw
    from tests.fuzz.compare import run_case

    while True:
        try:
            kind, start = connection.recv()
        except EOFError:
            return
        counts: Counter[str] = Counter()
        names: Counter[str] = Counter()
        examples: list[Summary] = []
        for index in range(start, start + BLOCK):
            outcome = run_case(draw(kind, seed, index), recheck=recheck)
            counts += outcome.counts
            for violation in outcome.violations:
                names[violation.name] += 1
                if names[violation.name] <= EXAMPLES:
                    examples.append(asdict(violation))
        connection.send({"counts": dict(counts), "names": dict(names), "examples": examples})


def import_from(library: Path) -> None:
    """Import arml from ``library``, and all that comes later from here: an older copy knows nothing of this fuzz."""
    sys.path.insert(0, str(library.resolve()))
    import arml

    if Path(arml.__file__).resolve().parents[1] != library.resolve():
        raise SystemExit(f"arml comes from {arml.__file__}, not from {library}; does that folder hold the package?")
    sys.path[0] = str(ROOT)
