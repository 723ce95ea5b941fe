"""Claims: the paper's number, ours, and a verdict for every cell of a table.

Definition of the verdicts
--------------------------
reproduced
    Our error, rounded to the three digits the paper prints, differs from the printed one by at most 0.001.
within sampling error
    It does not, but the 95 % interval of the difference of the two errors contains 0. Both are taken as proportions
    of independent samples (ours of ``n_test`` points, the paper's of 1,000), and the interval is Newcombe's, which is
    built from Wilson's, with ``d = p1 - p2``: it reaches from ``d - sqrt((p1 - l1)^2 + (u2 - p2)^2)`` to
    ``d + sqrt((u1 - p1)^2 + (p2 - l2)^2)``.
differs
    Neither.

Both sides evaluate nearly the same test points, so where the metric is the same too, no sampling is left to explain a
difference. The independent interval is therefore meant for what does vary: the random draws of training, the subset a
baseline was fitted on, the versions of the libraries. Euclidean has none of these. It is only reproduced, or differs;
except on Satimage, whose published file has another row order, so that the 1,000 points themselves are others. This
holds for exact and certified errors. An attack walks at random, from starting points of its own choice, so its errors
are never deterministic, not even for Euclidean, and the sampling verdict is open to all of them.

For an attack the verdict so compares two runs that step at random. Where the metric and the points are the same the
interval is generous, the more so the fewer points were attacked: "within sampling error" is weak evidence there.

Where exact radii are only bounded, the error that is judged is the proven one, the most that it can be.

``direction`` says separately, in printed digits, whether ours is better (the smaller error), worse or the same. Where
the error is an attack's it says smaller, larger or the same: a larger one means a stronger attack where the metric is
the same, so that it is no matter of better or worse.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Mapping
from enum import StrEnum
from importlib.resources import files

import numpy as np
import pandas as pd

from arml.records.files import parse_csv
from arml.reports.errors import wilson_interval
from arml.reports.layout import pipes
from arml.reports.published import DATASET_LABELS, METHOD_LABELS, PAPER_N_TEST
from arml.reports.selection import TABLES, TableSpec

#: Largest difference of printed digits that still counts as reproduced; the slack is for binary rounding only.
TOLERANCE = 0.001 + 1e-9

#: Methods without any randomness, kinds of error without any (all others are attacks'), and datasets on which even
#: these are evaluated on other points than the paper's.
DETERMINISTIC_METHODS = frozenset({"euclidean"})
PROVEN_KINDS = frozenset({"exact", "certified"})
OTHER_TEST_POINTS = frozenset({"satimage"})

#: The paper whose printed numbers are claimed.
PAPER = "Wang et al., Provably Robust Metric Learning, NeurIPS 2020"

COLUMNS = (
    "dataset", "method", "k", "kind", "radius", "paper_error", "error", "error_low", "error_high", "n_test",
    "difference", "verdict", "direction", "reason",
)  # fmt: skip
REASON_COLUMNS = ("dataset", "method", "kind", "radius", "reason")


class Verdict(StrEnum):
    """How our number stands to the paper's, best first."""

    REPRODUCED = "reproduced"
    WITHIN = "within sampling error"
    DIFFERS = "differs"


def make_claims(table: pd.DataFrame, reasons: pd.DataFrame) -> pd.DataFrame:
    """Claims of a table (`arml.reports.tables.build_table`) in its order: `COLUMNS`, cells with a paper number only.

    ``difference`` is ours minus the paper's. ``reason`` is looked up for cells that are not reproduced.
    """
    claims = table[table["paper_error"].notna()].reset_index(drop=True)
    verdicts, directions, explained = [], [], []
    names = ("dataset", "method", "kind", "radius", "error", "paper_error", "n_test")
    columns = [claims[name].tolist() for name in names]
    for dataset, method, kind, radius, error, paper_error, n_test in zip(*columns, strict=True):
        verdict = judge(dataset, method, kind, error, paper_error, n_test)
        verdicts.append(verdict.value)
        directions.append(direction(kind, error, paper_error))
        known = "" if verdict is Verdict.REPRODUCED else find_reason(reasons, dataset, method, kind, radius)
        explained.append(known)
    claims = claims.assign(
        difference=claims["error"] - claims["paper_error"], verdict=verdicts, direction=directions, reason=explained
    )
    return claims[list(COLUMNS)]


def judge(dataset: str, method: str, kind: str, error: float, paper_error: float, n_test: int) -> Verdict:
    """The verdict on one cell; the module's docstring defines it."""
    if abs(round(error, 3) - paper_error) <= TOLERANCE:
        return Verdict.REPRODUCED
    deterministic = method in DETERMINISTIC_METHODS and kind in PROVEN_KINDS
    if deterministic and dataset not in OTHER_TEST_POINTS:
        return Verdict.DIFFERS
    low, high = difference_interval(error, n_test, paper_error, PAPER_N_TEST)
    return Verdict.WITHIN if low <= 0 <= high else Verdict.DIFFERS


