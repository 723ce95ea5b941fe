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
except on Satimage, whose published file has another row order, so that the 1,000 points themselves are others.

``direction`` says separately whether ours is better (the smaller error), worse or the same, in printed digits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from enum import StrEnum
from importlib.resources import files

import numpy as np
import pandas as pd

from arml.reports.errors import wilson_interval
from arml.reports.files import parse_csv
from arml.reports.layout import pipes
from arml.reports.published import DATASET_LABELS, METHOD_LABELS, PAPER_N_TEST
from arml.reports.selection import TableSpec

#: Largest difference of printed digits that still counts as reproduced; the slack is for binary rounding only.
TOLERANCE = 0.001 + 1e-9

#: Methods without any randomness, and datasets on which even these are evaluated on other points than the paper's.
DETERMINISTIC_METHODS = frozenset({"euclidean"})
OTHER_TEST_POINTS = frozenset({"satimage"})

COLUMNS = (
    "dataset", "method", "k", "kind", "radius", "paper_error", "error", "error_low", "error_high", "n_test",
    "difference", "verdict", "direction", "reason",
)  # fmt: skip


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
    columns = [claims[name].tolist() for name in ("dataset", "method", "radius", "error", "paper_error", "n_test")]
    for dataset, method, radius, error, paper_error, n_test in zip(*columns, strict=True):
        verdict = judge(dataset, method, error, paper_error, n_test)
        verdicts.append(verdict.value)
        directions.append(direction(error, paper_error))
        explained.append("" if verdict is Verdict.REPRODUCED else find_reason(reasons, dataset, method, radius))
    claims = claims.assign(
        difference=claims["error"] - claims["paper_error"], verdict=verdicts, direction=directions, reason=explained
    )
    return claims[list(COLUMNS)]


def judge(dataset: str, method: str, error: float, paper_error: float, n_test: int) -> Verdict:
    """The verdict on one cell; the module's docstring defines it."""
    if abs(round(error, 3) - paper_error) <= TOLERANCE:
        return Verdict.REPRODUCED
    if method in DETERMINISTIC_METHODS and dataset not in OTHER_TEST_POINTS:
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


def direction(error: float, paper_error: float) -> str:
    """ "better" where our printed error is smaller than the paper's, "worse" where it is larger, else "same"."""
    gap = round(error, 3) - paper_error
    if abs(gap) < 0.0005:
        return "same"
    return "better" if gap < 0 else "worse"


def load_reasons(table: str) -> pd.DataFrame:
    """Known reasons for differences: ``reasons/<table>.csv`` with columns dataset, method, radius, reason.

    An empty field means "every". Where several rows fit a cell the one with the fewest empty fields is taken, and of
    those the first.

    Raises
    ------
    ValueError
        If a row names a dataset or method the project does not have, or gives no reason.
    """
    text = files("arml.reports").joinpath("reasons", f"{table}.csv").read_text(encoding="utf-8")
    reasons = parse_csv(text, {})
    for line, (dataset, method, _, reason) in enumerate(reasons.itertuples(index=False, name=None), start=2):
        for name, known in ((dataset, DATASET_LABELS), (method, METHOD_LABELS)):
            if name and name not in known:
                raise ValueError(f"reasons/{table}.csv line {line}: unknown name {name!r}; known: {', '.join(known)}")
        if not reason:
            raise ValueError(f"reasons/{table}.csv line {line}: the reason is empty")
    return reasons


def find_reason(reasons: pd.DataFrame, dataset: str, method: str, radius: float) -> str:
    """The most specific reason for a cell, or an empty string."""
    best, best_fields = "", -1
    for for_dataset, for_method, for_radius, reason in reasons.itertuples(index=False, name=None):
        fits = for_dataset in ("", dataset) and for_method in ("", method)
        fields = sum(map(bool, (for_dataset, for_method, for_radius)))
        if fits and (not for_radius or float(for_radius) == radius) and fields > best_fields:
            best, best_fields = str(reason), fields
    return best


def claims_csv(claims: pd.DataFrame) -> str:
    """The claims as CSV text with every digit."""
    return str(claims.to_csv(index=False, lineterminator="\n"))


def claims_markdown(claims: pd.DataFrame, spec: TableSpec) -> str:
    """The claims as Markdown: the definitions, a count of verdicts, then every cell."""
    better = int((claims["direction"] == "better").sum())
    lines = [
        f"# Claims of {spec.name}",
        "",
        "Every number of the paper beside ours, with the 95 % Wilson interval of ours.",
        "",
        "- **reproduced**: the printed three digits agree up to 0.001.",
        "- **within sampling error**: they do not, but 0 lies in the 95 % Newcombe interval of the difference of two",
        "  proportions (ours of n points, the paper's of 1,000). Not available to Euclidean, which has no randomness,",
        "  except on Satimage, whose file gives other test points than the paper's.",
        "- **differs**: neither.",
        "",
        f"In {better} of {len(claims)} cells our error is smaller than the paper's (better).",
        "",
        pipes(["Dataset", "Method", *(verdict.value for verdict in Verdict), "better", "worse"]),
        pipes([":--", ":--", *("--:" for _ in range(len(Verdict) + 2))]),
    ]
    for (dataset, method), rows in claims.groupby(["dataset", "method"], sort=False):
        counts = Counter([*rows["verdict"], *rows["direction"]])
        shown = [str(counts[name]) for name in (*(verdict.value for verdict in Verdict), "better", "worse")]
        lines.append(pipes([_label(dataset, DATASET_LABELS), _label(method, METHOD_LABELS), *shown]))
    for dataset, rows in claims.groupby("dataset", sort=False):
        head = ["Method", "radius", "paper", "ours", "95 % interval", "n", "verdict", "direction", "reason"]
        lines += ["", f"## {_label(dataset, DATASET_LABELS)}", "", pipes(head)]
        lines.append(pipes([":--", *("--:" for _ in range(5)), ":--", ":--", ":--"]))
        lines += [_claim_line(row) for row in rows.to_dict("records")]
    return "\n".join(lines) + "\n"


def _claim_line(row: Mapping[Hashable, object]) -> str:
    number = {name: f"{row[name]:.3f}" for name in ("radius", "paper_error", "error", "error_low", "error_high")}
    return pipes(
        [
            _label(row["method"], METHOD_LABELS),
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
