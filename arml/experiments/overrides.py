"""What the command line asks for: expanded into jobs, composed, and explained in one message where it is wrong.

Hydra finds most of the same errors, but some of them late, in the middle of a sweep, and in its own words. Here all
jobs of a sweep are composed and checked before the first starts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, Quote, QuotedString
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from arml.experiments.checks import checked
from arml.experiments.config import RunConfig
from arml.experiments.errors import UsageError, suggestion, unknown
from arml.experiments.schemas import register

CONFIG_NAME = "run"
#: A value that names several: one of Hydra's functions.
_SWEEP = re.compile(r"(choice|glob|range|interval|shuffle|sort|tag)\(.*\)", re.DOTALL)
GROUPS = ("dataset", "method", "evaluation", "experiment")
#: Keys whose value is a path: taken as it stands, whatever characters it holds.
PATHS = ("method.path", "data.root", "output.runs")
#: Not among the methods that ``method=glob(...)`` ranges over: it is useless without a path.
NEVER_GLOBBED = "from_file"
#: What asks for a record to be made again, instead of a run (`arml.experiments.again`).
FROM_RECORD = "from_record="


@dataclass(frozen=True)
class Job:
    """One run of a sweep: the overrides that name it, and its checked configuration."""

    overrides: tuple[str, ...]
    config: RunConfig


def jobs(arguments: Sequence[str], config_dir: Path, *, multirun: bool) -> list[Job]:
    """The runs that ``arguments`` ask for, all of them composed and checked.

    Raises
    ------
    UsageError
        For the first run that is wrong: an unknown key or option, a value of the wrong type or outside its rule.
    """
    register()
    with initialize_config_dir(str(config_dir.resolve()), version_base="1.3", job_name="run"):
        loader = GlobalHydra.instance().config_loader()
        overrides = _parse(arguments, loader)
        _check_forms(overrides, loader, multirun=multirun)
        sweep = _expand(overrides, arguments, loader) if multirun else [list(arguments)]
        return [Job(tuple(job), checked(_compose(job, loader))) for job in sweep]


def narrowed(arguments: Sequence[str]) -> list[str]:
    """``arguments`` with ``method=glob(...)`` kept from choosing `NEVER_GLOBBED`, which must be asked for by name."""
    result = []
    for argument in arguments:
        try:
            override = OverridesParser.create().parse_overrides([argument])[0]
        except HydraException:
            result.append(argument)
            continue
        value = override.value()
        if override.key_or_group == "method" and isinstance(value, Glob) and NEVER_GLOBBED not in value.include:
            include, exclude = ",".join(value.include), ",".join([*value.exclude, NEVER_GLOBBED])
            argument = f"method=glob([{include}],exclude=[{exclude}])"
        result.append(argument)
    return result


def quoted_paths(arguments: Sequence[str], *, multirun: bool) -> list[str]:
    """``arguments`` with the values of `PATHS` put in quotes, so that Hydra reads no grammar into a file's name.

    A sweep's commas separate paths unless the whole is a path that exists; its ``glob(...)`` and ``choice(...)``, and
    values that are in quotes already, are left alone, unless such a path exists. ``data.root=null`` stays no folder.
    OmegaConf's ``${...}`` keeps its meaning in quotes, as in every other value.
    """
    return [_quoted(argument, multirun) for argument in arguments]


def _quoted(argument: str, multirun: bool) -> str:
    key, equals, value = argument.partition("=")
    if not equals or key not in PATHS or (value == "null" and key == "data.root"):
        return argument
    if _exists(value):
        return f"{key}={_in_quotes(value)}"
    if multirun and _SWEEP.fullmatch(value):
        return argument
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return argument
    if multirun and not any(quote in value for quote in "'\""):
        return f"{key}=" + ",".join(_in_quotes(part) for part in value.split(","))
    return argument if multirun else f"{key}={_in_quotes(value)}"


def _exists(path: str) -> bool:
    """Whether there is such a file or folder; a name the system cannot even ask for is none."""
    try:
        return bool(path) and Path(path).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False


def _in_quotes(text: str) -> str:
    return str(QuotedString(text=text, quote=Quote.double).with_quotes())


def _parse(arguments: Sequence[str], loader: ConfigLoader) -> list[Override]:
    parser = OverridesParser.create(config_loader=loader)
    overrides: list[Override] = []
    for argument in arguments:
        try:
            overrides += parser.parse_overrides([argument])
        except OverrideParseException as error:
            reason = str(error).splitlines()[0]
            raise UsageError(
                f"cannot read {argument!r} ({reason}); write key=value, lists as 'radii=[0,0.5]', and a value with "
                "= # , [ ] or other special characters in two kinds of quotes, of which the shell leaves one: "
                "'key=\"value\"'"
            ) from error
    return overrides


def _check_forms(overrides: Sequence[Override], loader: ConfigLoader, *, multirun: bool) -> None:
    for override in overrides:
        key = override.key_or_group
        if key.startswith("hydra"):
            continue
        if override.is_add() or override.is_force_add() or override.is_delete():
            assert override.input_line is not None
            raise UsageError(f"{override.input_line}: keys cannot be added or deleted, only set; write {key}=VALUE")
        if override.is_sweep_override() and not multirun:
            raise UsageError(f"{override.input_line}: names several values of {key}; add -m to run one after the other")
        if key in GROUPS and override.value() is None:
            raise unknown(key, "null", key, loader.get_group_options(key, results_filter=ObjectType.CONFIG))


def _expand(overrides: Sequence[Override], arguments: Sequence[str], loader: ConfigLoader) -> list[list[str]]:
    """The product of all values asked for, an experiment's own sweep included; the command line goes before it."""
    parser = OverridesParser.create(config_loader=loader)
    single = [a for a, override in zip(arguments, overrides, strict=True) if not override.is_sweep_override()]
    hydra = _compose(single, loader, return_hydra_config=True).hydra
    own = [f"{key}={value}" for key, value in (hydra.sweeper.get("params") or {}).items()]
    try:
        batches = BasicSweeper.split_arguments([*parser.parse_overrides(own), *overrides], None)
    except HydraException as error:
        raise UsageError(str(error)) from error
    if not batches[0]:
        empty = [override.input_line or "" for override in overrides if override.is_sweep_override()]
        raise UsageError(f"{' '.join(empty)}: matches nothing, so there is nothing to run")
    return batches[0]


