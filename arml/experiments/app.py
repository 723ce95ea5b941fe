"""The command-line application: checks the request, runs its jobs through Hydra, and says what came of each.

Exit codes: 0, all done; 1, a job failed; 2, the request was wrong, nothing was started; 130 and 143, interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import hydra
from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig

from arml.experiments.checks import checked
from arml.experiments.config import RunConfig
from arml.experiments.errors import UsageError
from arml.experiments.overrides import CONFIG_NAME, FROM_RECORD, jobs, narrowed, quoted_paths
from arml.experiments.schemas import register

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED, EXIT_TERMINATED = 1, 2, 130, 143

#: Options of Hydra that show something instead of running; they need no checked request.
SHOWING = ("help", "hydra_help", "shell_completion", "info")


class Terminated(BaseException):
    """The process was asked to end (SIGTERM). Not an `Exception`: nothing but `main` is to catch it."""


def main(arguments: Sequence[str], config_dir: Path) -> int:
    """Run the application with command-line ``arguments`` (without the program's name); returns its exit code."""
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        return _main(list(arguments), config_dir)
    except UsageError as error:
        return _complain(str(error), EXIT_USAGE)
    except KeyboardInterrupt:
        return _complain("interrupted; what is finished is kept, and the same command goes on", EXIT_INTERRUPTED)
    except Terminated:
        return _complain("terminated; what is finished is kept, and the same command goes on", EXIT_TERMINATED)
    finally:
        signal.signal(signal.SIGTERM, previous)


def _main(arguments: list[str], config_dir: Path) -> int:
    register()
    if any(argument.startswith(FROM_RECORD) for argument in arguments):
        from arml.experiments.again import make_again  # reads records, which takes pandas

        outcome = make_again(arguments, config_dir)
        print(outcome, flush=True)
        return EXIT_FAILED if outcome.differences else 0
    options = get_args_parser().parse_args(arguments)
    if options.experimental_rerun is not None:
        raise UsageError("--experimental-rerun reads a pickle, which is never done here; give the overrides instead")
    if options.config_name is not None or options.config_path is not None or options.config_dir is not None:
        raise UsageError("--config-name, --config-path and --config-dir are not supported; give overrides instead")
    overrides = narrowed(quoted_paths(options.overrides, multirun=options.multirun))
    flags = [argument for argument in arguments if argument not in options.overrides]
    report = Report()
    if not any(getattr(options, name) for name in SHOWING):
        # Also before --cfg, which shows a configuration but runs nothing.
        asked = jobs(overrides, config_dir, multirun=options.multirun)
        _check_device([job.config for job in asked])
        report = Report(total=0 if options.cfg else len(asked))
    task = hydra.main(version_base="1.3", config_path=str(config_dir.resolve()), config_name=CONFIG_NAME)(report.job)
    _with_argv([sys.argv[0], *flags, *overrides], task)
    return report.close()


class Report:
    """Runs jobs one after the other, prints a line for each, and remembers which failed."""

    def __init__(self, total: int = 0) -> None:
        self._total = total
        self._started = 0
        self._failed: list[str] = []

    def job(self, composed: DictConfig) -> None:
        """Run one job; a failure is reported and kept for the exit code, so that the sweep's other jobs still run."""
        config = checked(composed)
        self._started += 1
        name = f"{config.dataset.name} {config.method.name} {config.evaluation.name}"
        if self._started == 1 and config.device == "auto":
            print(f"device=auto chose {_resolved(config.device)}", flush=True)
        # Importing the stages takes seconds; a wrong request is turned down before.
        from arml.experiments.pipeline import run

        counter = f"[{self._started}/{self._total}] " if self._total > 1 else ""
        try:
            outcome = run(config)
        except Exception as error:
            self._failed.append(f"{name}: {type(error).__name__}: {error}")
            print(f"{counter}failed: {self._failed[-1]}", file=sys.stderr, flush=True)
            if os.environ.get("HYDRA_FULL_ERROR") == "1":
                traceback.print_exc()
            return
        print(counter + outcome.summary, flush=True)
        if outcome.record.found and outcome.errors and outcome.record.content["evaluation"]["radii"] != config.grid:
            kept = outcome.record.content["evaluation"]["radii"]
            print(f"  the record keeps the grid it was made with, {kept}; its points give the error at any radius")

    def close(self) -> int:
        """Exit code of all jobs; lists the failed ones again after a sweep."""
        if self._started < self._total and not self._failed:
            # A launcher that runs jobs elsewhere would lose their failures.
            print(f"only {self._started} of {self._total} runs ran in this process", file=sys.stderr)
            return EXIT_FAILED
        if not self._failed:
            return 0
        if self._total > 1:
            print(f"{len(self._failed)} of {self._total} runs failed:", file=sys.stderr)
            for line in self._failed:
                print(f"  {line}", file=sys.stderr)
        print("set HYDRA_FULL_ERROR=1 to see where; finished runs are kept", file=sys.stderr)
        return EXIT_FAILED


def _check_device(configs: Sequence[RunConfig]) -> None:
    """Turn a request for an absent GPU down before any work; imports torch only where one is asked for."""
    if all(config.device != "cuda" for config in configs):
        return
    from arml.devices import DeviceError

    try:
        _resolved("cuda")
    except DeviceError as error:
        raise UsageError(str(error)) from error


def _resolved(device: str) -> str:
    from arml.devices import resolve_device

    return str(resolve_device(device))


def _with_argv(argv: list[str], task: Callable[[], None]) -> None:
    """Hydra reads its arguments from ``sys.argv``."""
    kept, sys.argv = sys.argv, argv
    try:
        task()
    finally:
        sys.argv = kept


def _terminate(signum: int, frame: FrameType | None) -> None:
    # A scheduler may say it twice; the second must not disturb the putting away.
    signal.signal(signum, signal.SIG_IGN)
    raise Terminated


def _complain(message: str, code: int) -> int:
    print(f"error: {message}" if code == EXIT_USAGE else message, file=sys.stderr, flush=True)
    return code
