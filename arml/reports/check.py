"""Has a verdict become worse? Compares fresh claims with the committed ones."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from arml.records.files import parse_csv
from arml.reports.claims import COLUMNS as CLAIM_COLUMNS
from arml.reports.claims import Verdict
from arml.reports.tables import CELL
from arml.reports.tables import COLUMNS as TABLE_COLUMNS

_NUMBERS = ("radius", "paper_error", "error", "error_least", "error_low", "error_high", "difference")
_TYPES: dict[str, type] = {"k": int, "n_test": int} | dict.fromkeys(_NUMBERS, float)
_RANK = {verdict.value: rank for rank, verdict in enumerate(Verdict)}


class DamagedReportError(ValueError):
    """A committed table or claims file cannot be read."""


@dataclass(frozen=True)
class Comparison:
    """Fresh claims against committed ones, one line of text per cell.

    Attributes
    ----------
    worse : cells whose verdict ranks lower than the committed one (reproduced, within sampling error, differs)
    vanished : cells with a committed verdict and no fresh one
    improved : cells whose verdict ranks higher
    compared : number of cells that both sides have
    """

    worse: list[str]
    vanished: list[str]
    improved: list[str]
    compared: int

    @property
    def passed(self) -> bool:
        """Whether nothing became worse and nothing vanished."""
        return not (self.worse or self.vanished)


def compare_claims(fresh: pd.DataFrame, committed: pd.DataFrame) -> Comparison:
    """Compare the verdicts of two frames of claims cell by cell; cells only ``fresh`` has are no matter."""
    both = committed[[*CELL, "verdict", "error"]].merge(
        fresh[[*CELL, "verdict", "error"]], on=CELL, how="left", suffixes=("_old", "_new")
    )
    worse, vanished, improved = [], [], []
    for row in both.to_dict("records"):
        cell = f"{row['dataset']}/{row['method']} {row['kind']} at radius {row['radius']:g}"
        if not isinstance(row["verdict_new"], str):
            vanished.append(f"{cell}: was {row['verdict_old']}, now absent")
            continue
        change = (
            f"{cell}: {row['verdict_old']} (error {row['error_old']:.3f}) -> "
            f"{row['verdict_new']} (error {row['error_new']:.3f})"
        )
        step = _RANK[row["verdict_new"]] - _RANK[row["verdict_old"]]
        if step > 0:
            worse.append(change)
        elif step < 0:
            improved.append(change)
    return Comparison(worse, vanished, improved, len(both) - len(vanished))


def parse_claims(text: str, source: str) -> pd.DataFrame:
    """A claims file's text as a frame; ``source`` names it in errors.

    Raises
    ------
    DamagedReportError
        If columns are missing, a cell is there twice, or a verdict is unknown.
    """
    claims = _parse(text, source, CLAIM_COLUMNS)
    unknown = sorted(set(claims["verdict"].astype(str)) - set(_RANK))
    if unknown:
        raise DamagedReportError(f"{source}: unknown verdict {unknown[0]!r}; there are: {', '.join(_RANK)}")
    return claims


def parse_table(text: str, source: str) -> pd.DataFrame:
    """A table's CSV text as a frame like `arml.reports.tables.build_table` makes; ``source`` names it in errors.

    Raises
    ------
    DamagedReportError
        If columns are missing or a cell is there twice.
    """
    return _parse(text, source, TABLE_COLUMNS)


def _parse(text: str, source: str, columns: tuple[str, ...]) -> pd.DataFrame:
    try:
        frame = parse_csv(text, _TYPES)
    except ValueError as error:
        raise DamagedReportError(f"{source} is not a table: {error}") from error
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise DamagedReportError(f"{source} lacks the column {missing[0]!r}; write it anew with scripts/report.py")
    if frame.duplicated(CELL).any():
        raise DamagedReportError(f"{source} has a cell twice; write it anew with scripts/report.py")
    return frame
