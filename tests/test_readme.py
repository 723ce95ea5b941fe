"""The README says what the repository holds: its table is the committed one, its links and commands exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_usps_table_is_the_committed_one():
    (shown,) = re.findall(r"<!-- table1:usps -->\n(.*?)<!-- /table1:usps -->", README, re.DOTALL)
    table = (ROOT / "results" / "tables" / "table1.md").read_text(encoding="utf-8")
    section = table.split("### USPS")[1].split("\n\n")[1]
    # The letters of footnotes make sense only beside the footnotes.
    assert shown.strip() == re.sub(r" <sup>[\w,]+</sup>", "", section).strip()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(((?!http)[^)]+)\)", README))))
def test_linked_files_exist(target):
    assert (ROOT / target).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"make ([a-z0-9-]+)", README)) - {"is"}))
def test_make_targets_exist(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
