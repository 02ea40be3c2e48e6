"""
How a kernel that other kernels call is compiled: for them alone, without machine code of its own.

Numba makes of every function a library that can be called from Python: optimised, with wrappers and machine code. What
calls it copies its optimised code and optimises that again, so that a function at the bottom of eight others is
optimised nine times, and two thirds of the time of the compiler went into code that nothing ran. Here a kernel that is
called by another one is only translated; all is optimised once, in the kernel that Python calls, whose machine code
holds the rest. Neither the order of operations nor their rounding depends on it.

Used of numba are ``pipeline_class`` of its decorator, the two questions that a call asks ``Dispatcher``, four methods
of ``JITCodeLibrary`` (`USED`) and the search for environments; of llvmlite the list of those who are told when LLVM is
locked, where there is one.
"""

from __future__ import annotations

import contextlib
import gc
import types
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numba
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.environment import lookup_environment
from numba.core.types import unliteral

OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": False, "no_cfunc_wrapper": True}
"""Of all kernels; no kernel is handed to C code as a callback."""

ROOM = 2**17
"""Values that the compiler's functions hold at most while they call one another, generously: 1 MiB."""

USED = ("_optimize_final_module", "_finalize_final_module", "_finalize_dynamic_globals", "_verify_declare_only_symbols")
"""Methods of numba's libraries; where a version lacks one, kernels are compiled as numba does it, which is slower."""


class _WithoutEnvironments:
    """What generates code, for a library that has no variables in memory which could be set."""

    def __init__(self, codegen: Any) -> None:
        self._codegen = codegen

    def set_env(self, name: str, environment: Any) -> None:
        """Do nothing: `WholeCompiler` sets them where the code is linked to."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codegen, name)


class OptimisedLibrary(JITCodeLibrary):
    """Code that is there to be copied into other libraries, not to be run."""

    @property
    def codegen(self) -> Any:
        """
        Give what generates code.

        Returns
        -------
        object
            As numba's, but for environments.
        """
        return _WithoutEnvironments(self._codegen)

    def _finalize_final_module(self) -> None:
        """Take the steps of numba's but for the last ones, which make machine code."""
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True


class LinkedLibrary(OptimisedLibrary):
    """The same, which is optimised where it is copied to and not before."""

    def _optimize_final_module(self) -> None:
        """Leave it to the library that this is copied into."""


class LinkedCompiler(Compiler):
    """Compiles a kernel for those that call it."""

    library: type[OptimisedLibrary] = LinkedLibrary

    def compile_extra(self, func: Callable[..., Any]) -> Any:
        """
        Compile a function.

        Parameters
        ----------
        func : callable
            The kernel.

        Returns
        -------
        CompileResult
            It can be linked, but not be called from Python.
        """
        self.state.library = self.library(self.state.targetctx.codegen(), func.__qualname__)
        return super().compile_extra(func)


class OptimisedCompiler(LinkedCompiler):
    """The same, and optimises it by itself."""

    library = OptimisedLibrary


class WholeCompiler(Compiler):
    """Compiles a kernel that is called from Python, with all that it calls."""

    def compile_extra(self, func: Callable[..., Any]) -> Any:
        """
        Compile a function.

        Parameters
        ----------
        func : callable
            The kernel.

        Returns
        -------
        CompileResult
            As numba's.
        """
        with _without_collection(), _uncounted():
            found = _with_room(super().compile_extra, func)
        for variable in found.library._final_module.global_variables:
            environment = lookup_environment(variable.name)
            if environment is not None:
                found.library.codegen.set_env(variable.name, environment)
        return found


def _call(function: Callable[[Any], Any], argument: Any) -> Any:
    return function(argument)


_with_room = types.FunctionType(_call.__code__.replace(co_stacksize=ROOM), globals())
"""
Call a function so that all that it calls finds room for its variables in one piece of memory.

Python takes 16 KiB from the system at a time for the variables of functions that call one another, and gives them back
as soon as a function does not need them any more. Where the compiler calls back and forth across such a border, that
is up to a fifth of its time. A function that says it needs much room gets a piece of that size, and those that it calls
use what is left of it.
"""


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """
    Let nothing look for garbage: the compiler keeps what it makes, and a sixth of its time went into the search.

    What was made meanwhile counts as old afterwards, else the next search would go through all of it.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        is_frozen = gc.get_freeze_count() > 0
        gc.freeze()  # moves everything, without looking, to where it is never looked for
        if not is_frozen:
            gc.unfreeze()  # and this to the oldest generation
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def _uncounted() -> Iterator[None]:
    """Have numba not be told of the 140,000 times that LLVM is locked, whose duration it adds up for nobody."""
    lock: Any = getattr(llvm.ffi.lib, "_lock", None)
    callbacks = getattr(lock, "_cblist", None)
    if callbacks is None:
        yield
        return
    lock._cblist = []
    try:
        yield
    finally:
        lock._cblist = callbacks


def compile_whole(
    function: Callable[..., Any], optimised: bool, keep: Callable[[Any, type[OptimisedLibrary]], None]
) -> Any:
    """
    Make a kernel that is compiled in one way for Python, and in another for kernels that call it.

    Parameters
    ----------
    function : callable
        Its source.
    optimised : bool
        Whether it is optimised by itself before it is copied into kernels that call it.
    keep : callable
        Takes the kernel that others link, and the class of its library, to keep it for other processes.

    Returns
    -------
    Dispatcher
        The kernel, or the function where numba is told to compile nothing.
    """
    kernel = numba.njit(pipeline_class=WholeCompiler, **OPTIONS)(function)
    if not hasattr(kernel, "py_func") or not all(hasattr(JITCodeLibrary, name) for name in USED):  # NUMBA_DISABLE_JIT
        return kernel
    compiler = OptimisedCompiler if optimised else LinkedCompiler

    @cache
    def linked() -> Any:  # not before it is called: most processes compile nothing
        options = OPTIONS | {"no_cpython_wrapper": True}
        found = numba.njit(pipeline_class=compiler, **options)(function)
        keep(found, compiler.library)
        return found

    def template(args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
        # A constant is an argument like others: else numba compiles the kernel once more for every constant.
        return linked().get_call_template(
            tuple(map(unliteral, args)), {name: unliteral(given) for name, given in kws.items()}
        )

    kernel.get_call_template = template
    kernel.get_overload = lambda signature: linked().get_overload(signature)
    return kernel
