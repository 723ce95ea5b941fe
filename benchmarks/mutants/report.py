"""The table of what the tests noticed: `results/benchmarks/mutants.md`."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.mutants.mutation import Mutation


@dataclass(frozen=True)
class Judged:
    """A fault, the group of modules it belongs to, and what came of it: a verdict of `run.Outcome`."""

    mutation: Mutation
    group: str
    verdict: str


def reasons(path: Path) -> Mapping[str, str]:
    """Why faults that survive do no harm: by their ids, from a table with the columns id, fault and reason.

    Raises
    ------
    ValueError
        where a line has no reason
    """
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if not row["reason"]:
            raise ValueError(f"{path.name} gives no reason for {row['id']} ({row['fault']}); add one or write its test")
    return {row["id"]: row["reason"] for row in rows}


def described(mutation: Mutation) -> str:
    """One line that says what a fault is."""
    if mutation.operator == "named":
        return f"{mutation.path}: {mutation.where}"
    before, after = _short(mutation.before), _short(mutation.after)
    place = f"{mutation.path}:{mutation.line} {mutation.where}"
    return f"{place}: {mutation.operator}, `{before}` to `{after}` in `{_short(mutation.statement, 60)}`"


def _short(text: str, most: int = 40) -> str:
    line = " ".join(text.split()).replace("|", "\\|").replace("`", "'")
    return line if len(line) <= most else line[: most - 1] + "…"


def table(judged: Sequence[Judged], harmless: Mapping[str, str]) -> str:
    """The report: counts for each group, what survived and why, what survived without a reason."""
    lines = [
        "| modules | faults | noticed | without harm | survived | noticed of those with harm |",
        "|:--|--:|--:|--:|--:|--:|",
    ]
    groups = list(dict.fromkeys(one.group for one in judged))
    for name in [*groups, ""]:
        mine = [one for one in judged if name in (one.group, "")]
        counts = Counter(_kind(one, harmless) for one in mine)
        of_harm = counts["noticed"] + counts["survived"]
        share = f"{counts['noticed'] / of_harm:.1%}" if of_harm else "–"
        lines.append(
            f"| {name or '**all**'} | {len(mine)} | {counts['noticed']} | {counts['without harm']} | "
            f"{counts['survived']} | {share} |"
        )
    for title, kind in (("Survived, and should not", "survived"), ("Survived, without harm", "without harm")):
        some = [one for one in judged if _kind(one, harmless) == kind]
        lines += ["", f"## {title}", ""]
        lines += ["| id | fault | reason |", "|:--|:--|:--|"] if some else ["None."]
        lines += [
            f"| {one.mutation.id} | {described(one.mutation)} | {harmless.get(one.mutation.id, '')} |" for one in some
        ]
    return "\n".join(lines) + "\n"


def _kind(one: Judged, harmless: Mapping[str, str]) -> str:
    if one.verdict in ("killed", "time limit"):
        return "noticed"
    return "without harm" if one.mutation.id in harmless else "survived"


def unreasoned(judged: Sequence[Judged], harmless: Mapping[str, str]) -> list[Judged]:
    """What survived although nothing says that it does no harm."""
    return [one for one in judged if _kind(one, harmless) == "survived"]


def write(text: str, path: Path) -> None:
    """Write the report whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.replace(path)