def difference_interval(p1: float, n1: int, p2: float, n2: int) -> tuple[float, float]:
    """Newcombe's 95 % interval of ``p1 - p2``, two proportions of independent samples of n1 and n2 points."""
    (low1, high1), (low2, high2) = wilson_interval(p1, n1), wilson_interval(p2, n2)
    difference = p1 - p2
    return (
        difference - float(np.hypot(p1 - low1, high2 - p2)),
        difference + float(np.hypot(high1 - p1, p2 - low2)),
    )


def direction(kind: str, error: float, paper_error: float) -> str:
    """ "better" where our printed error is smaller than the paper's, "worse" where it is larger, else "same".

    Of an attack's error: "smaller", "larger" and "same".
    """
    gap = round(error, 3) - paper_error
    if abs(gap) < 0.0005:
        return "same"
    below, above = ("better", "worse") if kind in PROVEN_KINDS else ("smaller", "larger")
    return below if gap < 0 else above


def load_reasons(table: str) -> pd.DataFrame:
    """Known reasons for differences: ``reasons/<table>.csv`` with columns dataset, method, kind, radius, reason.

    An empty field means "every". Where several rows fit a cell the one with the fewest empty fields is taken, and of
    those the first.

    Raises
    ------
    ValueError
        If the columns are others, a row names a dataset, method or kind that there is not, or it gives no reason.
    """
    text = files("arml.reports").joinpath("reasons", f"{table}.csv").read_text(encoding="utf-8")
    reasons = parse_csv(text, {})
    if tuple(reasons.columns) != REASON_COLUMNS:
        raise ValueError(f"reasons/{table}.csv must have the columns {', '.join(REASON_COLUMNS)}")
    kinds = [kind.name for kind in TABLES[table].kinds]
    for line, (dataset, method, kind, _, reason) in enumerate(reasons.itertuples(index=False, name=None), start=2):
        for name, known in ((dataset, DATASET_LABELS), (method, METHOD_LABELS), (kind, kinds)):
            if name and name not in known:
                raise ValueError(f"reasons/{table}.csv line {line}: unknown name {name!r}; known: {', '.join(known)}")
        if not reason:
            raise ValueError(f"reasons/{table}.csv line {line}: the reason is empty")
    return reasons


def find_reason(reasons: pd.DataFrame, dataset: str, method: str, kind: str, radius: float) -> str:
    """The most specific reason for a cell, or an empty string."""
    best, best_fields = "", -1
    for *wanted, for_radius, reason in reasons.itertuples(index=False, name=None):
        fits = all(want in ("", have) for want, have in zip(wanted, (dataset, method, kind), strict=True))
        fields = sum(map(bool, (*wanted, for_radius)))
        if fits and (not for_radius or float(for_radius) == radius) and fields > best_fields:
            best, best_fields = str(reason), fields
    return best


def claims_csv(claims: pd.DataFrame) -> str:
    """The claims as CSV text with every digit."""
    return str(claims.to_csv(index=False, lineterminator="\n"))


def claims_json(claims: pd.DataFrame, spec: TableSpec, records: Mapping[tuple[str, str, str], str]) -> str:
    """The claims as JSON, one object a cell, with the record that it stands on.

    ``records`` names it for each (dataset, method, kind); a cell without one is of before records were kept.
    """
    cells = []
    for row in claims.to_dict("records"):
        names = (str(row["dataset"]), str(row["method"]), str(row["kind"]))
        record = records.get(names)
        cells.append({
            "dataset": names[0], "method": names[1], "kind": names[2], "k": int(row["k"]), "radius": row["radius"],
            "printed": row["paper_error"], "ours": row["error"], "interval": [row["error_low"], row["error_high"]],
            "n_test": int(row["n_test"]), "verdict": row["verdict"], "direction": row["direction"],
            "reason": row["reason"], "records": [] if record is None else [record],
        })  # fmt: skip
    head = {"paper": PAPER, "table": spec.name, "interval": "95 % Wilson interval of our error"}
    # A line a cell, so that a change of one shows as one.
    lines = ",\n".join("  " + json.dumps(cell, ensure_ascii=False, allow_nan=False) for cell in cells)
    return json.dumps(head, ensure_ascii=False, indent=1)[:-2] + ',\n "cells": [\n' + lines + "\n ]\n}\n"


