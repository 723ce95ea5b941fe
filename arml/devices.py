"""Which device to compute on: asking for one that is not there is an error, never a silent fall-back."""

from __future__ import annotations

import torch


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
