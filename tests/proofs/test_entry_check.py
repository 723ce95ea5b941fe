"""Proofs for K = 1: what is honest is confirmed, what claims more than the truth is not, and why is said."""

from dataclasses import replace

import numpy as np
import pytest

from arml import MahalanobisKNN, recheck
from arml.proofs import check
from tests.proofs.forgeries import proven
from tests.proofs.handmade import about, result_of, sq_radius, with_data

BOX = (-1.0, 2.5)


@pytest.fixture(scope="module", params=[None, BOX], ids=["free", "box"])
def result(request):
    rng = np.random.default_rng(5)
    y = rng.integers(0, 3, 150)
    X = rng.normal(size=(150, 5)) + 0.8 * y[:, None]
    G, points = rng.normal(size=(5, 5)), rng.normal(size=(30, 5)) + 0.8
    found = proven(G, X, y, points, None, 1, "plurality", request.param)
    assert check(found), check(found).problems
    assert (found.status == "exact").all()
    return found


def problems(result, **changes):
    return dict(check(replace(result, **changes)).problems)


def with_proof(result, **arrays):
    return replace(result.proof, **arrays)


@pytest.mark.parametrize("factor", [1e-9, 1e-6, 1e-2, 0.3])
def test_lower_bounds_above_the_truth_are_refused(result, factor):
    """Every one of them: the honest upper bounds are at most 1e-6 above the truth."""
    lower = result.upper * (1 + factor)
    status = np.full(len(lower), "bounded")
    refused = problems(result, lower=lower, upper=np.full(len(lower), np.inf), status=status,
                       perturbation=np.zeros_like(result.perturbation))  # fmt: skip
    assert len(refused) == len(lower)
    assert all("nothing proves that training point" in problem for problem in refused.values())


def test_a_perturbation_that_does_not_reach_is_refused(result):
    factor = 1 - 2e-6
    upper, lower = result.upper * factor, np.minimum(result.lower, result.upper * factor)
    refused = problems(result, lower=lower, upper=upper, perturbation=result.perturbation * factor)
    assert len(refused) == len(lower)
    assert all("the label still wins" in problem for problem in refused.values())


def test_a_perturbation_of_another_norm_is_refused(result):
    refused = problems(result, perturbation=result.perturbation * (1 + 1e-9))
    assert all("the perturbation has norm" in problem for problem in refused.values())
    assert len(refused) == len(result.lower)


def test_a_perturbation_without_upper_bound_is_refused(result):
    upper, status = result.upper.copy(), result.status.copy()
    upper[3], status[3] = np.inf, "bounded"
    assert problems(result, upper=upper, status=status) == {
        3: "there is a perturbation although upper is infinite"
    }  # fmt: skip


def test_a_wide_gap_is_not_called_exact(result):
    lower = result.lower.copy()
    lower[2] *= 1 - 3e-6
    assert "too large to be called exact" in problems(result, lower=lower)[2]
    assert not check(result, gap=0.0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda w: -w, "a weight is negative or not finite"),
        (lambda w: np.full_like(w, np.nan), "a weight is negative or not finite"),
        (lambda w: np.full_like(w, np.inf), "a weight is negative or not finite"),
        (lambda w: 0 * w, "nothing proves"),
        (lambda w: w * 1e-300 * 1e-20, "nothing proves"),
    ],
)
def test_weights_without_meaning(result, spoil, message):
    refused = problems(result, proof=with_proof(result, weight=spoil(result.proof.weight)))
    assert refused
    assert all(message in problem for problem in refused.values())


@pytest.mark.parametrize("scale", [1e-250, 1e250])
def test_only_ratios_of_weights_count(result, scale):
    assert not problems(result, proof=with_proof(result, weight=result.proof.weight * scale))


