"""ARML as Algorithm 1 reads, without any of the library's shortcuts: the yardstick of its training speed and result.

All distances anew at every epoch (float32, rows in chunks of 1,000), both neighbour lists masked out of the full
distance rows, the margin of all points at once, autograd through ``M = G' G`` down to G.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from arml.geometry import triplet_margin

CHUNK = 1000


@dataclass(frozen=True)
class PlainResult:
    """G (d, d) float64, the mean loss of each epoch, and the seconds each took."""

    components: NDArray[np.float64]
    losses: list[float]
    seconds: list[float]


def nearest(X: torch.Tensor, y: torch.Tensor, G: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices (n, k) of the nearest same-class points (itself excluded) and of the nearest other-class points."""
    Z = X @ G.T
    sq_norm = (Z * Z).sum(1)
    same_lists, other_lists = [], []
    for start in range(0, len(X), CHUNK):
        rows = torch.arange(start, min(start + CHUNK, len(X)), device=X.device)
        sq_dist = sq_norm[rows, None] + sq_norm[None, :] - 2 * Z[rows] @ Z.T
        same = y[rows, None] == y[None, :]
        other_lists.append(sq_dist.masked_fill(same, torch.inf).topk(k, largest=False).indices)
        sq_dist[rows - start, rows] = torch.inf
        same_lists.append(sq_dist.masked_fill(~same, torch.inf).topk(k, largest=False).indices)
    return torch.cat(same_lists), torch.cat(other_lists)


def plain_arml(
    X: NDArray[np.float64],
    y: NDArray[np.int64],
    *,
    epochs: int = 1000,
    n_neighbors: int = 10,
    learning_rate: float = 1e-3,
    random_state: int = 42,
) -> PlainResult:
    """Train G with the negative loss; every class must have more than ``n_neighbors`` points."""
    points, labels = torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(y)
    n, d = points.shape
    rows = torch.arange(n)
    generator = torch.Generator().manual_seed(random_state)
    G = torch.eye(d, requires_grad=True)
    optimizer = torch.optim.Adam([G], lr=learning_rate)
    losses, seconds = [], []
    for _ in range(epochs):
        begin = time.perf_counter()
        same, other = nearest(points, labels, G.detach(), n_neighbors)
        x_pos = points[same[rows, torch.randint(n_neighbors, (n,), generator=generator)]]
        x_neg = points[other[rows, torch.randint(n_neighbors, (n,), generator=generator)]]
        loss = -triplet_margin(x_pos, x_neg, points, G.T @ G).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - begin)
    return PlainResult(G.detach().double().numpy(), losses, seconds)
