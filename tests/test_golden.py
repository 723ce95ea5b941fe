"""No stage's numbers move without its version: see `tests.golden`."""

import json

import pytest

from arml.versions import VERSIONS
from tests import golden

KEPT = json.loads(golden.PATH.read_text(encoding="utf-8"))


def test_every_stage_has_its_numbers():
    assert set(golden.STAGES) == set(VERSIONS) == set(KEPT)


@pytest.mark.parametrize("stage", sorted(VERSIONS))
def test_numbers_move_with_the_version_only(stage):
    assert KEPT[stage]["version"] == VERSIONS[stage], "its version is new: python -m tests.golden --write"
    assert golden.moved(stage, KEPT[stage]["numbers"]) == "", "raise the stage's version in arml/versions.py"


def test_a_moved_number_is_seen():
    numbers = {name: list(values) for name, values in KEPT["certify.one_nn"]["numbers"].items()}
    numbers["upper"][3] *= 1 + 1e-6
    assert golden.moved("certify.one_nn", numbers).startswith("upper[3] is ")
