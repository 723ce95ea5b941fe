"""Proof trees for K > 1: what the search proves is confirmed, and nothing that was tampered with."""

from dataclasses import replace

import numpy as np
import pytest

from arml.proofs import TreeProof, check
from tests.proofs.forgeries import proven
from tests.proofs.handmade import with_data

BOX = (0.0, 1.0)


def problem(K, event, seed=3, box=None, n=240):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    points = rng.normal(size=(25, 4)) + 1.1 * rng.integers(0, 3, 25)[:, None]
    X = rng.normal(size=(n, 4)) + 1.1 * y[:, None]
    if box is not None:
        X, points = np.clip(0.4 * X, *box), np.clip(0.4 * points, -0.1, 1.05)
    return proven(rng.normal(size=(3 + seed % 2, 4)), X, y, points, None, K, event, box)


@pytest.fixture(scope="module", params=[("majority", None), ("plurality", None), ("plurality", BOX)], ids=str)
def result(request):
    event, box = request.param
    found = problem(7 if box is None else 5, event, box=box)
    assert (found.status == "exact").sum() > 12
    assert (found.proof.pairs[:, 0] < 0).any() == (box is not None)
    assert check(found), check(found).problems
    return found


def problems(result, **changes):
    return dict(check(replace(result, **changes)).problems)


def searched(result):
    """A point with a tree worth tampering with."""
    return int(np.argmax(np.diff(result.proof.node_ptr)))


def nodes(result, i):
    return slice(int(result.proof.node_ptr[i]), int(result.proof.node_ptr[i + 1]))


def evidence(result, i):
    mine = nodes(result, i)
    return slice(int(result.proof.pair_ptr[mine.start]), int(result.proof.pair_ptr[mine.stop]))


@pytest.mark.parametrize("event", ["majority", "plurality"])
@pytest.mark.parametrize("K", [1, 3, 5, 11])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_honest_result_is_confirmed(K, seed, event):
    report = check(problem(K, event, seed))
    assert report, report.problems


@pytest.mark.parametrize("factor", [1e-9, 1e-6, 1e-2, 1.0])
def test_lower_bounds_above_the_truth_are_refused(result, factor):
    """All of them: honest upper bounds are at most 1e-6 above the truth, and attained."""
    exact = np.flatnonzero((result.status == "exact") & (result.upper > 0))
    lower, upper, status = result.lower.copy(), result.upper.copy(), result.status.copy()
    delta = result.perturbation.copy()
    lower[exact], upper[exact], status[exact] = result.upper[exact] * (1 + factor), np.inf, "time_limit"
    delta[exact] = 0.0
    refused = problems(result, lower=lower, upper=upper, status=status, perturbation=delta)
    assert set(refused) == set(exact.tolist())
    for text in refused.values():
        assert "a leaf shows" in text or "cannot be among the nearest" in text or "no tree" in text


def test_a_perturbation_that_is_too_short_is_refused(result):
    i = searched(result)
    lower, upper, perturbation = result.lower.copy(), result.upper.copy(), result.perturbation.copy()
    lower[i], upper[i], perturbation[i] = 0.99 * lower[i], 0.99 * upper[i], 0.99 * perturbation[i]
    assert "does not change the answer" in problems(result, lower=lower, upper=upper, perturbation=perturbation)[i]


def test_a_wide_gap_is_not_called_exact(result):
    i, lower = searched(result), result.lower.copy()
    lower[i] *= 0.99
    assert "too large to be called exact" in problems(result, lower=lower)[i]


def test_a_tree_with_a_missing_case_is_refused(result):
    i, low = searched(result), result.proof.low.copy()
    start = nodes(result, i).start
    low[start + 1] = low[start + 2]
    assert problems(result, proof=replace(result.proof, low=low))[i] == "a node's children leave out a case"


def test_a_point_decided_twice_is_refused(result):
    """Below a node that made a point low, "high" is an empty case: it would prove whatever is asked."""
    i, proof = searched(result), result.proof
    start, point = nodes(result, i).start, result.proof.point.copy()
    parent = proof.parent[nodes(result, i)]
    below = np.flatnonzero(np.isin(parent, np.flatnonzero(parent == 0)))
    assert below.size
    point[start + below] = point[start + 1]
    assert problems(result, proof=replace(proof, point=point))[i] == "a node decides a point twice"


