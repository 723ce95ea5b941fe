"""The one way to compile: a decorator, and machine code that is kept on disk for exactly this version of the code.

numba's own cache looks at the file of one function only: edit a function that another file calls, and the caller's old
machine code, which holds a copy of it, goes on answering. Here the machine code lies in a folder that is named by the
content of all modules with compiled functions and of all modules of the package that those import (their constants are
compiled in), together with the versions of numba, llvmlite, numpy and Python, the processor and numba's settings.
After an edit the folder has another name, and nothing old is found. Nobody has to delete anything; of old folders the
last few stay, for those who go back and forth between versions.

Where: ``NUMBA_CACHE_DIR`` if it is set, else ``__pycache__`` of the package, else ``XDG_CACHE_HOME`` or ``~/.cache``.
Where none of these can be written to, functions are compiled in memory.

Compiling takes a while, so it is announced, in one line on stderr with its cause, and only when it happens;
``ARML_QUIET=1`` turns that off. `arml.warmup` compiles everything ahead of time. With ``NUMBA_DISABLE_JIT=1`` the
functions stay Python.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import uuid
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from numba.core import config, types
from numba.core.caching import _Cache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, CompileResult, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.registry import CPUDispatcher
from numba.core.serialize import dumps
from numba.core.untyped_passes import IRProcessing

from arml.code_version import COMPLETE, place, say

F = TypeVar("F", bound=Callable[..., Any])

# numba is untyped where it matters here.
_config: Any = config
_OPTIONS = {"nopython": True, "nogil": True, "no_cfunc_wrapper": True}


def compiled(function: F) -> F:
    """Compile a function on first use, without the interpreter's lock, and keep the machine code for later processes.

    The function must stand at the top of a module of this package, and what it calls must be compiled, too. It is
    compiled once for each combination of argument types: call it with C-contiguous arrays.
    """
    if _config.DISABLE_JIT:
        return function
    return cast(F, _Kernel(function))


def needs_compiling() -> bool:
    """Whether no earlier process has completed the machine code of this version (see `completed`)."""
    folder = place()
    return not _config.DISABLE_JIT and (folder is None or not (folder / COMPLETE).exists())


def completed() -> None:
    """Note beside the machine code that all there is to compile has been compiled."""
    folder = place()
    if folder is not None:
        with contextlib.suppress(OSError):
            (folder / COMPLETE).touch()


class _Part(JITCodeLibrary):
    """A function's code before optimisation, for whoever calls it to take in.

    numba optimises a function together with all that it calls, and makes machine code of the whole, for every function
    on the way from the innermost to the outermost: most of the time is spent on what nobody will ever call. Here only
    the outermost function, which Python calls, gets that treatment.
    """

    def _optimize_final_module(self) -> None:
        """Leave it to the caller."""

    def _finalize_final_module(self) -> None:
        """Make no machine code."""
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """There is no machine code, so there is no address."""
        return 0

    @property
    def codegen(self) -> Any:
        """What `CPUContext.get_executable` asks to set the environment of machine code that is not there."""
        return _NoEnvironment()


class _NoEnvironment:
    def set_env(self, name: str, environment: object) -> None:
        """Do nothing: the outermost function sets those of all its parts (see `_Kept`)."""


@register_pass(mutates_CFG=False, analysis_only=True)
class _AsPart(FunctionPass):
    _name = "arml_as_part"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        """Let the function be lowered into a `_Part`."""
        state.library = _Part(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return True


class _PartCompiler(CompilerBase):
    def define_pipelines(self) -> list[Any]:
        """Compile as always, but into a `_Part`."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(_AsPart, IRProcessing)
        passes.finalize()
        return [passes]


class _Outermost(CPUDispatcher):
    """A function as Python sees it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function, targetoptions=_OPTIONS)
        self._cache = _Kept(function)


class _Kernel(CPUDispatcher):
    """A function as compiled code sees it, and its twin, the same function as Python sees it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function, targetoptions={**_OPTIONS, "no_cpython_wrapper": True}, pipeline_class=_PartCompiler)
        self._twin = _Outermost(function)

    def __call__(self, *args: Any) -> Any:
        """Call it from Python."""
        return self._twin(*args)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """Literal arguments are compiled for as any others of their type are: once."""
        return super().get_call_template(tuple(types.unliteral(argument) for argument in args), kws)


class _Kept(_Cache):
    """Machine code of one function on disk: a file for each combination of argument types, written whole or not at all.

    numba's own files are numbered in an index, which two processes at work at the same time may do differently. What
    cannot be read or written for whatever reason is compiled again, or is not kept.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._name = f"{function.__module__}.{function.__qualname__}"

    @property
    def cache_path(self) -> str | None:
        """The folder; None where there is none."""
        folder = place()
        return None if folder is None else str(folder)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Machine code for these argument types, None where there is none; then the caller compiles it."""
        target_context.refresh()
        content = self._read(self._key(sig, target_context.codegen()))
        if content is None:
            _announce()
            return None
        return CompileResult._rebuild(target_context, *content)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep machine code for these argument types, just made."""
        for environment in data._find_referenced_environments():
            data.codegen.set_env(environment.env_name, environment)
        folder = place()
        if folder is None or data.lifted or data.library.has_dynamic_globals:
            return
        key = self._key(sig, data.codegen)
        temporary = folder / f"{uuid.uuid4().hex}.tmp"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            content = dumps((key, data._reduce()))
            temporary.write_bytes(hashlib.sha256(content).digest() + content)
            temporary.replace(self._file(folder, key))
        except OSError:
            temporary.unlink(missing_ok=True)

    def _key(self, sig: Any, codegen: Any) -> str:
        return f"{self._name} {sig} {codegen.magic_tuple()}"

    def _file(self, folder: Path, key: str) -> Path:
        return folder / f"{self._name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.bin"

    def _read(self, key: str) -> Any:
        """What was kept for a key, or None. Only what this user wrote is read: it is a pickle."""
        folder = place()
        if folder is None:
            return None
        try:
            with self._file(folder, key).open("rb") as file:
                if hasattr(os, "getuid") and os.fstat(file.fileno()).st_uid not in (os.getuid(), 0):
                    return None
                stored = file.read()
        except OSError:
            return None
        if hashlib.sha256(stored[32:]).digest() != stored[:32]:
            return None
        found, content = pickle.loads(stored[32:])
        return content if found == key else None

    def enable(self) -> None:
        """Do nothing: it is always on."""

    def disable(self) -> None:
        """Do nothing: it is always on."""

    def flush(self) -> None:
        """Do nothing: what is outdated is never found."""


@cache
def _announce() -> None:
    """Say once that compiling begins, and why."""
    folder = place()
    if folder is not None:
        say(
            "compiling the searches for radii, once for this version of the code (about 20 s on a free core), as "
            f"{folder.parent} holds none of it yet"
        )
