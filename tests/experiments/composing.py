"""What the tests of configuration and application share: composing a run in this process."""

from pathlib import Path

from arml.experiments.config import RunConfig
from arml.experiments.overrides import Job, jobs, narrowed

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def compose_jobs(*arguments: str, multirun: bool = False) -> list[Job]:
    return jobs(narrowed(arguments), CONFIGS, multirun=multirun)


def compose_run(*arguments: str) -> RunConfig:
    (job,) = compose_jobs(*arguments)
    return job.config
