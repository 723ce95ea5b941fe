"""Checkpoints of an ARML training: one file that is written whole or not at all, and read without unpickling.

A run that is resumed from its checkpoint continues bit for bit as it would have without the interruption (on a CPU).
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from arml.learners.sampling import NeighborLists
from arml.learners.training import Training

_SCHEMA = 1


class CheckpointError(RuntimeError):
    """The checkpoint cannot be read, or belongs to another training."""


def problem_digest(settings: Mapping[str, object], *arrays: NDArray[np.generic]) -> str:
    """Digest (64 hex digits) of what the result depends on: settings, and the arrays' shapes, types and bytes."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for array in arrays:
        digest.update(f"{array.shape}{array.dtype.str}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def save_checkpoint(path: Path, training: Training, digest: str) -> None:
    """Write the training's state to ``path``, replacing what is there in one step."""
    lists = training.lists
    state = {
        "schema": _SCHEMA,
        "digest": digest,
        "G": training.G.detach(),
        "optimizer": training.optimizer.state_dict(),
        "generator": training.generator.get_state(),
        "lists": None if lists is None else [lists.same, lists.other, lists.n_same, lists.n_other],
        "interval": training.schedule.interval,
        "due": training.schedule.due,
        "searches": [list(search) for search in training.schedule.searches],
        "losses": training.losses,
        "seconds": training.seconds,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(state, file)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_checkpoint(path: Path, training: Training, digest: str) -> None:
    """Put ``training`` into the state stored in ``path``.

    Raises
    ------
    CheckpointError
        If the file is not a checkpoint of this version, or was made from other data or other parameters.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read as a checkpoint ({error}); delete it to start anew") from error
    if not isinstance(state, dict) or state.get("schema") != _SCHEMA:
        raise CheckpointError(f"{path} is not an ARML checkpoint of schema {_SCHEMA}; delete it to start anew")
    if state["digest"] != digest:
        raise CheckpointError(
            f"{path} is the checkpoint of a training with other data or parameters; "
            "give this one another checkpoint_path, or delete the file to start anew"
        )
    device = training.points.device
    with torch.no_grad():
        training.G.copy_(state["G"])
    training.optimizer.load_state_dict(state["optimizer"])
    training.generator.set_state(state["generator"])
    lists = state["lists"]
    training.lists = None if lists is None else NeighborLists(*(part.to(device) for part in lists))
    training.schedule.interval, training.schedule.due = state["interval"], state["due"]
    training.schedule.searches = [(int(epoch), float(churn)) for epoch, churn in state["searches"]]
    training.losses = list(state["losses"])
    training.seconds = state["seconds"]