def test_entries_left_out_prove_less(result):
    old, none = result.proof, np.zeros(0, dtype=np.int64)
    empty = with_proof(result, entry_ptr=0 * old.entry_ptr, entry_other=none, row_ptr=none[:1].repeat(0),
                       row=none, weight=np.zeros(0))  # fmt: skip
    empty = replace(empty, row_ptr=np.zeros(1, dtype=np.int64))
    refused = problems(result, proof=empty)
    assert refused
    assert all("nothing proves" in problem for problem in refused.values())


def test_a_row_of_another_class_is_refused(result):
    """A pair of two points of other classes is no constraint at all."""
    proof, subject = result.proof, result.subject
    row = proof.row.copy()
    first = int(np.flatnonzero(row >= 0)[0])
    of = np.searchsorted(proof.entry_ptr, np.searchsorted(proof.row_ptr, first, side="right") - 1, side="right") - 1
    row[first] = np.flatnonzero(subject.y_train != subject.y[of])[0]
    assert problems(result, proof=with_proof(result, row=row))[int(of)] == "a row is of another class than the label's"


def test_entries_on_points_of_the_label_or_none_are_refused(result):
    proof, subject = result.proof, result.subject
    i = int(np.flatnonzero(np.diff(proof.entry_ptr))[0])
    for wrong in (int(np.flatnonzero(subject.y_train == subject.y[i])[0]), -1, len(subject.X_train), -(2**63)):
        other = proof.entry_other.copy()
        other[proof.entry_ptr[i]] = wrong
        refused = problems(result, proof=with_proof(result, entry_other=other))
        assert refused[i] == "an entry names a point that is not of another class"


@pytest.mark.parametrize("row", [150, -11, -(2**63), 2**63 - 1])
def test_rows_that_do_not_exist_are_refused(result, row):
    refused = problems(result, proof=with_proof(result, row=np.full_like(result.proof.row, row)))
    assert refused
    message = "a row names a training point or a bound of the box that does not exist"
    assert set(refused.values()) == {message}


def test_bounds_of_a_box_that_is_not_there_are_refused(result):
    refused = problems(result, proof=with_proof(result, row=np.full_like(result.proof.row, -1)))
    if np.isinf(result.claim.box[0]):
        assert set(refused.values()) == {"a row names a bound of the box where there is none"}
    else:
        assert all("nothing proves" in problem for problem in refused.values())


@pytest.mark.parametrize("status", ["misclassified", "tied"])
def test_a_radius_of_zero_is_a_claim_like_any_other(result, status):
    zero = np.zeros(len(result.lower))
    refused = problems(result, lower=zero, upper=zero, status=np.full(len(zero), status),
                       perturbation=np.zeros_like(result.perturbation))  # fmt: skip
    assert len(refused) == len(zero)
    assert all("the label still wins" in problem for problem in refused.values())
    assert "but the radius is not 0" in problems(result, status=np.full(len(zero), status))[0]


def test_unreachable_is_a_claim_like_any_other(result):
    never = np.full(len(result.lower), np.inf)
    changes = {"upper": never, "status": np.full(len(never), "unreachable"), "perturbation": 0 * result.perturbation}
    refused = problems(result, lower=never, **changes)
    assert len(refused) == len(never)
    expected = "nothing proves" if np.isfinite(result.claim.box[0]) else "the radius is not infinite"
    assert all(expected in problem for problem in refused.values())
    assert "does not fit" in problems(result, **changes)[0]
    assert "unknown status 'proven'" in problems(result, status=np.full(len(never), "proven"))[0]


def test_a_box_too_small_for_any_attack():
    X, y, x = np.array([[0.0], [2.0], [2.1]]), np.array([0, 1, 1]), np.zeros((1, 1))
    for high, reached in ((0.9, False), (1.0, True), (1.1, True)):
        found = proven(np.eye(1), X, y, x, np.array([0]), 1, "plurality", (0.0, high))
        never = replace(found, lower=np.array([np.inf]), upper=np.array([np.inf]), status=np.array(["unreachable"]),
                        perturbation=np.zeros((1, 1)))  # fmt: skip
        assert bool(check(never)) != reached


