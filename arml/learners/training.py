"""Algorithm 1 of the paper: gradient descent on G with neighbour lists that are renewed when they have gone stale.

Where the time goes, and what is done about it (n points, d features, r rows of G)
---------------------------------------------------------------------------------
* An epoch's gradient needs two n x d x d products, through M = G' G, in chunks that stay in cache; the chain from M to
  G is applied once at the end: ``dL/dG = G (dL/dM + (dL/dM)')``.
* A feature that is constant over the training points is 0 in every difference of two points, so its rows and columns
  of dL/dM are 0 and Adam never moves them: they are left out and keep their initial values. That changes no number.
* A neighbour search needs an n x n x r product. After the first epochs lists change slowly, so they are kept between
  searches, and `RefreshSchedule` chooses the interval by measuring how much of them each search replaced.

Differences from the paper
--------------------------
* Lists are not renewed at every epoch; with ``refresh_tolerance=0`` they are, and the algorithm is the paper's.
* With mini-batches, lists are renewed between epochs, not between the steps of one epoch.
* The points are centred, which changes no margin and keeps float32 accurate for data far from the origin.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch
from torch import Tensor

from arml.geometry import triplet_margin
from arml.learners.losses import Loss, loss_function
from arml.learners.sampling import ClassLayout, NeighborLists, neighbor_lists

#: Bytes of one (rows, d) intermediate of the gradient: in cache on a CPU, large enough to fill another device.
_CHUNK_BYTES = {"cpu": 4 * 2**20}
_DEVICE_CHUNK_BYTES = 256 * 2**20


@dataclass(frozen=True)
class TrainingSettings:
    """What steers the training; the meaning of each is written at `arml.learners.arml.ARML`."""

    loss: str
    max_iter: int
    learning_rate: float
    n_neighbors: int
    batch_size: int | None
    early_stopping: bool
    tol: float
    patience: int
    refresh_tolerance: float
    max_refresh_interval: int


@dataclass
class RefreshSchedule:
    """When to search for neighbours anew.

    Each search tells which fraction of the list entries it replaced, the churn. The interval to the next search is
    scaled by ``tolerance / churn``, at most doubled or halved, and kept between 1 and ``max_interval`` epochs.
    Starting at 1, that searches often in the first epochs, when G moves fast, and seldom later.
    """

    tolerance: float
    max_interval: int
    interval: float = 1.0
    due: int = 0
    searches: list[tuple[int, float]] = field(default_factory=list)

    def searched(self, epoch: int, churn: float) -> None:
        """Note a search before ``epoch`` that replaced the fraction ``churn`` (1 at the first search)."""
        if self.searches and self.tolerance > 0:
            factor = min(max(self.tolerance / max(churn, 1e-12), 0.5), 2.0)
            self.interval = min(max(self.interval * factor, 1.0), float(self.max_interval))
        self.searches.append((epoch, churn))
        self.due = epoch + max(1, round(self.interval))


def loss_and_gradient(
    points: Tensor, rows: Tensor, x_pos: Tensor, x_neg: Tensor, G: Tensor, loss: Loss, chunk: int | None = None
) -> tuple[Tensor, Tensor]:
    """Mean loss of the triplets and its gradient with respect to G.

    Parameters
    ----------
    points : (n, d) the data
    rows, x_pos, x_neg : (m,) indices of the triplets' x, x+ and x- in ``points``
    G : (r, d)
    loss : elementwise function of the margins, see `arml.learners.losses`
    chunk : triplets taken at once; None chooses it. It changes the result by rounding only.

    Returns
    -------
    loss : () float64 tensor
    gradient : (r, d) tensor of G's dtype
    """
    chunk = chunk or _triplets_per_chunk(points)
    M = (G.T @ G).requires_grad_()
    total = torch.zeros((), dtype=torch.float64, device=points.device)
    for i in range(0, len(rows), chunk):
        part = slice(i, i + chunk)
        margin = triplet_margin(points[x_pos[part]], points[x_neg[part]], points[rows[part]], M)
        value = loss(margin).sum()
        value.backward()
        total += value.detach()
    assert M.grad is not None
    return total / len(rows), G @ (M.grad + M.grad.T) / len(rows)


def _triplets_per_chunk(points: Tensor) -> int:
    n_bytes = _CHUNK_BYTES.get(points.device.type, _DEVICE_CHUNK_BYTES)
    return max(1, n_bytes // (points.shape[1] * points.element_size()))


class Training:
    """One training run: its data, its state after ``epoch`` epochs, and the step from one epoch to the next.

    Parameters
    ----------
    points : (n, d) float32 tensor, sorted by ``layout``, on the device to compute on
    layout : the classes of the points
    G : (r, d) initial factor, on the same device
    settings : see `TrainingSettings`
    seed : seed of all random draws
    """

    def __init__(self, points: Tensor, layout: ClassLayout, G: Tensor, settings: TrainingSettings, seed: int) -> None:
        self.points, self.layout, self.settings = points, layout, settings
        self.loss = loss_function(settings.loss)
        self.G = G.clone().requires_grad_()
        self.optimizer = torch.optim.Adam([self.G], lr=settings.learning_rate)
        self.generator = torch.Generator().manual_seed(seed)
        self.schedule = RefreshSchedule(settings.refresh_tolerance, settings.max_refresh_interval)
        self.lists: NeighborLists | None = None
        self.losses: list[float] = []
        self.seconds = 0.0
        self._anchors = torch.arange(layout.n_anchors, device=points.device)

    @property
    def epoch(self) -> int:
        """Number of epochs done."""
        return len(self.losses)

    @property
    def converged(self) -> bool:
        """Whether early stopping is on and the mean loss of the last ``patience`` epochs is no longer improving.

        It is compared with the mean of the ``patience`` epochs before; a relative gain below ``tol`` is none.
        """
        patience = self.settings.patience
        if not self.settings.early_stopping or self.epoch < 2 * patience:
            return False
        before = sum(self.losses[-2 * patience : -patience]) / patience
        now = sum(self.losses[-patience:]) / patience
        return before - now < self.settings.tol * abs(before)

    @property
    def finished(self) -> bool:
        """Whether the last epoch is done or training has converged."""
        return self.epoch >= self.settings.max_iter or self.converged

    def run_epoch(self) -> float:
        """Do one epoch and return its mean loss.

        Raises
        ------
        FloatingPointError
            If the loss is no longer finite; the state is then unusable.
        """
        begin = time.perf_counter()
        lists = self._current_lists()
        x_pos, x_neg = lists.draw(self.generator)
        total = 0.0
        for batch in self._batches():
            value, gradient = loss_and_gradient(
                self.points, self._anchors[batch], x_pos[batch], x_neg[batch], self.G.detach(), self.loss
            )
            self.G.grad = gradient
            self.optimizer.step()
            total += float(value) * len(self._anchors[batch])
        mean = total / len(self._anchors)
        if not torch.isfinite(torch.tensor(mean)):
            raise FloatingPointError(
                f"the {self.settings.loss} loss became {mean} in epoch {self.epoch}; scale the features to about "
                "[0, 1], lower the learning rate, or use the loss 'negative'"
            )
        self.losses.append(mean)
        self.seconds += time.perf_counter() - begin
        return mean

    def _current_lists(self) -> NeighborLists:
        if self.lists is None or self.epoch >= self.schedule.due:
            Z = self.points @ self.G.detach().T
            lists = neighbor_lists(Z, self.layout, self.settings.n_neighbors)
            churn = 1.0 if self.lists is None else lists.churn_since(self.lists)
            self.schedule.searched(self.epoch, churn)
            self.lists = lists
        return self.lists

    def _batches(self) -> list[slice | Tensor]:
        size = self.settings.batch_size
        if size is None or size >= len(self._anchors):
            return [slice(None)]
        order = torch.randperm(len(self._anchors), generator=self.generator).to(self.points.device)
        return list(order.split(size))
