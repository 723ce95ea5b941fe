"""Put small faults into the code, one at a time, and tell which of them the tests notice.

    python scripts/mutants.py --limit 20            # the first 20 that are not settled yet
    python scripts/mutants.py --only proofs         # one group of modules (benchmarks/mutants/table.py)
    python scripts/mutants.py --report              # the table from what is known, nothing is run

For each fault only the tests that mirror its module are run, in a copy of the tree. Outcomes are kept, so a run that
was ended goes on where it stopped. Exits 1 if a fault survived that results/benchmarks/mutants_equivalent.csv gives no
reason for.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.mutants import report, run
from benchmarks.mutants.mutation import Mutation, makes_a_difference, mutations
from benchmarks.mutants.named import NAMED
from benchmarks.mutants.table import GROUPS, Group

ROOT = Path(__file__).resolve().parents[1]
_RESULTS = "results/runs/mutants.jsonl"
_REPORT, _EQUIVALENT = "results/benchmarks/mutants.md", "results/benchmarks/mutants_equivalent.csv"
# Seconds for the tests of a group without a fault, and how many times as long they may take with one.
_BASELINE, _SLOWER, _LEAST = 300.0, 4.0, 20.0
_TITLE = """# What the tests notice

Small faults are put into the code one at a time (`make mutants`); for each the tests that mirror its module are run.
Faults are drawn at random (seed {seed}), as many of each module as `benchmarks/mutants/table.py` says, beside those of
`benchmarks/mutants/named.py`. *Noticed*: a test failed, or did not end. *Without harm*: it survived, and the reason why
it can do none is given below. Of {drawn} faults {tried} have been tried; commit {commit}.

"""


def main(arguments: list[str] | None = None) -> int:
    """Run the faults asked for; the exit code."""
    options = _options(arguments)
    # Ended from outside it ends the tests that it started, and takes its copies away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chosen = [(name, one) for name, group in GROUPS.items() for one in drawn(ROOT, group, options.seed)]
    groups = {path: name for name, group in GROUPS.items() for path in group.paths(ROOT)}
    named = [one.mutation(ROOT) for one in NAMED]
    chosen = [(groups[one.path], one) for one in named] + chosen
    chosen = [pair for pair in chosen if not options.only or pair[0] in options.only]
    results, harmless = run.Results(ROOT / options.results), report.reasons(ROOT / _EQUIVALENT)
    sources = {one.path: (ROOT / one.path).read_text() for _, one in chosen}
    modules = {path: _digest(text) for path, text in sources.items()}
    tests = {name: run.digest_of(ROOT, GROUPS[name].tests) for name in {name for name, _ in chosen}}
    pending = [
        (name, one)
        for name, one in chosen
        if options.fresh
        or not (one.id in harmless and results.known.get(one.id, {}).get("module") == modules[one.path])
        if options.fresh or not results.settled(one.id, modules[one.path], tests[name])
    ]
    # What survived comes first: there may be a test for it by now.
    pending.sort(key=lambda pair: pair[1].id not in results.known)
    if not options.report:
        _run(pending[: options.limit], results, sources, modules, tests, options.processes, options.leave_out)
    # Outcomes of a module that has changed since are as good as none.
    judged = [
        report.Judged(one, name, str(results.known[one.id]["verdict"]))
        for name, one in chosen
        if one.id in results.known and results.known[one.id]["module"] == modules[one.path]
    ]
    text = report.table(judged, harmless)
    if not options.only:
        title = _TITLE.format(seed=options.seed, commit=_commit(), drawn=len(chosen), tried=len(judged))
        report.write(title + text, ROOT / _REPORT)
    print(text)
    print(f"{len(chosen)} faults, {len(judged)} tried")
    return int(bool(report.unreasoned(judged, harmless)))


def drawn(root: Path, group: Group, seed: int) -> Iterator[Mutation]:
    """The faults of a group's modules that a seed draws: so many of each module, spread over its kinds of faults."""
    for path in group.paths(root):
        source = (root / path).read_text()
        found = mutations(path, source)
        generator = random.Random(f"{seed} {path}")
        generator.shuffle(found)
        kinds: dict[str, list[Mutation]] = {}
        for one in found:
            kinds.setdefault(one.operator, []).append(one)
        # One of each kind in turn, so that comparisons, of which there are most, do not take all places.
        rounds = (kind[turn] for turn in range(len(found)) for kind in kinds.values() if turn < len(kind))
        useful = (one for one in rounds if makes_a_difference(source, one))
        yield from islice(useful, group.draw)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--limit", type=int, default=None, help="at most so many faults")
    parser.add_argument("--only", action="append", choices=sorted(GROUPS), help="a group of modules; may be repeated")
    parser.add_argument("--seed", type=int, default=0, help="what draws the faults")
    parser.add_argument("--processes", type=int, default=2, help="faults at a time")
    parser.add_argument("--fresh", action="store_true", help="try faults again of which the outcome is known")
    parser.add_argument("--leave-out", action="store_true", help="leave out tests that fail without any fault")
    parser.add_argument("--report", action="store_true", help="run nothing, print what is known")
    parser.add_argument("--results", default=_RESULTS, help=f"where outcomes are kept (default {_RESULTS})")
    return parser.parse_args(arguments)


