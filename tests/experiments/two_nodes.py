"""Two nodes at work on one store, killed all the time: ``python -m tests.experiments.two_nodes 200``.

A node is a process with a host name of its own that forks workers; where there is a compiler, ``flock`` is local to it,
as on some network file systems. Workers go through requests in much the same order, and are killed at random, most of
them by SIGKILL. Now and then a host is never heard of again. At the end every record must be there and be that of an
undisturbed run, and nothing may have been computed twice but what was under way when a worker was killed.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FLOCK = """
int flock(int fd, int operation) { (void)fd; (void)operation; return 0; }
"""
EVALUATIONS = (
    ("evaluation=exact_1nn",),
    ("evaluation=exact_knn", "k=3"),
    ("evaluation=certified_knn", "k=3"),
    ("evaluation=local_search", "k=3"),
)
#: Seconds that a piece of a few points is made to take.
_PIECE_SECONDS = 0.2


@dataclass
class Tally:
    """What came of the exercise."""

    kills: int = 0
    lost_hosts: int = 0
    records: int = 0
    begun: int = 0
    kept: int = 0
    twice: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    shards_left: int = 0
    half_written_left: int = 0

    @property
    def under_way(self) -> int:
        """Pieces that were begun and not kept."""
        return self.begun - self.kept


def work(root: Path, log: Path, host: str, seeds: Iterator[int]) -> None:
    """What a worker does: one request after the other, a line in the log for each piece and record."""
    from arml.experiments.families import pieces
    from arml.records import locks, shards

    locks.hostname = lambda: host  # type: ignore[assignment]
    locks.BEAT, locks.SILENCE, locks._LOOK = 0.1, 4.0, 0.02
    signal.signal(signal.SIGTERM, terminate)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(*words: object) -> None:
        os.write(descriptor, (json.dumps(words) + "\n").encode())

    solve, keep = pieces.solved_in_pieces, shards.Shards.keep
    evaluation = ""

    def solved(inputs, n_eval, title, one, **more):  # type: ignore[no-untyped-def]
        def slowly(*arguments):  # type: ignore[no-untyped-def]
            note("begun", evaluation, os.getpid())
            time.sleep(_PIECE_SECONDS)
            return one(*arguments)

        return solve(inputs, n_eval, title, slowly, **more)

    def kept(self, shard):  # type: ignore[no-untyped-def]
        keep(self, shard)
        note("kept", evaluation, shard.first, shard.end)

    for module in [sys.modules[f"arml.experiments.families.{name}"] for name in FAMILIES]:
        module.solved_in_pieces = solved  # type: ignore[attr-defined]
    shards.Shards.keep = kept  # type: ignore[method-assign]
    for seed in seeds:
        for number in random.Random(f"{host} {seed}").sample(range(len(EVALUATIONS)), len(EVALUATIONS)):
            evaluation = f"{number} {seed}"
            if not made(root, number, seed).record.found:
                note("made", evaluation)


def terminate(*arguments: object) -> None:
    """End as a run does that is told to."""
    from arml.experiments import app

    STOPPED.append(True)
    app._terminate(signal.SIGTERM, None)


#: Whether this process was told to end. OmegaConf makes another error of the exception where it hits it.
STOPPED: list[bool] = []
FAMILIES = ("exact_1nn", "exact_knn", "certified_knn", "attacks")


def made(root: Path, number: int, seed: int):  # type: ignore[no-untyped-def]
    """The outcome of a request."""
    from arml.experiments.families import pieces
    from arml.experiments.pipeline import run

    from .composing import compose_run

    pieces.PIECE, pieces.LARGE_PIECE, pieces.WORTH_KEEPING = 1, 1, 0.0
    arguments = ("dataset=toy", "device=cpu", "threads=1", f"seed={seed}", f"output.runs={root}")
    return run(compose_run(*arguments, *EVALUATIONS[number]))


def serve(root: Path, log: Path) -> None:
    """A node: for every line with a host and a last seed (or none) fork a worker, and answer with its number."""
    import arml.experiments.pipeline  # noqa: F401  # the workers need not import it again

    made(root.with_name("rehearsal"), 0, 0)
    print("ready", flush=True)
    for line in sys.stdin:
        host, last = line.split()
        worker = os.fork()
        if worker == 0:
            try:
                work(root, log, host, iter(range(int(last)) if int(last) else range(front(log), 10**6)))
            except BaseException as error:
                if not STOPPED:
                    with log.open("a") as file:
                        file.write(json.dumps(["failed", repr(error)]) + "\n")
            finally:
                os._exit(0)
        print(worker, flush=True)
        os.waitpid(worker, 0)
        print("gone", flush=True)


def front(log: Path) -> int:
    """The seed that workers are at; those before are left for the end, so that few are killed reading what is there."""
    return max((int(words[1].split()[1]) for words in lines(log) if words[0] == "begun"), default=1)


class Node:
    """A node as the exercise sees it."""

    def __init__(self, name: str, root: Path, log: Path, flock: Path | None) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        if flock is not None:
            environment["LD_PRELOAD"] = str(flock)
        arguments = [sys.executable, "-m", "tests.experiments.two_nodes", str(root), str(log)]
        self.name, self.lost = name, 0
        self._process = subprocess.Popen(
            arguments, env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._expect("ready")

    def kill_a_worker(self, chance: random.Random) -> None:
        """Let a worker work for a while, and end it."""
        host = self.name
        if chance.random() < 0.03:
            self.lost += 1
            host = f"{self.name}-lost-{self.lost}"
        worker = int(self._ask(f"{host} 0"))
        time.sleep(chance.uniform(0.1, 1.5) if chance.random() < 0.9 else 6.0)
        os.kill(worker, signal.SIGTERM if chance.random() < 0.2 else signal.SIGKILL)
        self._expect("gone")

    def finish(self, last: int) -> None:
        """Work undisturbed on all requests below the seed ``last``."""
        self._ask(f"{self.name} {last}")
        self._expect("gone")

    def close(self) -> None:
        """End the node."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _ask(self, request: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(request + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def _expect(self, word: str) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == word


