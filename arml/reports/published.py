"""The numbers the paper prints, and the names and order in which it prints them.

The tables of *Provably Robust Metric Learning* lie beside this module as CSV (``paper/arml_table1.csv``: exact errors
of Mahalanobis 1-NN; ``paper/arml_table2.csv``: certified and empirical errors of 11-NN), one row per printed number.
"""

from __future__ import annotations

from importlib.resources import files

import pandas as pd

from arml.records.files import parse_csv

#: Test points behind each printed error (the first 1,000 of the shuffled test set).
PAPER_N_TEST = 1000

#: Datasets in the paper's order, then the project's own, with the names a reader sees.
DATASET_LABELS = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "splice": "Splice",
    "pendigits": "Pendigits",
    "satimage": "Satimage",
    "usps": "USPS",
    "digits": "Digits",
    "toy": "Toy",
}

#: Methods in the paper's order.
METHOD_LABELS = {
    "euclidean": "Euclidean",
    "nca": "NCA",
    "lmnn": "LMNN",
    "itml": "ITML",
    "lfda": "LFDA",
    "arml": "ARML",
}

_FILES = {"table1": "arml_table1.csv", "table2": "arml_table2.csv"}


def paper_errors(table: str) -> pd.DataFrame:
    """The printed errors of a table: columns dataset, method, k, kind, radius, paper_error, in the paper's order.

    Raises
    ------
    ValueError
        If the paper has no table of that name.
    """
    if table not in _FILES:
        raise ValueError(f"no printed numbers for {table!r}; there are: {', '.join(sorted(_FILES))}")
    text = files("arml.reports").joinpath("paper", _FILES[table]).read_text(encoding="utf-8")
    printed = parse_csv(text, {"k": int, "radius": float, "error": float})
    return printed.rename(columns={"error": "paper_error"})


def paper_radii(table: str) -> dict[str, list[float]]:
    """The radius grid of each dataset in a table, increasing."""
    printed = paper_errors(table)
    return {str(name): sorted(set(rows["radius"].tolist())) for name, rows in printed.groupby("dataset", sort=False)}


def dataset_order(name: str) -> tuple[int, str]:
    """Sort key that puts datasets in the paper's order and unknown ones last, by name."""
    return _position(DATASET_LABELS, name), name


def method_order(name: str) -> tuple[int, str]:
    """Sort key that puts methods in the paper's order and unknown ones last, by name."""
    return _position(METHOD_LABELS, name), name


def _position(labels: dict[str, str], name: str) -> int:
    return list(labels).index(name) if name in labels else len(labels)
