"""Provably robust Mahalanobis metric learning: learn a metric, certify its nearest-neighbour classifier, attack it.

The public names load on first use (PEP 562), so that making tables and figures (`arml.reports`) needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.2.0"

__all__ = [
    "ARML",
    "Dataset",
    "Mahalanobis",
    "MahalanobisKNN",
    "RadiusBounds",
    "Status",
    "__version__",
    "load_dataset",
    "load_metric",
    "recheck",
    "save_metric",
]

if TYPE_CHECKING:
    from arml.datasets import Dataset, load_dataset
    from arml.geometry import Mahalanobis
    from arml.learners import ARML, load_metric, save_metric
    from arml.neighbors import MahalanobisKNN
    from arml.proofs import recheck
    from arml.radii import RadiusBounds, Status
else:
    # Out of the type checker's sight, or it would take every misspelt name for a public one.
    _HOMES = {
        "ARML": "arml.learners",
        "Dataset": "arml.datasets",
        "Mahalanobis": "arml.geometry",
        "MahalanobisKNN": "arml.neighbors",
        "RadiusBounds": "arml.radii",
        "Status": "arml.radii",
        "load_dataset": "arml.datasets",
        "load_metric": "arml.learners",
        "recheck": "arml.proofs",
        "save_metric": "arml.learners",
    }

    def __getattr__(name: str) -> object:
        """Import a public name from its home and keep it."""
        if name not in _HOMES:
            raise AttributeError(f"module 'arml' has no attribute {name!r}; it offers {', '.join(__all__)}")
        from importlib import import_module

        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
