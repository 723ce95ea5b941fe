"""File names on the command line: whatever they hold, they arrive as they are."""

from pathlib import Path

import pytest

from arml.experiments.errors import UsageError
from arml.experiments.overrides import narrowed, quoted_paths

from .composing import compose_jobs

NAMES = (
    "plain.npz",
    "epoch=12-loss=0.3.npz",
    "métrique.npz",
    "run#2.npz",
    "v[1].npz",
    "{a:b}.npz",
    "two words.npz",
    " lead and trail .npz",
    "one,two.npz",
    "it's.npz",
    'say "so".npz',
    '"quoted"',
    "back\\slash\\",
    'back\\\\"slash.npz',
    "glob(*).npz",
    "glob(*)",
    "(1).npz",
    "50%~!@&;|<>?*.npz",
    "数.npz",
    "null",
    "1e5",
    "true",
    "a:b.npz",
    "$HOME.npz",
)


@pytest.mark.parametrize("multirun", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_any_file_name_arrives_as_it_is(name, multirun, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(b"")
    given = ["dataset=digits", "method=from_file", f"method.path={name}"]
    (job,) = compose_jobs(*narrowed(quoted_paths(given, multirun=multirun)), multirun=multirun)
    assert job.config.method.path == name


@pytest.mark.parametrize("key", ["data.root", "output.runs"])
@pytest.mark.parametrize("name", ["a=b", "é", "a#b", "[1]", "two words", "it's"])
def test_folders_need_not_exist(key, name):
    (job,) = compose_jobs(*quoted_paths([f"{key}={name}"], multirun=False))
    section, field = key.split(".")
    assert getattr(getattr(job.config, section), field) == name


def test_quotes_given_to_the_program_and_null_keep_their_meaning(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a=b.npz").write_bytes(b"")
    given = ["method=from_file", 'method.path="a=b.npz"', "data.root=null", "k=1"]
    assert quoted_paths(given, multirun=False) == given
    (job,) = compose_jobs(*given)
    assert job.config.method.path == "a=b.npz"
    assert job.config.data.root is None


def test_a_sweep_takes_several_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a=1.npz", "b#2.npz"):
        Path(name).write_bytes(b"")
    given = quoted_paths(["method=from_file", "method.path=a=1.npz,b#2.npz"], multirun=True)
    assert [job.config.method.path for job in compose_jobs(*given, multirun=True)] == ["a=1.npz", "b#2.npz"]


def test_a_path_that_is_not_there_is_named_as_it_was_given():
    with pytest.raises(UsageError, match=r"method.path=a=1\[2\].npz: no such file"):
        compose_jobs(*quoted_paths(["method=from_file", "method.path=a=1[2].npz"], multirun=False))


def test_an_empty_folder_is_still_refused():
    with pytest.raises(UsageError, match=r"output\.runs=: must name a folder"):
        compose_jobs(*quoted_paths(["output.runs="], multirun=False))


def test_the_advice_for_other_values_is_to_quote_twice():
    with pytest.raises(UsageError, match="two kinds of quotes, of which the shell leaves one: 'key=\"value\"'"):
        compose_jobs("dataset=a=b")
