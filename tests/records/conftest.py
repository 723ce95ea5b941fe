"""Fixtures of the record tests; the records themselves are written by `tests.records.synthetic`."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """An empty runs root."""
    return tmp_path / "results" / "runs"