@pytest.mark.parametrize("value", [-1, 10**6])
def test_nodes_that_decide_unknown_points_are_refused(result, value):
    i, point = searched(result), result.proof.point.copy()
    point[nodes(result, i).start + 1 : nodes(result, i).stop] = value
    assert problems(result, proof=replace(result.proof, point=point))[i] == "a node decides an unknown point"


@pytest.mark.parametrize("value", [-1, 5, 10**6, -(2**63)])
def test_nodes_out_of_order_are_refused(result, value):
    i, parent = searched(result), result.proof.parent.copy()
    parent[nodes(result, i).start + 1] = value
    assert problems(result, proof=replace(result.proof, parent=parent))[i] == "the tree's nodes are not in order"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weight", -1.0, "a weight is negative or not finite"),
        ("weight", np.nan, "a weight is negative or not finite"),
        ("weight", np.inf, "a weight is negative or not finite"),
        ("weight", 0.0, "a leaf shows"),
        ("pairs", 10**6, "evidence on an unknown point"),
        ("pairs", 2**63 - 1, "evidence on an unknown point"),
        ("pairs", (-3, 0), "evidence on an unknown bound of the box"),
        ("pairs", (-1, 99), "evidence on an unknown bound of the box"),
        ("pairs", (-2, -1), "evidence on an unknown bound of the box"),
    ],
)
def test_impossible_evidence_is_refused(result, name, value, message):
    i, array = searched(result), getattr(result.proof, name).copy()
    array[evidence(result, i)] = value
    assert message in problems(result, proof=replace(result.proof, **{name: array}))[i]


def test_evidence_on_a_bound_that_is_not_there_is_refused(result):
    i, pairs = searched(result), result.proof.pairs.copy()
    pairs[evidence(result, i)] = (-1, 0)
    refused = problems(result, proof=replace(result.proof, pairs=pairs))[i]
    assert ("where there is none" if np.isinf(result.claim.box[0]) else "a leaf shows") in refused


def test_evidence_on_undecided_pairs_is_refused(result):
    """(1) holds of a low and a high point; of two points that a leaf leaves open nothing is known."""
    i, proof = searched(result), result.proof
    pairs = proof.pairs.copy()
    count = int(proof.point_ptr[i + 1] - proof.point_ptr[i])
    mine = nodes(result, i)
    parent = proof.parent[mine]
    for node in np.setdiff1d(np.arange(len(parent)), parent):
        path, at = [], node
        while at > 0:
            path.append(proof.point[mine.start + at])
            at = parent[at]
        used = slice(int(proof.pair_ptr[mine.start + node]), int(proof.pair_ptr[mine.start + node + 1]))
        open_ = np.setdiff1d(np.arange(count), path)
        pairs[used, 0] = np.where(pairs[used, 0] >= 0, open_[0], pairs[used, 0])
    assert problems(result, proof=replace(proof, pairs=pairs))[i] == "evidence on a pair that is undecided"


def test_evidence_on_swapped_pairs_is_refused(result):
    pairs = result.proof.pairs[:, ::-1].copy()
    assert searched(result) in problems(result, proof=replace(result.proof, pairs=pairs))


def test_a_tree_cut_to_its_root_is_refused(result):
    """The root alone, with the evidence of a leaf that it is not entitled to."""
    proof, i = result.proof, searched(result)
    mine = nodes(result, i)
    keep = np.r_[0 : mine.start + 1, mine.stop : len(proof.parent)]
    counts = np.diff(proof.pair_ptr)
    rows = np.repeat(np.isin(np.arange(len(counts)), keep), counts)
    node_ptr = proof.node_ptr.copy()
    node_ptr[i + 1 :] -= mine.stop - mine.start - 1
    cut = replace(
        proof, node_ptr=node_ptr, parent=proof.parent[keep], point=proof.point[keep], low=proof.low[keep],
        pair_ptr=np.r_[0, np.cumsum(counts[keep])], pairs=proof.pairs[rows], weight=proof.weight[rows],
    )  # fmt: skip
    assert "a leaf shows" in problems(result, proof=cut)[i]


