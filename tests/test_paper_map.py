"""Every row of docs/paper_map.md names code and a test that exist."""

import ast
import re
from functools import reduce
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROW = re.compile(r"^\| (?P<where>[^|]+) \| [^|]+ \| `(?P<symbol>[^`]+)` \| `(?P<test>[^`]+)` \|$", re.MULTILINE)
TEXT = (ROOT / "docs" / "paper_map.md").read_text(encoding="utf-8")
ROWS = [match.groupdict() for match in ROW.finditer(TEXT)]


def test_every_table_row_is_understood():
    body = [line for line in TEXT.splitlines() if line.startswith("|") and not line.startswith(("|---", "| in the"))]
    assert len(body) == len(ROWS) > 15


@pytest.mark.parametrize("row", ROWS, ids=[row["where"] for row in ROWS])
def test_symbol_and_test_exist(row):
    module, _, name = row["symbol"].partition(":")
    assert reduce(getattr, name.split("."), import_module(module)) is not None
    file, _, function = row["test"].partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert function in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