def _run(
    pending: Sequence[tuple[str, Mutation]],
    results: run.Results,
    sources: dict[str, str],
    modules: dict[str, str],
    tests: dict[str, str],
    processes: int,
    leave_out: bool,
) -> None:
    """Try the faults, after a look whether the tests pass without any."""
    if not pending:
        return
    run.preload()
    with tempfile.TemporaryDirectory(prefix="arml-mutants-") as folder:
        copies = [run.copy_tree(ROOT, Path(folder) / str(number)) for number in range(processes)]
        limits, failing = _baselines(sorted({name for name, _ in pending}), copies, leave_out)
        tasks = [
            run.Task(
                one.id, one.path, one.applied(sources[one.path]), GROUPS[name].tests, limits[name],
                ("-x", *_selected(GROUPS[name]), *failing[name]),
            )
            for name, one in pending
        ]  # fmt: skip
        where = {one.id: (name, one) for name, one in pending}

        def done(outcome: run.Outcome) -> None:
            name, one = where[outcome.id]
            results.add(outcome, modules[one.path], tests[name])
            print(f"{outcome.verdict:10} {outcome.seconds:5.1f} s  {report.described(one)}  {outcome.said}", flush=True)

        run.run(tasks, copies, done)


def _baselines(
    names: Sequence[str], copies: Sequence[Path], leave_out: bool
) -> tuple[dict[str, float], dict[str, list[str]]]:
    """Time limits of the groups' tests from a run without a fault, and options that leave out those that fail then.

    Raises
    ------
    RuntimeError
        where some fail, and they are not to be left out: nothing could be learnt from their failing
    """
    limits: dict[str, float] = {}
    failing: dict[str, list[str]] = {}

    def done(outcome: run.Outcome) -> None:
        if outcome.verdict != "survived" and not (leave_out and outcome.failed):
            raise RuntimeError(f"the tests of {outcome.id} fail without any fault: {outcome.said}; mend them first")
        limits[outcome.id] = max(_LEAST, _SLOWER * outcome.seconds)
        failing[outcome.id] = [f"--deselect={name}" for name in outcome.failed]
        print(f"without a fault {outcome.seconds:5.1f} s  {outcome.id}, left out: {len(outcome.failed)}", flush=True)

    tasks = [run.Task(name, "", "", GROUPS[name].tests, _BASELINE, _selected(GROUPS[name])) for name in names]
    run.run(tasks, copies, done)
    return limits, failing


def _selected(group: Group) -> tuple[str, ...]:
    return ("-k", group.only) if group.only else ()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _commit() -> str:
    return subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