def exercise(folder: Path, kills: int, seed: int = 0) -> Tally:
    """Kill workers of two nodes that many times in all; returns what was found in the end."""
    root, log = folder / "runs", folder / "log"
    flock = node_local_flock(folder)
    nodes = [Node(name, root, log, flock) for name in ("one", "two")]
    done = threading.Semaphore(kills)

    def disturb(node: Node, chance: random.Random) -> None:
        while done.acquire(blocking=False):
            node.kill_a_worker(chance)

    side_by_side([(disturb, (node, random.Random(seed + i))) for i, node in enumerate(nodes)])
    last = 1 + max(int(words[1].split()[1]) for words in lines(log) if words[0] == "begun")
    side_by_side([(node.finish, (last,)) for node in nodes])
    for node in nodes:
        node.close()
    tally = Tally(kills, sum(node.lost for node in nodes))
    judge(tally, folder, log, last)
    return tally


def side_by_side(calls) -> None:  # type: ignore[no-untyped-def]
    """Make the calls at the same time."""
    threads = [threading.Thread(target=function, args=arguments) for function, arguments in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def judge(tally: Tally, folder: Path, log: Path, last: int) -> None:
    """Compare what is there with what undisturbed runs leave."""
    entries = lines(log)
    tally.wrong += [str(words) for words in entries if words[0] == "failed"]
    tally.begun = sum(words[0] == "begun" for words in entries)
    kept = Counter((words[1], words[2]) for words in entries if words[0] == "kept")
    records = Counter(words[1] for words in entries if words[0] == "made")
    tally.kept = sum(kept.values())
    tally.twice = [f"{name}: {n} times" for name, n in (*kept.items(), *records.items()) if n > 1]
    for seed in range(last):
        for number in range(len(EVALUATIONS)):
            there = made(folder / "runs", number, seed)
            undisturbed = made(folder / "undisturbed", number, seed)
            texts = [(outcome.record.folder / "points.csv").read_text() for outcome in (there, undisturbed)]
            tally.records += 1
            if not there.record.found or texts[0] != texts[1]:
                tally.wrong.append(str(there.record.folder))
    tally.shards_left = len(list(folder.glob("runs/.shards*/*/*")))
    tally.half_written_left = len(list(folder.glob("runs/*/.tmp/*")))


def lines(log: Path) -> list[list]:  # type: ignore[type-arg]
    """Entries of the log."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def node_local_flock(folder: Path) -> Path | None:
    """A library that makes ``flock`` say yes to everybody; None without a compiler."""
    if shutil.which("gcc") is None:
        return None
    source, library = folder / "flock.c", folder / "flock.so"
    source.write_text(FLOCK)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return library


if __name__ == "__main__":
    if len(sys.argv) == 3:
        serve(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as place:
            started = time.monotonic()
            tally = exercise(Path(place), int(sys.argv[1]))
            print(tally, f"under way when killed: {tally.under_way}", f"{time.monotonic() - started:.0f} s")
