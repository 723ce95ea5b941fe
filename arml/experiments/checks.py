"""Checks of a configuration, before any work: every value against its rule, and the values against each other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf

from arml.experiments.config import METHOD_SCHEMAS, FromFileConfig, RunConfig
from arml.experiments.errors import UsageError, suggestion
from arml.experiments.families import EVALUATIONS
from arml.experiments.rules import Rule


def checked(composed: DictConfig) -> RunConfig:
    """The typed configuration of one run, every value checked.

    Raises
    ------
    UsageError
        If a value breaks its rule, or two values do not go together.
    """
    config = OmegaConf.to_object(composed)
    if not isinstance(config, RunConfig):
        raise UsageError("the configuration must start from run.yaml, whose schema is run_schema")
    check(config)
    return config


def check(config: RunConfig) -> None:
    """Check every value of ``config``; raises `UsageError` with one message for the first that is wrong."""
    for key, value, rule in _ruled_values(config, ""):
        if value == MISSING or (value is not None and not rule.holds(value)):
            raise _broken(key, value, rule)
    _check_names(config)
    _check_evaluation(config)
    _check_metric_file(config)
    _check_folders(config)


def _ruled_values(section: Any, prefix: str) -> Iterator[tuple[str, Any, Rule]]:
    for item in fields(section):
        value = getattr(section, item.name)
        if is_dataclass(value):
            yield from _ruled_values(value, f"{prefix}{item.name}.")
        elif "rule" in item.metadata:
            yield prefix + item.name, value, item.metadata["rule"]


def _broken(key: str, value: Any, rule: Rule) -> UsageError:
    if value == MISSING:
        return UsageError(f"{key} is not set; it must be {rule.words}")
    if rule.choices:
        return UsageError(f"{key}={value}: unknown value {value!r}{suggestion(str(value), rule.choices)}")
    return UsageError(f"{key}={value}: must be {rule.words}")


def _check_names(config: RunConfig) -> None:
    """A name that does not fit its section was changed by hand; the section's parameters would be another's."""
    if METHOD_SCHEMAS.get(config.method.name) is not type(config.method):
        raise UsageError(f"method.name={config.method.name}: choose a method with method=NAME, not by its name alone")
    evaluation = EVALUATIONS.get(config.evaluation.name)
    if evaluation is None or evaluation.schema is not type(config.evaluation):
        name = config.evaluation.name
        raise UsageError(f"evaluation.name={name}: choose an evaluation with evaluation=NAME, not by its name alone")


def _check_evaluation(config: RunConfig) -> None:
    """What the evaluation itself asks of a configuration, and its kind, which nobody else chooses."""
    evaluation = config.evaluation
    EVALUATIONS[evaluation.name].check(config)
    kind = type(evaluation)().kind
    if evaluation.kind != kind:
        raise UsageError(f"evaluation.kind={evaluation.kind}: the kind of {evaluation.name} is {kind}; leave it out")


def _check_metric_file(config: RunConfig) -> None:
    if not isinstance(config.method, FromFileConfig):
        return
    if config.method.path is None:
        raise UsageError("method.path is not set: method=from_file needs method.path=FILE.npz")
    if not Path(config.method.path).expanduser().is_file():
        raise UsageError(f"method.path={config.method.path}: no such file; it must be an .npz file with G or M")


def _check_folders(config: RunConfig) -> None:
    key, root = "data.root", config.data.root
    if root is None:
        key, root = "ARML_DATA", os.environ.get("ARML_DATA") or None
    if root is not None:
        folder = Path(root).expanduser()
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{key}={root}: not a folder")
        if not folder.exists() and not config.data.download:
            raise UsageError(f"{key}={root}: no such folder, and data.download=false forbids filling a new one")
    runs = Path(config.output.runs)
    if not config.output.runs:
        raise UsageError("output.runs=: must name a folder")
    if any(part.exists() and not part.is_dir() for part in (runs, *runs.parents)):
        raise UsageError(f"output.runs={config.output.runs}: not a folder")
