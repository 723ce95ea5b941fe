"""Fixtures of the report tests; the records themselves are written by `tests.records.synthetic`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from arml.reports.published import paper_errors


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """An empty runs root."""
    return tmp_path / "results" / "runs"


@pytest.fixture
def usps_table() -> pd.DataFrame:
    """A table of two methods on USPS that agrees with the paper in every digit."""
    printed = paper_errors("table1")
    rows = printed[(printed["dataset"] == "usps") & printed["method"].isin(["euclidean", "arml"])]
    return rows.assign(error=rows["paper_error"], error_low=0.0, error_high=1.0, n_test=1000).reset_index(drop=True)
