"""Claims field by field: what is not one is refused, whatever else is in order."""

import json
from dataclasses import replace

import numpy as np
import pytest

from arml.proofs import Claim, RecheckReport, Subject
from arml.proofs.files import _check_claim
from arml.proofs.formats import DamagedProofError, EntryProof, TreeProof, _check_pointer
from arml.proofs.validity import check_claim

SUBJECT = Subject(np.eye(2), np.zeros((4, 2)), np.arange(4), np.ones((1, 2)), np.zeros(1, dtype=np.int64))
CLAIM = Claim.about(SUBJECT, 3, "majority", (-1.0, 2.0), {})


def test_a_claim_comes_back_from_its_text():
    for claim in (CLAIM, replace(CLAIM, box=(-np.inf, np.inf)), replace(CLAIM, box=(0.5, np.inf))):
        assert Claim.from_text(claim.text()) == claim


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_neighbors", "3"), ("n_neighbors", 3.0), ("n_neighbors", True), ("n_neighbors", None), ("norm", "2"),
        ("norm", None), ("norm", True), ("box", None), ("box", [1.0]), ("box", [0.0, 1.0, 2.0]), ("box", ["0", 1.0]),
        ("box", [True, 1.0]), ("event", 3), ("event", None), ("components", 1), ("X_train", None), ("y_train", []),
        ("X", {}), ("y", 0),
    ],
)  # fmt: skip
def test_fields_of_the_wrong_type_are_refused(field, value):
    values = json.loads(CLAIM.text()) | {field: value}
    with pytest.raises(ValueError, match="a claim's field is of the wrong type"):
        Claim.from_text(json.dumps(values))


def test_fields_that_are_missing_or_too_many_are_refused():
    values = json.loads(CLAIM.text())
    for name in values:
        left = {key: value for key, value in values.items() if key != name}
        with pytest.raises(ValueError, match="a claim consists of "):
            Claim.from_text(json.dumps(left))
    with pytest.raises(ValueError, match="a claim consists of "):
        Claim.from_text(json.dumps(values | {"more": 1}))
    with pytest.raises(ValueError, match="a claim consists of "):
        Claim.from_text("[]")


@pytest.mark.parametrize(
    ("entries", "changes", "message"),
    [
        (False, {"n_neighbors": 2}, "K = 2, which is not"), (False, {"n_neighbors": 0}, "K = 0, which is not"),
        (False, {"n_neighbors": -1}, "K = -1, which is not"), (True, {}, "is one for K = 1, not for K = 3"),
        (False, {"n_neighbors": True}, "K = True, which"), (False, {"n_neighbors": 3.0}, "K = 3.0, which"),
        (False, {"event": "loss"}, "unknown event 'loss'"), (False, {"norm": 1.0}, "the norm 1.0; there are"),
        (False, {"box": (2.0, 1.0)}, "is empty"), (False, {"box": (np.nan, 1.0)}, "not a pair"),
        (False, {"box": ("a", "b")}, "not a pair"), (False, {"box": None}, "not a pair"),
        (False, {"norm": "2"}, "the norm '2'"), (False, {"X": None}, "X is not text"),
        (False, {"box": (np.inf, np.inf)}, "is empty"), (False, {"box": (-np.inf, -np.inf)}, "is empty"),
    ],
)  # fmt: skip
def test_claims_that_cannot_be_checked_are_refused(entries, changes, message):
    with pytest.raises(DamagedProofError, match=message):
        _check_claim(replace(CLAIM, **changes), entries)
    _check_claim(CLAIM, False)
    _check_claim(replace(CLAIM, n_neighbors=1, box=(0.0, 0.0)), True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_neighbors": 2}, "K = 2, which is not an odd positive integer"), ({"n_neighbors": 0}, "K = 0, which"),
        ({"n_neighbors": -1}, "K = -1, which"), ({"n_neighbors": True}, "K = True, which"),
        ({"n_neighbors": 3.0}, "K = 3.0, which"), ({"event": "loss"}, "for the unknown event 'loss'"),
        ({"event": 1}, "the claim's event is not text"), ({"y": 1}, "the claim's y is not text"),
        ({"norm": 1.0}, "for the norm 1.0"), ({"norm": True}, "for the norm True"), ({"norm": "2"}, "for the norm '2'"),
        ({"box": (2.0, 1.0)}, "is empty"), ({"box": (np.inf, np.inf)}, "is empty"), ({"box": [0.0, 1.0]}, "not a pair"),
        ({"box": (-np.inf, -np.inf)}, "is empty"), ({"box": (0.0,)}, "not a pair"), ({"box": (0.0, "1")}, "not a pair"),
        ({"box": (np.nan, 1.0)}, "not a pair"),
    ],
)  # fmt: skip
def test_claims_in_memory_are_refused_likewise(changes, message):
    with pytest.raises(ValueError, match=message):
        check_claim(replace(CLAIM, **changes))
    check_claim(CLAIM)


@pytest.mark.parametrize(
    ("pointer", "items", "total"),
    [
        ([0, 2, 1, 3], 3, 3), ([1, 2, 3], 2, 3), ([0, 1, 3], 3, 3), ([0, 1, 2], 1, 2), ([0, 1, 2], 2, 3),
        ([0, 1, 4], 2, 3), ([0], -1, 0), ([-1, 1, 2], 2, 2), ([0, 3, 3, 2], 3, 2),
    ],
)  # fmt: skip
def test_pointers_that_describe_something_else_are_refused(pointer, items, total):
    with pytest.raises(DamagedProofError, match=f"'rows' does not describe {items} items with {total} values"):
        _check_pointer("rows", np.array(pointer), items, total)
    _check_pointer("rows", np.array([0, 2, 2, 3]), 3, 3)
    _check_pointer("rows", np.array([0]), 0, 0)


TREE = {
    "point_ptr": np.array([0, 2]), "points": np.arange(2), "node_ptr": np.array([0, 3]), "parent": np.array([-1, 0, 0]),
    "point": np.array([-1, 0, 0]), "low": np.array([False, True, False]), "pair_ptr": np.array([0, 0, 1, 1]),
    "pairs": np.array([[0, 1]]), "weight": np.ones(1),
}  # fmt: skip
ENTRY = {
    "entry_ptr": np.array([0, 1]), "entry_other": np.array([2]), "row_ptr": np.array([0, 2]), "row": np.arange(2),
    "weight": np.ones(2),
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "arrays", "name", "named"),
    [
        (TreeProof, TREE, "point", "parent, point, low"), (TreeProof, TREE, "low", "parent, point, low"),
        (TreeProof, TREE, "weight", "pairs, weight"), (EntryProof, ENTRY, "weight", "row, weight"),
    ],
)  # fmt: skip
def test_arrays_that_belong_together_are_of_one_length(kind, arrays, name, named):
    assert len(kind.from_arrays(CLAIM, arrays)) == 1
    for other in (arrays[name][:-1], np.concatenate([arrays[name], arrays[name][-1:]])):
        with pytest.raises(DamagedProofError, match=f"damaged proof: {named} differ in length"):
            kind.from_arrays(CLAIM, arrays | {name: other})


def test_a_report_holds_where_all_of_it_does():
    assert RecheckReport(np.ones(2, bool), ())
    assert not RecheckReport(np.array([True, False]), ((1, "no"),))
    assert not RecheckReport(np.zeros(2, bool), ((0, "no"), (1, "no")))