def claims_markdown(claims: pd.DataFrame, spec: TableSpec) -> str:
    """The claims as Markdown: the definitions, a count of verdicts, then every cell."""
    several = len(spec.kinds) > 1
    kind_head, kind_line = (["Kind"], [":--"]) if several else ([], [])
    lines = [*_definitions(spec), *_counts(claims, spec)]
    for dataset, rows in claims.groupby("dataset", sort=False):
        head = ["Method", *kind_head, "radius", "paper", "ours", "95 % interval", "n", "verdict", "direction", "reason"]
        lines += ["", f"## {_label(dataset, DATASET_LABELS)}", "", pipes(head)]
        lines.append(pipes([":--", *kind_line, *("--:" for _ in range(5)), ":--", ":--", ":--"]))
        lines += [_claim_line(row, several) for row in rows.to_dict("records")]
    return "\n".join(lines) + "\n"


def _definitions(spec: TableSpec) -> list[str]:
    exception = ["  except on Satimage, whose file gives other test points than the paper's."]
    remark = []
    for kind in spec.kinds:
        if kind.is_attack and kind.paper:
            exception = [
                "  except on Satimage, whose file gives other test points than the paper's, and where the error is an",
                "  attack's, which walks at random whatever the metric.",
            ]
            remark = [
                f"- Kind **{kind.name}**, the {kind.title}, is what the paper calls {kind.paper}.",
                "  There **within sampling error** compares different runs of an attack with random steps, ours on n",
                "  points. Where metric and points are the same, an interval of independent samples is generous, the",
                "  more so the smaller n is: the verdict is weak evidence of agreement.",
                "- **direction** is better (ours is smaller), worse or same for certified errors. For an attack's",
                "  error it is smaller, larger or same, and no judgement: on the same metric a larger empirical error",
                "  means a stronger attack; a smaller one may be the metric's merit or the attack's weakness.",
            ]
    return [
        f"# Claims of {spec.name}",
        "",
        "Every number of the paper beside ours, with the 95 % Wilson interval of ours.",
        "",
        "- **reproduced**: the printed three digits agree up to 0.001.",
        "- **within sampling error**: they do not, but 0 lies in the 95 % Newcombe interval of the difference of two",
        "  proportions (ours of n points, the paper's of 1,000). Not available to Euclidean, which has no randomness,",
        *exception,
        "- **differs**: neither.",
        *_proven_error(spec),
        *remark,
        "",
    ]


def _proven_error(spec: TableSpec) -> list[str]:
    if not any(kind.is_exact and kind.paper for kind in spec.kinds):
        return []
    return [
        "- Where an exact error is known to lie between two numbers, ours here is the larger one: what is proven. The",
        "  table shows both.",
    ]


def _counts(claims: pd.DataFrame, spec: TableSpec) -> list[str]:
    several = len(spec.kinds) > 1
    proven = claims[claims["kind"].isin(PROVEN_KINDS)]
    better = int((proven["direction"] == "better").sum())
    which = " and ".join(kind.name for kind in spec.kinds if kind.paper and not kind.is_attack) + " " if several else ""
    verdicts = [verdict.value for verdict in Verdict]
    words = ["better", "worse", *(["smaller", "larger"] if several else [])]
    more_heads, more_rules = (["Kind", "n"], [":--", "--:"]) if several else ([], [])
    lines = [
        f"In {better} of {len(proven)} {which}cells our error is smaller than the paper's (better).",
        "",
        pipes(["Dataset", "Method", *more_heads, *verdicts, *words]),
        pipes([":--", ":--", *more_rules, *("--:" for _ in (*verdicts, *words))]),
    ]
    for (dataset, method, kind), rows in claims.groupby(["dataset", "method", "kind"], sort=False):
        counts = Counter([*rows["verdict"], *rows["direction"]])
        said = words[:2] if kind in PROVEN_KINDS else words[2:]
        shown = [str(counts[name]) if name in (*verdicts, *said) else "" for name in (*verdicts, *words)]
        # The cells of a method and kind come from one record, so n is the same for all.
        more = [str(kind), f"{rows['n_test'].iloc[0]:,}"] if several else []
        lines.append(pipes([_label(dataset, DATASET_LABELS), _label(method, METHOD_LABELS), *more, *shown]))
    return lines


def _claim_line(row: Mapping[Hashable, object], several: bool) -> str:
    number = {name: f"{row[name]:.3f}" for name in ("radius", "paper_error", "error", "error_low", "error_high")}
    return pipes(
        [
            _label(row["method"], METHOD_LABELS),
            *([str(row["kind"])] if several else []),
            number["radius"],
            number["paper_error"],
            number["error"],
            f"{number['error_low']} to {number['error_high']}",
            f"{row['n_test']:,}",
            str(row["verdict"]),
            str(row["direction"]),
            str(row["reason"]).replace("|", "\\|"),
        ]
    )


def _label(name: object, labels: dict[str, str]) -> str:
    return labels.get(str(name), str(name))