def test_perturbations_outside_the_box_are_refused(result):
    if np.isinf(result.claim.box[0]):
        return
    subject = result.subject
    free = proven(subject.components, subject.X_train, subject.y_train, subject.X, subject.y, 1, "plurality", None)
    there = subject.X + free.perturbation
    outside = ((there < np.minimum(BOX[0], subject.X) - 1e-6) | (there > np.maximum(BOX[1], subject.X) + 1e-6)).any(1)
    refused = problems(result, upper=free.upper, perturbation=free.perturbation, lower=free.lower, status=free.status)
    assert outside.any()
    assert {i for i, problem in refused.items() if problem == "the perturbation leaves the box"} == set(
        np.flatnonzero(outside).tolist()
    )


@pytest.mark.parametrize("unit", [2.0**-40, 1.0, 2.0**40])
def test_the_room_of_a_box_has_the_unit_of_the_points(unit):
    """Data at another scale: the same radii times the scale, confirmed, and none above."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 60)
    X = rng.uniform(0, 1, size=(60, 4)) + 0.5 * y[:, None]
    # None on the bounds of the box: a room of 0 is 0 in every unit.
    points = rng.uniform(0.02, 0.6, size=(40, 4))
    found = proven(rng.normal(size=(4, 4)), unit * X, y, unit * points, None, 1, "plurality", (0.0, 0.62 * unit))
    assert (found.proof.row < 0).any()
    assert check(found), check(found).problems
    known = np.isfinite(found.upper) & (found.upper > 0)
    lower, never = np.where(known, found.upper * (1 + 1e-6), found.lower), np.where(known, np.inf, found.upper)
    status = np.where(known, "bounded", found.status)
    more = replace(found, lower=lower, upper=never, status=status, perturbation=0 * found.perturbation)
    assert not check(more).ok[known].any()


def test_nearer_enemies_are_noticed(result):
    """Points that the proof says nothing about, appended to the training set, with digests renewed."""
    subject = result.subject
    enemies = subject.X + 0.5 * result.perturbation
    forged = with_data(
        result, X_train=np.concatenate([subject.X_train, enemies]),
        y_train=np.concatenate([subject.y_train, (subject.y + 1) % 3]),
    )  # fmt: skip
    refused = dict(check(forged).problems)
    assert len(refused) == len(subject.X)
    assert all("nothing proves that training point" in problem for problem in refused.values())


FAR = (1e5, 1e6, 1e7, 1e8, 1e12)


@pytest.mark.parametrize("far", FAR)
@pytest.mark.parametrize("label", [0, 1])
def test_a_far_training_row_neither_helps_nor_harms(far, label):
    """The radius in rationals: claims up to it are confirmed, and none above, whatever a far row's rounding is."""
    rng = np.random.default_rng(3)
    G = rng.normal(size=(3, 3))
    for _ in range(10):
        own, x = rng.normal(size=3), rng.normal(size=3)
        others = rng.normal(size=(6, 3)) + 2
        X = np.vstack([own, others, np.full((1, 3), far)])
        subject = about(G, X, [0] + [1] * 6 + [label], x, 0)
        squares = [sq_radius(G, own, other, x) for other in others]
        truth = float(min(squares)) ** 0.5 if min(squares) > 0 else 0.0
        nothing = np.zeros(3)
        if truth == 0.0:
            assert check(result_of(subject, 0, 0, "misclassified", nothing))
            continue
        assert not check(result_of(subject, 0, 0, "tied", nothing))
        assert check(result_of(subject, truth * (1 - 1e-11), np.inf, "bounded", nothing))
        for more in (1e-14, 1e-11, 1e-6, 0.3):
            assert not check(result_of(subject, truth * (1 + more), np.inf, "bounded", nothing))


