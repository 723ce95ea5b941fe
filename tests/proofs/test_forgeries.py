"""A sample of the bank of forgeries; scripts/forgeries.py draws as many as one likes."""

import numpy as np
import pytest

from arml.proofs import check
from tests.proofs.forgeries import Forgery, forgeries, honest, more_than_the_truth, raised, verdict

SETTINGS = [
    (1, "plurality", None), (1, "plurality", (-1.0, 3.0)), (3, "majority", None), (5, "plurality", None),
    (5, "majority", (-1.0, 3.0)),
]  # fmt: skip


@pytest.mark.parametrize(("K", "event", "box"), SETTINGS)
def test_no_forgery_is_confirmed_and_none_ends_in_a_traceback(K, event, box):
    rng = np.random.default_rng(K)
    result = honest(K, K, event, box)
    assert check(result), check(result).problems
    verdicts = []
    for _, forgery in zip(range(100), forgeries(result, rng), strict=False):
        found = verdict(forgery, check)
        assert found in {"refused", "refused in part", "confirmed, and true"}, (forgery.name, found)
        verdicts.append(found)
    assert verdicts.count("confirmed, and true") < 50
    assert len(set(verdicts)) == 3


def test_the_bank_itself_tells_false_claims():
    """A checker that confirms everything is caught."""
    result = honest(1, 1, "plurality", None)
    report = check(result)
    assert more_than_the_truth(Forgery("honest", result, (result.lower, result.upper)), report) == []
    _, more = raised(result, np.random.default_rng(0))
    assert more_than_the_truth(Forgery("raised", more, (result.lower, result.upper)), report)
