"""Report files: written whole or not at all, and CSV read to the last digit."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

import pandas as pd


def write_bytes(path: Path, content: bytes) -> Path:
    """Write ``content`` to ``path`` through a temporary file in the same folder; creates the folder. Returns path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_text(path: Path, content: str) -> Path:
    """Write ``content`` as UTF-8 with unix line ends to ``path``, whole or not at all. Returns path."""
    return write_bytes(path, content.encode("utf-8"))


def parse_csv(text: str, types: Mapping[str, type]) -> pd.DataFrame:
    """CSV text with a header as a frame; ``types`` says which columns are int or float, all others are text.

    Floats are read by Python, which returns the very float whose repr was written; pandas' own reader does so only with
    an option that its newer versions deprecate. An empty float field is NaN.

    Raises
    ------
    ValueError
        If a row has too few or too many fields, or a field is not a number where one is due.
    """
    rows = _rows(text)
    if not rows:
        raise ValueError("the file is empty")
    header, body = rows[0], rows[1:]
    for number, row in enumerate(body, start=2):
        if len(row) != len(header):
            raise ValueError(f"line {number} has {len(row)} fields, the header has {len(header)}")
    columns: dict[str, list[object]] = {}
    for name, values in zip(header, zip(*body, strict=True) if body else ((),) * len(header), strict=True):
        kind = types.get(name, str)
        given = [value or "nan" for value in values] if kind is float and "" in values else values
        # Words come again and again: one object for each.
        columns[name] = list(map(sys.intern if kind is str else kind, given))
    return pd.DataFrame(columns, columns=header)


def _rows(text: str) -> list[list[str]]:
    """Lines and fields. Without quotes they are where the commas are, which is much the faster way."""
    if '"' in text or "\r" in text:
        return list(csv.reader(StringIO(text)))
    return [line.split(",") for line in text.split("\n") if line]
