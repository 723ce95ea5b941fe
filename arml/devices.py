"""Which device to compute on: asking for one that is not there is an error, never a silent fall-back.

After a fork torch runs on one thread in the child. Its pool of OpenMP threads is not copied by a fork, but the library
believes it is there and waits for it for ever (PyTorch issue 17199); `multiprocessing` forks by default on Linux until
Python 3.14. BLAS restarts its own threads. CUDA cannot be used in a forked child at all, and says so.
"""

from __future__ import annotations

import os

import torch


def _compute_on_one_thread() -> None:
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # there is no fork on Windows
    os.register_at_fork(after_in_child=_compute_on_one_thread)


class DeviceError(RuntimeError):
    """The device asked for does not exist on this machine."""


def resolve_device(name: str) -> torch.device:
    """The torch device meant by "auto", "cpu" or "cuda" (also "cuda:1" and so on).

    "auto" is the first CUDA device where there is one and the CPU otherwise; callers record what it chose.

    Raises
    ------
    DeviceError
        If CUDA is asked for and this machine or this build of torch has none, or the name is unknown.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    if name == "cuda" or name.startswith("cuda:"):
        if not torch.cuda.is_available():
            raise DeviceError(
                f"device={name} was asked for, but torch {torch.__version__} sees no CUDA device; "
                "use device=cpu, or device=auto to take whatever is there"
            )
        index = int(name.partition(":")[2] or 0)
        if index >= torch.cuda.device_count():
            raise DeviceError(
                f"device={name} was asked for, but torch sees only {torch.cuda.device_count()} CUDA devices"
            )
        return torch.device("cuda", index)
    raise DeviceError(f"unknown device {name!r}; use auto, cpu or cuda")