@pytest.mark.parametrize("far", [1e4, 1e6, 1e8])
def test_two_far_groups_do_not_blur_each_other(far):
    """Each group has points of both classes, in units of 1, and test points see their own group as finely."""
    rng = np.random.default_rng(1)
    group = rng.normal(size=(2, 2))
    near = np.vstack([group, group + far])
    here = near - np.vstack([np.zeros((2, 2)), np.full((2, 2), far)])
    for start in (0, 2):
        x = near[start] + rng.normal(size=2) * 0.1
        subject = about(np.eye(2), near, [0, 1, 0, 1], x, 0)
        square = sq_radius(np.eye(2), near[start], near[start + 1], x)
        truth = float(square) ** 0.5
        assert square > 0
        assert np.isclose(truth, np.linalg.norm(here[1] - here[0]) / 2, atol=0.2)
        assert check(result_of(subject, truth * (1 - 1e-11), np.inf, "bounded", np.zeros(2)))
        assert not check(result_of(subject, truth * (1 + 1e-14), np.inf, "bounded", np.zeros(2)))
        assert not check(result_of(subject, 0, 0, "tied", np.zeros(2)))


def test_points_of_two_classes_that_nearly_coincide():
    """Their difference has few digits left in the distances; it is taken before the products."""
    G, x = np.array([[1.0, 0.3], [0.0, 0.7]]), np.array([0.3, -0.2])
    own, other = np.array([5.0, 1.0]), np.array([5.0, 1.0]) + np.array([3e-9, 2e-9])
    square = sq_radius(G, own, other, x)
    subject, truth = about(G, [own, other], [0, 1], x, 0), float(square) ** 0.5
    assert square > 0
    assert check(result_of(subject, truth * (1 - 1e-12), np.inf, "bounded", np.zeros(2)))
    assert not check(result_of(subject, truth * (1 + 1e-14), np.inf, "bounded", np.zeros(2)))


def test_duplicates_of_two_classes_are_a_tie():
    subject = about(
        np.array([[1 / 3, 0.1], [0.7, 1e-5]]), [[1.0, 2.0], [1.0, 2.0], [1.0, 9.0]], [0, 1, 0], [0.1, 0.2], 0
    )
    assert check(result_of(subject, 0, 0, "tied", np.zeros(2)))


@pytest.mark.parametrize("forged", ["another K", "unreachable", "without the box", "another shape"])
def test_forgeries_that_once_passed(forged):
    X, y, x = np.array([[0.0], [2.0], [2.1], [2.2]]), [0, 1, 1, 1], np.zeros((1, 1))
    one = MahalanobisKNN(1).fit(X, y)
    boxed = one.exact_radius(x, [0], box=(0, 1))
    if forged == "another K":
        with pytest.raises(ValueError, match="claimed for K = 1, the classifier has K = 3"):
            recheck(MahalanobisKNN(3).fit(X, y), x, [0], one.exact_radius(x, [0]))
    elif forged == "unreachable":
        never = replace(boxed, lower=np.array([np.inf]), upper=np.array([np.inf]), status=np.array(["unreachable"]),
                        perturbation=np.zeros((1, 1)))  # fmt: skip
        assert "nothing proves" in recheck(one, x, [0], never, box=(0, 1)).problems[0][1]
    elif forged == "without the box":
        with pytest.raises(ValueError, match=r"claimed for the box \(0.0, 1.0\), not for None"):
            recheck(one, x, [0], boxed)
    else:
        wide, zero = MahalanobisKNN(1).fit([[0.0] * 16, [2.0] * 16], [0, 1]), np.zeros((1, 16))
        thin = replace(wide.exact_radius(zero, [0]), perturbation=np.array([[1.0000001]]))
        with pytest.raises(ValueError, match=r"perturbation has shape \(1, 1\) and type float64, not \(1, 16\)"):
            recheck(wide, zero, [0], thin)