def _compose(arguments: Sequence[str], loader: ConfigLoader, *, return_hydra_config: bool = False) -> DictConfig:
    try:
        return compose(CONFIG_NAME, overrides=list(arguments), return_hydra_config=return_hydra_config)
    except (HydraException, OmegaConfBaseException) as error:
        _explain(_parse(arguments, loader), loader)
        cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
        raise UsageError(str(cause).splitlines()[0]) from error


def _explain(overrides: Sequence[Override], loader: ConfigLoader) -> None:
    """Raise the `UsageError` that says which of ``overrides`` made composing fail, where one of them did."""
    chosen = [override for override in overrides if override.key_or_group in GROUPS]
    for override in chosen:
        group, option = override.key_or_group, str(override.value())
        options = loader.get_group_options(group, results_filter=ObjectType.CONFIG)
        if option not in options:
            raise unknown(group, option, group, options)
    try:
        base = compose(CONFIG_NAME, overrides=[override.input_line or "" for override in chosen])
    except HydraException:
        return  # the fault is in the files under configs/, not on the command line
    for override in overrides:
        if override in chosen or override.key_or_group.startswith("hydra"):
            continue
        _check_key(override.key_or_group, base)
        try:
            OmegaConf.update(base, override.key_or_group, override.value())
        except OmegaConfBaseException as error:
            raise UsageError(f"{override.input_line}: {_reason(override.key_or_group, base, error)}") from error


def _reason(key: str, base: DictConfig, error: OmegaConfBaseException) -> str:
    """What the value must be, by the key's rule; where it has none, the type error itself."""
    section, _, name = key.rpartition(".")
    schema = OmegaConf.get_type(OmegaConf.select(base, section) if section else base)
    known = fields(schema) if is_dataclass(schema) else ()
    rules = [item.metadata["rule"] for item in known if item.name == name and "rule" in item.metadata]
    return f"must be {rules[0].words}" if rules else str(error).splitlines()[0]


def _check_key(key: str, base: DictConfig) -> None:
    """Walk ``key`` down the configuration; at the first part that is not there, name the ones that are."""
    node: object = base
    prefix = ""
    for part in key.split("."):
        if not isinstance(node, DictConfig):
            raise UsageError(f"{key}: {prefix[:-1]} is a single value and has no keys below it")
        if part not in node:
            valid = [str(name) for name in node] + ([] if prefix else ["experiment"])
            kind = f" for {prefix[:-1]}={node.get('name')}" if prefix and "name" in node else ""
            raise UsageError(f"{key}: unknown key{kind}{suggestion(part, valid, prefix)}")
        node = node[part]
        prefix += f"{part}."
