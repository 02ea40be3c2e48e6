"""
Machine code of kernels, kept on disk: all that is used of numba's inside.

Numba asks the cache of a kernel for machine code before it compiles, and hands it what it compiled. Its own cache
believes its files: an empty one ends every later process in a traceback, and a damaged one may be run. It also
writes an index and the code of a kernel one after the other, which several processes mix up; and it loads all that
it can compile before it loads machine code, a quarter of a second that a job which compiles nothing does without.
Here each signature of a kernel has one checked file, and what cannot be read or kept is compiled or used from memory.

Used of numba are ``CompileResult._reduce`` and ``_rebuild`` (to and from what can be pickled), ``Dispatcher._cache``
with the two questions that it is asked, the numbers of functions, and ``refresh`` of the processor it compiles for.
Where a version has them no more, every process compiles its kernels, and a line says so.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import pickle
import secrets
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core.bytecode import FunctionIdentity
from numba.core.compiler import CompileResult
from numba.core.event import Event, Listener, register
from numba.core.registry import cpu_target
from numba.core.runtime.nrt import rtsys
from numba.core.serialize import dumps

from dcsc.kernels import locks
from dcsc.kernels.checked_files import DamagedFileError, read_checked, write_checked
from dcsc.kernels.folder import say_once

SEEN_WITH = "0.68"
"""The version of numba that the tests were last run with."""


def _count_from_anywhere() -> None:
    """
    Begin the numbers by which numba tells functions of one name and signature apart.

    It begins at 1 in every process, and a forked one goes on where others do. What two processes compiled and a third
    loads then meets under one symbol: the sort of integers was taken for their argsort.
    """
    FunctionIdentity._unique_ids = itertools.count(secrets.randbits(48))


_count_from_anywhere()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_from_anywhere)

_kernels: dict[str, Any] = {}
_loaded: list[str] = []

VERSIONS = (numba.__version__, llvmlite.__version__, sys.implementation.cache_tag, getattr(sys, "abiflags", ""))


class KeptCode:
    """
    Machine code of a kernel on disk, as numba's dispatcher uses it.

    Parameters
    ----------
    function : callable
        The kernel.
    folder : Path
        Where its files lie.
    sources : str
        Digest of the sources that its machine code depends on.
    """

    ENDING = ".nbc"

    def __init__(self, function: Callable[..., Any], folder: Path, sources: str) -> None:
        module = function.__module__.rpartition(".")[2]
        self.name = f"{module}.{function.__qualname__}-{function.__code__.co_firstlineno}".replace("<locals>", "")
        self._folder = folder
        self._sources = sources

    @property
    def cache_path(self) -> str:
        """
        Name the folder.

        Returns
        -------
        str
            Where the files lie.
        """
        return str(self._folder)

    def load_overload(self, sig: Any, target_context: Any) -> CompileResult | None:
        """
        Load machine code.

        Parameters
        ----------
        sig : Signature or tuple
            Types of the arguments.
        target_context : BaseContext
            The processor.

        Returns
        -------
        CompileResult or None
            None where there is none, or none that is sound.
        """
        key = self.key(sig, target_context.codegen())
        file = self._file(key)
        rtsys.initialize(target_context)  # what allocates arrays
        try:
            content = read_checked(file) or self._once_another_process_wrote(file)
            if content is None:
                return None
            kept_key, reduced = pickle.loads(content)
            if kept_key != key:
                return None
            code = self._rebuilt(target_context, reduced)
            _loaded.append(file.name)
            return code
        except DamagedFileError:
            say_once("damaged", f"{file} was damaged; what is damaged is compiled again, which takes some seconds.")
        except Exception as error:  # whatever is wrong, the kernel can be compiled and used
            say_once("unusable", f"{file} cannot be used ({error!r}), and is compiled again.")
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """
        Keep machine code.

        Parameters
        ----------
        sig : Signature or tuple
            Types of the arguments.
        data : CompileResult
            What was compiled.
        """
        if data.library.has_dynamic_globals or data.lifted:  # addresses of this process
            return
        key = self.key(sig, data.codegen)
        file = self._file(key)
        try:
            write_checked(file, dumps((key, self._reduced(data))))
        except OSError as error:
            say_once(
                "unwritable",
                f"compiled kernels cannot be kept in {self._folder} ({error.strerror}) and are used from memory; "
                "free space, or name another folder in DCSC_CACHE_DIR.",
            )
        except Exception as error:  # whatever is wrong, the kernel can be compiled and used
            say_once("unkept", f"compiled kernels cannot be kept with numba {numba.__version__} ({error!r}).")
        finally:
            locks.release(self._folder, file.name)

    def _reduced(self, code: Any) -> tuple[Any, ...]:
        """What of a compiled kernel can be pickled."""
        return code._reduce()

    def _rebuilt(self, target_context: Any, reduced: tuple[Any, ...]) -> CompileResult:
        """The compiled kernel, of what was pickled."""
        return CompileResult._rebuild(target_context, *reduced)

    def enable(self) -> None:
        """Do nothing: it is in use."""

    def disable(self) -> None:
        """Do nothing: it stays in use."""

    def flush(self) -> None:
        """Forget the files of the kernel."""
        for file in self._folder.glob(f"{self.name}.*{self.ENDING}"):
            file.unlink(missing_ok=True)

    def _once_another_process_wrote(self, file: Path) -> bytes | None:
        """Wait while another process compiles this, and read what it wrote; else claim it, until it is compiled."""
        locks.claim(self._folder, file.name)
        return read_checked(file)

    def key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        """
        Tell what machine code belongs to.

        Parameters
        ----------
        sig : Signature or tuple
            Types of the arguments.
        codegen : CPUCodegen
            Of the processor.

        Returns
        -------
        tuple
            The types, the processor, the versions and the sources.
        """
        return sig, codegen.magic_tuple(), VERSIONS, self._sources

    def _file(self, key: tuple[Any, ...]) -> Path:
        """The file of a signature; what it is of stands in it too, types that are printed alike are told apart."""
        digest = hashlib.sha256(repr(key).encode()).hexdigest()[:20]
        return self._folder / f"{self.name}.{digest}{self.ENDING}"


def keep_code(kernel: Any, folder: Path, sources: str) -> None:
    """
    Let a kernel take its machine code from files, and put it there.

    Parameters
    ----------
    kernel : Dispatcher
        What numba's decorator made.
    folder : Path
        Where the files lie.
    sources : str
        Digest of the sources that its machine code depends on.
    """
    kernel._cache = KeptCode(kernel.py_func, folder, sources)
    _kernels[kernel._cache.name] = kernel
    _release_what_was_not_compiled()


def loaded() -> list[str]:
    """
    Name the machine code that this process loaded, so that one that it is like can load it before it is needed.

    Returns
    -------
    list of str
        Files, in their order.
    """
    return [name for name in _loaded if name.endswith(KeptCode.ENDING)]


def load(name: str) -> None:
    """
    Load machine code before it is needed; nothing where the kernel is not imported, or the file is not sound.

    Parameters
    ----------
    name : str
        From `loaded`.
    """
    kernel = _kernels.get(name.rsplit(".", 2)[0])
    if kernel is None or name in _loaded:
        return
    try:
        content = read_checked(Path(kernel._cache.cache_path, name))
        kept_key = pickle.loads(content)[0] if content else ()
    except Exception:  # whoever needs it says what is wrong
        return
    if kept_key and kept_key == kernel._cache.key(kept_key[0], kernel.targetctx.codegen()):
        kernel.compile(kept_key[0])


class _AtTheEnd(Listener):
    """Gives claims back when a compilation ends, since one that fails is not handed to `save_overload`."""

    def __init__(self) -> None:
        self._threads = threading.local()

    def on_start(self, event: Event) -> None:
        """Count how deep the compiler is within itself."""
        self._threads.depth = getattr(self._threads, "depth", 0) + 1

    def on_end(self, event: Event) -> None:
        """Release all claims when it is left."""
        self._threads.depth -= 1
        if self._threads.depth == 0:
            locks.release_all()


def load_compiler() -> None:
    """Load what the compiler needs for any kernel, so that processes forked from this one need not do it."""
    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()


@cache
def _release_what_was_not_compiled() -> None:
    register("numba:compiler_lock", _AtTheEnd())
