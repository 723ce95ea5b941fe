"""The errors of this package."""

from __future__ import annotations

from pathlib import Path


class DatasetError(ValueError):
    """A dataset cannot be had or cannot be trusted; the message says what is wrong, where, and what to do."""


class DamagedFileError(DatasetError):
    """A file is not what the registry says it should be. ``problem`` is the reason without the path."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(path, problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.problem}; delete the file and fetch it again with scripts/download.py"
