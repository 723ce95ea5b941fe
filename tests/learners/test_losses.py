"""The four losses: their values, that none grows with the margin, and their gradients through the margin and G."""

import math

import numpy as np
import pytest
import torch

from arml.geometry import triplet_margin
from arml.learners.losses import LOSSES, logistic, loss_function
from arml.learners.training import loss_and_gradient


@pytest.mark.parametrize(
    ("name", "at_minus_half", "at_two"),
    [
        ("hinge", 1.5, 0.0),
        ("exponential", math.exp(0.5), math.exp(-2)),
        ("logistic", math.log(1 + math.exp(0.5)), math.log(1 + math.exp(-2))),
        ("negative", 0.5, -2.0),
    ],
)
def test_values(name: str, at_minus_half: float, at_two: float) -> None:
    values = loss_function(name)(torch.tensor([-0.5, 2.0], dtype=torch.float64))
    torch.testing.assert_close(values, torch.tensor([at_minus_half, at_two], dtype=torch.float64))


@pytest.mark.parametrize("name", LOSSES)
def test_no_loss_grows_with_the_margin(name: str) -> None:
    values = loss_function(name)(torch.linspace(-5, 5, 101))
    assert (values.diff() <= 0).all()
    assert values[0] > values[-1]


def test_logistic_neither_overflows_nor_vanishes() -> None:
    values = logistic(torch.tensor([-1e4, -100.0, 30.0], dtype=torch.float64))
    torch.testing.assert_close(values, torch.tensor([1e4, 100.0, math.exp(-30)], dtype=torch.float64))


def test_unknown_loss_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown loss 'squared'.*hinge, exponential, logistic, negative"):
        loss_function("squared")


@pytest.fixture
def triplets() -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(0)
    names = ("rows", "x_pos", "x_neg")
    indices = np.array([rng.choice(12, size=3, replace=False) for _ in range(20)])
    return {"points": torch.tensor(rng.normal(size=(12, 4)))} | {
        name: torch.tensor(indices[:, i]) for i, name in enumerate(names)
    }


def _mean_loss(G: torch.Tensor, points: torch.Tensor, triplets: dict[str, torch.Tensor], name: str) -> float:
    rows, x_pos, x_neg = (points[triplets[key]] for key in ("rows", "x_pos", "x_neg"))
    return loss_function(name)(triplet_margin(x_pos, x_neg, rows, G.T @ G)).mean().item()


@pytest.mark.parametrize("n_rows", [2, 4])
@pytest.mark.parametrize("name", LOSSES)
def test_gradient_agrees_with_finite_differences(name: str, n_rows: int, triplets: dict[str, torch.Tensor]) -> None:
    G = torch.tensor(np.random.default_rng(1).normal(size=(n_rows, 4)))
    value, gradient = loss_and_gradient(**triplets, G=G, loss=loss_function(name))
    assert value.item() == pytest.approx(_mean_loss(G, triplets["points"], triplets, name), rel=1e-12)
    numeric = torch.empty_like(G)
    for entry in np.ndindex(*G.shape):
        step = torch.zeros_like(G)
        step[entry] = 1e-6
        above, below = (_mean_loss(G + sign * step, triplets["points"], triplets, name) for sign in (1, -1))
        numeric[entry] = (above - below) / 2e-6
    torch.testing.assert_close(gradient, numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_agrees_with_autograd_through_the_factor(name: str, triplets: dict[str, torch.Tensor]) -> None:
    G = torch.tensor(np.random.default_rng(2).normal(size=(4, 4)), requires_grad=True)
    rows, x_pos, x_neg = (triplets["points"][triplets[key]] for key in ("rows", "x_pos", "x_neg"))
    loss_function(name)(triplet_margin(x_pos, x_neg, rows, G.T @ G)).mean().backward()
    gradient = loss_and_gradient(**triplets, G=G.detach(), loss=loss_function(name))[1]
    torch.testing.assert_close(gradient, G.grad, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("chunk", [1, 7, 20])
def test_chunks_change_nothing(chunk: int, triplets: dict[str, torch.Tensor]) -> None:
    G, loss = torch.eye(4, dtype=torch.float64), loss_function("exponential")
    whole = loss_and_gradient(**triplets, G=G, loss=loss, chunk=1000)
    parts = loss_and_gradient(**triplets, G=G, loss=loss, chunk=chunk)
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-14)
