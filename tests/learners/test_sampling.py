"""Neighbour lists against brute force, uniform and repeatable draws, the layout by class, the churn."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from arml.learners import sampling
from arml.learners.sampling import ClassLayout, NeighborLists, neighbor_lists


def _problem(sizes: list[int], n_features: int = 5, seed: int = 0) -> tuple[torch.Tensor, NDArray, ClassLayout]:
    """Points sorted by class, their labels, and their layout."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    points = rng.normal(size=(len(labels), n_features))
    layout = ClassLayout.from_labels(labels)
    return torch.tensor(points[layout.order]), labels[layout.order], layout


def _brute_force(Z: torch.Tensor, labels: NDArray, i: int, k: int) -> tuple[list[int], list[int]]:
    sq_dist = ((Z - Z[i]) ** 2).sum(1).numpy()
    same = [j for j in np.argsort(sq_dist) if labels[j] == labels[i] and j != i]
    other = [j for j in np.argsort(sq_dist) if labels[j] != labels[i]]
    return same[:k], other[:k]


@pytest.mark.parametrize("rows", [7, 256])
@pytest.mark.parametrize(
    ("sizes", "k"),
    [
        ([40, 35, 50], 10),
        ([4, 30, 2, 12], 10),  # classes smaller than the lists
        ([1500, 1700], 3),  # long enough for the search through block minima
        ([700, 640, 128], 3),
        ([3, 1, 4, 1], 10),  # points without a same-class neighbour
        ([29, 3], 10),  # fewer other-class points than the lists hold
    ],
)
def test_lists_are_the_nearest_points(sizes: list[int], k: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "_CPU_ROWS", rows)
    Z, labels, layout = _problem(sizes)
    lists = neighbor_lists(Z, layout, k)
    assert len(lists.same) == layout.n_anchors == sum(size for size in sizes if size > 1)
    for i in np.random.default_rng(1).permutation(layout.n_anchors)[:60]:
        same, other = _brute_force(Z, labels, i, k)
        assert lists.n_same[i] == len(same)
        assert lists.n_other[i] == len(other)
        assert lists.same[i].tolist() == same + [-1] * (lists.same.shape[1] - len(same))
        assert lists.other[i].tolist() == other + [-1] * (lists.other.shape[1] - len(other))


def test_equal_points_are_neighbours_but_no_point_is_its_own() -> None:
    labels = np.array([0] * 5 + [1] * 5)
    lists = neighbor_lists(torch.ones(10, 2), ClassLayout.from_labels(labels), 4)
    for i in range(10):
        own = {j for j in range(10) if labels[j] == labels[i]} - {i}
        assert set(lists.same[i].tolist()) == own
        assert not set(lists.other[i].tolist()) & (own | {i})


def test_layout_sorts_by_class_and_puts_lonely_points_last() -> None:
    labels = np.array([2, 0, 1, 2, 0, 3, 0])
    layout = ClassLayout.from_labels(labels)
    assert layout.order.tolist() == [1, 4, 6, 0, 3, 2, 5]
    assert layout.bounds == ((0, 3), (3, 5), (5, 6), (6, 7))
    assert layout.n_anchors == 5


def test_draws_are_uniform_over_each_list() -> None:
    Z, _, layout = _problem([3, 40, 25])
    lists = neighbor_lists(Z, layout, 10)
    generator = torch.Generator().manual_seed(0)
    n_draws = 4000
    draws = [lists.draw(generator) for _ in range(n_draws)]
    for i in (0, 2, 3, 50):
        for side, table, count in ((0, lists.same, lists.n_same), (1, lists.other, lists.n_other)):
            drawn = torch.stack([draw[side][i] for draw in draws])
            members = table[i, : count[i]]
            observed = (drawn[:, None] == members).sum(0)
            assert observed.sum() == n_draws  # nothing outside the list, no padding
            expected = n_draws / len(members)
            chi_square = ((observed - expected) ** 2 / expected).sum()
            assert chi_square < 35  # 9 degrees of freedom at most: beyond the 0.9999 quantile


def test_draws_repeat_under_a_seed_and_differ_without() -> None:
    Z, _, layout = _problem([30, 40])
    lists = neighbor_lists(Z, layout, 10)
    first, again, other = (lists.draw(torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_churn_is_the_larger_fraction_of_new_entries() -> None:
    counts = torch.tensor([2, 1])
    old = NeighborLists(torch.tensor([[1, 2], [0, -1]]), torch.tensor([[5, 6], [7, -1]]), counts, counts)
    new = NeighborLists(torch.tensor([[2, 1], [0, -1]]), torch.tensor([[5, 8], [9, -1]]), counts, counts)
    assert old.churn_since(old) == 0
    assert new.churn_since(old) == pytest.approx(2 / 3)
