"""randnear+ and randnear- of eq. (12): neighbour lists under the current metric, and uniform draws from them.

The points are held sorted by class (`ClassLayout`), so a point's own class is a range of columns of its row of
distances: the same-class list is searched inside that range, and the other-class list in what is left of the row.

No n x n array exists at any time. Rows are taken in chunks small enough to stay in a processor's cache, and the k
smallest entries of a long row are found through the minima of its blocks: the k smallest entries lie in the k blocks
with the smallest minima, so only those blocks are sorted. That is exact and several times faster than a full selection.

Differences from the paper
--------------------------
* The paper does not say what happens in a class of fewer than ``k + 1`` points. Here its points draw from as many
  neighbours as there are; a class of one point has no same-class neighbour, so that point gets no triplet of its own
  (it still serves as an other-class point).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_BLOCK = 64
#: Rows of distances held at once on a CPU, where a chunk should stay in cache, and bytes of them on other devices.
_CPU_ROWS = 256
_BUFFER_BYTES = 512 * 2**20


@dataclass(frozen=True)
class ClassLayout:
    """An order of the points in which each class is contiguous, classes of a single point last.

    Attributes
    ----------
    order : (n,) int64, ``X[order]`` is the sorted data; the order inside a class is the given one
    bounds : (start, stop) of each class in the sorted data
    n_anchors : the first ``n_anchors`` sorted points have a same-class neighbour; the others are left out as anchors
    """

    order: NDArray[np.int64]
    bounds: tuple[tuple[int, int], ...]
    n_anchors: int

    @classmethod
    def from_labels(cls, labels: NDArray[np.int64]) -> ClassLayout:
        """Layout of labels (n,) in 0..C-1."""
        sizes = np.bincount(labels)
        order = np.lexsort((labels, sizes[labels] == 1))
        edges = np.flatnonzero(np.diff(labels[order])) + 1
        starts, stops = [0, *edges.tolist()], [*edges.tolist(), len(labels)]
        n_anchors = int((sizes[labels] > 1).sum())
        return cls(order, tuple(zip(starts, stops, strict=True)), n_anchors)


@dataclass(frozen=True)
class NeighborLists:
    """The nearest points of each anchor, as rows of the sorted data, nearest first; -1 where a list is shorter.

    Attributes
    ----------
    same, other : (n_anchors, <= k) int64, same-class (itself excluded) and other-class neighbours
    n_same, n_other : (n_anchors,) int64, how many entries of each row are neighbours
    """

    same: Tensor
    other: Tensor
    n_same: Tensor
    n_other: Tensor

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """For every anchor one same-class and one other-class neighbour, uniformly: two (n_anchors,) index tensors.

        ``generator`` lives on the CPU wherever the lists are, so that every device draws the same neighbours.
        """
        u = torch.rand(2, len(self.same), dtype=torch.float64, generator=generator).to(self.same.device)
        return _pick(self.same, self.n_same, u[0]), _pick(self.other, self.n_other, u[1])

    def churn_since(self, older: NeighborLists) -> float:
        """Fraction of list entries that are not in ``older``; the larger of the same- and the other-class fraction."""
        return max(
            _churn(older.same, self.same, self.n_same),
            _churn(older.other, self.other, self.n_other),
        )


def _pick(lists: Tensor, counts: Tensor, u: Tensor) -> Tensor:
    # u < 1 in float64 keeps u * count below count, so the column is always valid.
    column = (u * counts).long()
    return lists.gather(1, column[:, None]).squeeze(1)


def _churn(older: Tensor, newer: Tensor, counts: Tensor) -> float:
    kept = (newer[:, :, None] == older[:, None, :]).any(2)
    return float((~kept).sum() / counts.sum())


@torch.no_grad()
def neighbor_lists(Z: Tensor, layout: ClassLayout, k: int) -> NeighborLists:
    """The k nearest same-class and other-class points of every anchor.

    Parameters
    ----------
    Z : (n, r) the sorted points embedded by G, where d_M is the squared Euclidean distance.
    layout : the classes of the sorted points; at least two.
    k : length of the lists, shortened where a class has fewer points.
    """
    n, n_anchors = len(Z), layout.n_anchors
    sizes = torch.tensor([stop - start for start, stop in layout.bounds])
    sizes = sizes.repeat_interleave(sizes)[:n_anchors].to(Z.device)
    n_same, n_other = (sizes - 1).clamp(max=k), (n - sizes).clamp(max=k)
    same = torch.full((n_anchors, int(n_same.max())), -1, device=Z.device)
    other = torch.full((n_anchors, int(n_other.max())), -1, device=Z.device)
    sq_norm = (Z * Z).sum(1)
    rows = _rows_per_chunk(n, Z)
    buffer = torch.empty(min(rows, n_anchors) * n, dtype=Z.dtype, device=Z.device)
    for start in range(0, n_anchors, rows):
        stop = min(start + rows, n_anchors)
        # The row's own squared norm is left out: it changes no order within the row.
        scores = buffer[: (stop - start) * n].view(stop - start, n)
        torch.addmm(sq_norm, Z[start:stop], Z.T, alpha=-2, out=scores)
        scores.diagonal(start).fill_(torch.inf)
        for first, last in _overlapping(layout.bounds, start, stop):
            lo, hi = max(first, start), min(last, stop)
            own = scores[lo - start : hi - start, first:last]
            length = min(k, last - first - 1)
            same[lo:hi, :length] = first + _smallest(own, length)
            own.fill_(torch.inf)
        other[start:stop] = _smallest(scores, other.shape[1])
    other[torch.arange(other.shape[1], device=Z.device) >= n_other[:, None]] = -1
    return NeighborLists(same, other, n_same, n_other)


def _rows_per_chunk(n: int, Z: Tensor) -> int:
    rows = max(1, _BUFFER_BYTES // (n * Z.element_size()))
    return min(rows, _CPU_ROWS) if Z.device.type == "cpu" else rows


def _overlapping(bounds: tuple[tuple[int, int], ...], start: int, stop: int) -> list[tuple[int, int]]:
    return [(first, last) for first, last in bounds if first < stop and last > start]


def _smallest(scores: Tensor, k: int) -> Tensor:
    """Columns (rows, k) of the k smallest entries of each row of ``scores`` (rows, m), smallest first."""
    n_rows, m = scores.shape
    n_blocks = m // _BLOCK
    if n_blocks <= 2 * k:
        return scores.topk(k, largest=False).indices
    blocks = scores[:, : n_blocks * _BLOCK].unflatten(1, (n_blocks, _BLOCK))
    best = blocks.amin(2).topk(k, largest=False, sorted=False).indices
    candidates = blocks.gather(1, best[:, :, None].expand(-1, -1, _BLOCK)).flatten(1)
    columns = (best[:, :, None] * _BLOCK + torch.arange(_BLOCK, device=scores.device)).flatten(1)
    # The columns past the last whole block are candidates as they are.
    tail = torch.arange(n_blocks * _BLOCK, m, device=scores.device)
    candidates = torch.cat([candidates, scores[:, n_blocks * _BLOCK :]], dim=1)
    columns = torch.cat([columns, tail.expand(n_rows, -1)], dim=1)
    return columns.gather(1, candidates.topk(k, largest=False).indices)
