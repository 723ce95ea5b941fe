"""Hold exact radii of small hostile problems against the truth in rational arithmetic.

    python scripts/fuzz.py --problems 100000 --processes 2          every kind in turn; goes on where it was stopped
    python scripts/fuzz.py --kinds far_row,offset --problems 2000   some of them
    python scripts/fuzz.py --repeat far_row:17                      one case, with its data
    python scripts/fuzz.py --library ../older                       the package of another working copy

Prints a table per kind and the violations; exit code 1 if there are any. Blocks that are finished are kept in --out. A
larger --problems goes on from there, with the same code and seed only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import wait
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

# The fuzz belongs to the tests, which are found from the repository's root.
from tests.fuzz.worker import BLOCK, EXAMPLES, Block, Summary, Worker, import_from  # noqa: E402

HOPELESS = 5  # processes that died one after the other


def main() -> int:
    """Run the blocks that are missing and print the table."""
    options = _arguments()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import_from(options.library)
    if options.repeat:
        return _repeat(options.repeat, options.seed, options.recheck)
    from tests.fuzz.geometries import KINDS

    kinds = options.kinds.split(",") if options.kinds else list(KINDS)
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        print(f"unknown kind {', '.join(unknown)}; there are {', '.join(KINDS)}", file=sys.stderr)
        return 2
    settings = {"seed": options.seed, "block": BLOCK, "recheck": options.recheck, "code": _digest(options.library)}
    state = _read(options.out, settings)
    if state is None:
        return 2
    _run(state, kinds, options)
    return _report(state, kinds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fuzz exact radii against rational truth.")
    parser.add_argument("--problems", type=int, default=2000, help="at least so many in all; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--processes", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--kinds", default="", help="kinds of geometry, with commas between; default: all")
    parser.add_argument("--out", type=Path, default=ROOT / "results/benchmarks/fuzz.json", help="default: %(default)s")
    parser.add_argument(
        "--library", type=Path, default=ROOT, help="working copy whose arml is asked; default: this one"
    )
    parser.add_argument("--recheck", action="store_true", help="ask arml.recheck to confirm every result, too")
    parser.add_argument("--repeat", default="", metavar="KIND:INDEX", help="run one case and print its data")
    options = parser.parse_args()
    if options.problems < 1 or options.processes < 1 or options.seed < 0:
        parser.error("--problems and --processes must be positive, --seed not negative")
    return options


def _digest(library: Path) -> str:
    """SHA-256 of the package and of the fuzz: results of different code are never added up."""
    sha = hashlib.sha256()
    for folder in (library / "arml", ROOT / "tests/fuzz"):
        for path in sorted(folder.rglob("*.py")):
            sha.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return sha.hexdigest()


def _read(path: Path, settings: Summary) -> Summary | None:
    """What an earlier run left, or nothing yet; None, after a message, where it does not belong to these settings."""
    if not path.exists():
        return {"settings": settings, "kinds": {}}
    try:
        state = dict(json.loads(path.read_text(encoding="utf-8")))
        kept = state["settings"]
    except (ValueError, KeyError, TypeError) as error:
        print(f"{path} is not a result of this script ({error!r}); delete it or name another --out", file=sys.stderr)
        return None
    if kept != settings:
        differing = ", ".join(key for key in settings if kept.get(key) != settings[key])
        print(f"{path} was made with other settings ({differing}); delete it or name another --out", file=sys.stderr)
        return None
    return state


def _run(state: Summary, kinds: list[str], options: argparse.Namespace) -> None:
    """Have blocks done until there are enough problems, each process one at a time."""
    blocks = _missing(state, kinds)
    workers: list[Worker] = []
    in_a_row = 0
    try:
        while True:
            enough = _problems(state, kinds) >= options.problems
            while not enough and len(workers) < options.processes:
                workers.append(Worker(options.library, options.seed, options.recheck))
            for worker in workers:
                if worker.block is None and not enough:
                    worker.give(next(blocks))
            busy = [worker for worker in workers if worker.block is not None]
            if not busy:
                return
            wait([worker.connection for worker in busy], timeout=1.0)
            for worker in busy:
                block, summary = worker.block, worker.result()
                if block is not None and summary is not None:
                    _add(state, block, summary)
                    _write(options.out, state)
                    in_a_row = 0 if worker.alive else in_a_row + 1
            if in_a_row >= HOPELESS:
                raise SystemExit(f"{in_a_row} processes died one after the other; see what they wrote above")
            workers = [worker for worker in workers if worker.alive]
    finally:
        for worker in workers:
            worker.stop()


def _missing(state: Summary, kinds: list[str]) -> Iterator[Block]:
    """Blocks that are not done yet, a round of all kinds after the other, without end."""
    done = {kind: set(summary["done"]) for kind, summary in state["kinds"].items()}
    start = 0
    while True:
        yield from ((kind, start) for kind in kinds if start not in done.get(kind, ()))
        start += BLOCK


def _problems(state: Summary, kinds: list[str]) -> int:
    return sum(sum(state["kinds"][kind]["counts"].values()) for kind in kinds if kind in state["kinds"])


def _add(state: Summary, block: Block, summary: Summary) -> None:
    """Add a finished block to its kind."""
    kind, start = block
    whole = state["kinds"].setdefault(kind, {"done": [], "counts": {}, "names": {}, "examples": []})
    whole["done"] = sorted([*whole["done"], start])
    for key in ("counts", "names"):
        whole[key] = dict(Counter(whole[key]) + Counter(summary[key]))
    for example in summary["examples"]:
        if sum(kept["name"] == example["name"] for kept in whole["examples"]) < EXAMPLES:
            whole["examples"].append(example)


def _write(path: Path, state: Summary) -> None:
    """Write the state, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _report(state: Summary, kinds: list[str]) -> int:
    """Print the table and the violations; 1 if there are any."""
    from tests.fuzz.compare import OUTCOMES

    total: Counter[str] = Counter()
    print("  ".join([f"{'kind':24}", f"{'problems':>8}", *(f"{name:>11}" for name in OUTCOMES)]))
    rows = [(kind, state["kinds"][kind]["counts"]) for kind in kinds if kind in state["kinds"]]
    for _, counts in rows:
        total += Counter(counts)
    for kind, counts in [*rows, ("all", total)]:
        print("  ".join([f"{kind:24}", f"{sum(counts.values()):8d}", *(f"{counts.get(o, 0):11d}" for o in OUTCOMES)]))
    found = 0
    for kind, _ in rows:
        summary = state["kinds"][kind]
        for name, number in sorted(summary["names"].items()):
            found += number
            print(f"\n{kind}: {name}, {number} times")
            for example in [e for e in summary["examples"] if e["name"] == name][:2]:
                box = (
                    f"box {list(example['box'])}" if example.get("box") else "no box"
                )  # a list if it comes from a file
                case = f"--seed {example['seed']} --repeat {kind}:{example['index']}  " if "index" in example else ""
                asked = f"point {example.get('point')} K={example.get('K')} {example.get('event')} {box}"
                print(f"  {case}{asked}: {example['detail'][:240]}")
    return int(found > 0)


def _repeat(name: str, seed: int, recheck: bool) -> int:
    """Run one case and print its data, so that it can be looked into; 1 if something is wrong with it."""
    from tests.fuzz.cases import draw
    from tests.fuzz.compare import run_case
    from tests.fuzz.geometries import KINDS

    kind, _, index = name.partition(":")
    if kind not in KINDS or not index.isdecimal():
        print(f"--repeat takes KIND:INDEX, got {name!r}; the kinds are {', '.join(KINDS)}", file=sys.stderr)
        return 2
    case = draw(kind, seed, int(index))
    for field in ("X_train", "y_train", "G", "X", "y"):
        print(f"{field} = {getattr(case, field).tolist()}")
    print(f"K, box = {case.K}, {case.box}")
    outcome = run_case(case, recheck=recheck)
    print("\n".join([str(dict(outcome.counts)), *outcome.lines]))
    for violation in outcome.violations:
        print(f"point {violation.point} {violation.event}: {violation.name}: {violation.detail}")
    return int(bool(outcome.violations))


if __name__ == "__main__":
    sys.exit(main())