def test_a_proof_without_tree_is_refused(result):
    proof, none = result.proof, np.zeros(0, dtype=np.int64)
    bare = replace(
        proof, node_ptr=0 * proof.node_ptr, parent=none, point=none, low=np.zeros(0, dtype=bool),
        pair_ptr=np.zeros(1, dtype=np.int64), pairs=np.zeros((0, 2), dtype=np.int64), weight=np.zeros(0),
    )  # fmt: skip
    assert problems(result, proof=bare)[searched(result)] == "the proof has no tree although it mentions enough points"


@pytest.mark.parametrize("value", [-1, 240, 2**62])
def test_points_that_do_not_exist_are_refused(result, value):
    i, points = searched(result), result.proof.points.copy()
    points[result.proof.point_ptr[i]] = value
    refused = problems(result, proof=replace(result.proof, points=points))
    assert refused[i] == "the proof names points that do not exist, or one twice"


def test_a_point_named_twice_is_refused(result):
    i, points = searched(result), result.proof.points.copy()
    first = result.proof.point_ptr[i]
    points[first] = points[first + 1]
    refused = problems(result, proof=replace(result.proof, points=points))
    assert refused[i] == "the proof names points that do not exist, or one twice"


def test_nearer_enemies_that_the_proof_leaves_out_are_noticed(result):
    """K points of another class a tenth along each perturbation, appended to the training set, digests renewed."""
    subject, K = result.subject, result.claim.n_neighbors
    positive = np.flatnonzero(result.lower > 0)
    enemies = np.repeat(subject.X + 0.1 * result.perturbation, K, axis=0)
    forged = with_data(
        result, X_train=np.concatenate([subject.X_train, enemies]),
        y_train=np.concatenate([subject.y_train, np.repeat((subject.y + 1) % 3, K)]),
    )  # fmt: skip
    # The lower bounds alone: the enemies of one test point may be friends of the next.
    never = np.where(result.lower > 0, np.inf, 0.0)
    status = np.where(result.lower > 0, "bounded", result.status)
    forged = replace(forged, upper=never, status=status, perturbation=0 * result.perturbation)
    refused = dict(check(forged).problems)
    assert set(positive.tolist()) <= set(refused)
    assert all("cannot be among the nearest" in refused[i] for i in positive.tolist())


@pytest.mark.parametrize("scale", [1e-250, 1e250])
def test_only_ratios_of_weights_count(result, scale):
    assert not problems(result, proof=replace(result.proof, weight=result.proof.weight * scale))


def test_unreachable_is_a_claim_like_any_other(result):
    never = np.full(len(result.lower), np.inf)
    refused = problems(result, lower=never, upper=never, status=np.full(len(never), "unreachable"),
                       perturbation=0 * result.perturbation)  # fmt: skip
    assert len(refused) == len(never)
    if np.isinf(result.claim.box[0]):
        assert set(refused.values()) == {"the radius is not infinite: there are enough points of other classes"}


def test_the_proof_is_read_again_whatever_it_was_put_together_from(result):
    for name, array in (
        ("low", result.proof.low.astype(int)),
        ("points", result.proof.points.astype(float)),
        ("weight", result.proof.weight.astype(int)),
    ):
        with pytest.raises(ValueError, match=f"damaged proof: '{name}' has shape"):
            check(replace(result, proof=replace(result.proof, **{name: array})))
    for name in ("point_ptr", "node_ptr", "pair_ptr"):
        with pytest.raises(ValueError, match=f"damaged proof: '{name}' does not describe"):
            check(replace(result, proof=replace(result.proof, **{name: getattr(result.proof, name)[::-1].copy()})))


def test_arrays_come_back():
    proof = problem(3, "majority").proof
    assert TreeProof.from_arrays(proof.claim, proof.arrays()).arrays().keys() == proof.arrays().keys()
    with pytest.raises(ValueError, match="damaged proof: array 'low' is missing"):
        TreeProof.from_arrays(proof.claim, {name: a for name, a in proof.arrays().items() if name != "low"})
