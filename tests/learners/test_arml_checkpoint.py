"""Resuming an interrupted fit, and refusing checkpoints that are not its own."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from arml.learners.arml import ARML
from arml.learners.checkpoint import CheckpointError
from arml.learners.training import Training

PARAMS = {"max_iter": 30, "random_state": 7, "checkpoint_every": 5}


class Interrupted(BaseException):
    """Stands for the process being killed."""


@pytest.fixture(scope="module")
def digits() -> tuple:
    X, y = load_digits(return_X_y=True)
    return X[:200] / 16, y[:200]


def _fit_until(epoch: int, path: Path, data: tuple, monkeypatch: pytest.MonkeyPatch, **params: object) -> None:
    """Fit and be interrupted when ``epoch`` epochs are done."""
    run_epoch = Training.run_epoch

    def interrupted(self: Training) -> float:
        if self.epoch == epoch:
            raise Interrupted
        return run_epoch(self)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "run_epoch", interrupted)
        with pytest.raises(Interrupted):
            ARML(**(PARAMS | params), checkpoint_path=path).fit(*data)


@pytest.mark.parametrize("options", [{}, {"batch_size": 64}, {"refresh_tolerance": 0}, {"n_components": 5}])
def test_a_resumed_fit_is_the_uninterrupted_one_bit_for_bit(
    options: dict, tmp_path: Path, digits: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / "fit.pt"
    whole = ARML(**PARAMS, **options).fit(*digits)
    _fit_until(13, path, digits, monkeypatch, **options)
    assert [file.name for file in path.parent.iterdir()] == ["fit.pt"]
    epochs = []
    run_epoch = Training.run_epoch
    monkeypatch.setattr(Training, "run_epoch", lambda self: epochs.append(self.epoch) or run_epoch(self))
    resumed = ARML(**PARAMS, **options, checkpoint_path=path).fit(*digits)
    assert epochs == list(range(10, 30))  # the last checkpoint is that of epoch 10
    np.testing.assert_array_equal(resumed.components_, whole.components_)
    assert resumed.loss_curve_ == whole.loss_curve_
    assert resumed.fit_report_["searches"] == whole.fit_report_["searches"]
    assert not path.exists()  # nothing is left to resume


@pytest.mark.parametrize("change", [{"random_state": 8}, {"learning_rate": 0.01}, {"n_components": 4}, "X", "y"])
def test_a_checkpoint_of_another_training_is_refused_and_kept(
    change: dict | str, tmp_path: Path, digits: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fit.pt"
    _fit_until(6, path, digits, monkeypatch)
    stored = path.read_bytes()
    X, y = digits[0].copy(), digits[1].copy()
    if change == "X":
        X[3, 30] += 0.01
    if change == "y":
        y[0], y[1] = y[1], y[0]
    params = PARAMS | (change if isinstance(change, dict) else {})
    with pytest.raises(CheckpointError, match="other data or parameters"):
        ARML(**params, checkpoint_path=path).fit(X, y)
    assert path.read_bytes() == stored


def test_a_damaged_checkpoint_is_refused(tmp_path: Path, digits: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fit.pt"
    _fit_until(6, path, digits, monkeypatch)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        ARML(**PARAMS, checkpoint_path=path).fit(*digits)
    torch.save({"weights": torch.ones(2)}, path)
    with pytest.raises(CheckpointError, match="is not an ARML checkpoint"):
        ARML(**PARAMS, checkpoint_path=path).fit(*digits)


def test_a_failed_write_leaves_the_old_checkpoint(
    tmp_path: Path, digits: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fit.pt"
    _fit_until(6, path, digits, monkeypatch)
    stored = path.read_bytes()

    def full_disk(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="no space left"):
        ARML(**PARAMS, checkpoint_path=path).fit(*digits)
    assert path.read_bytes() == stored
    assert [file.name for file in tmp_path.iterdir()] == ["fit.pt"]
