"""The evaluations a run can ask for. Each family of them is one module here, and nothing else knows more of it.

A module offers what it defines as ``EVALUATIONS``, a tuple of `arml.experiments.families.base.Evaluation`. A new one is
such a module, a file in ``configs/evaluation/``, and a test.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Mapping
from importlib import import_module

from arml.experiments.families.base import Evaluation


def collect(path: Iterable[str]) -> dict[str, Evaluation]:
    """The evaluations that the modules of this package in the folders ``path`` define, sorted by name.

    Raises
    ------
    ValueError
        If two of them have one name; the message names both modules.
    """
    homes: dict[str, str] = {}
    found: dict[str, Evaluation] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(path, f"{__name__}.")):
        for evaluation in getattr(import_module(module), "EVALUATIONS", ()):
            name = evaluation.name
            if name in found:
                raise ValueError(f"two evaluations are called {name!r}: one of {homes[name]}, one of {module}")
            homes[name], found[name] = module, evaluation
    return dict(sorted(found.items()))


#: Every evaluation by its name.
EVALUATIONS: Mapping[str, Evaluation] = collect(__path__)
