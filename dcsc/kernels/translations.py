"""
Kernels for the kernels that call them, kept on disk: translated, not yet machine code.

Several jobs compile kernels that call the same ones, and each of them would translate these anew.

Used of numba are, besides what `dcsc.kernels.machine_code` and `dcsc.kernels.linked` use, ``compile_result`` and the
bitcode of a library.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
from numba.core.compiler import CompileResult, compile_result

from dcsc.kernels.linked import OptimisedLibrary
from dcsc.kernels.machine_code import KeptCode


class KeptTranslation(KeptCode):
    """
    A translated kernel on disk, as numba's dispatcher uses it.

    Parameters
    ----------
    function, folder, sources
        As of `KeptCode`.
    library : type
        Of what links it.
    """

    ENDING = ".bc"

    def __init__(
        self, function: Callable[..., Any], folder: Path, sources: str, library: type[OptimisedLibrary]
    ) -> None:
        super().__init__(function, folder, sources)
        self._library = library

    def _reduced(self, code: Any) -> tuple[Any, ...]:
        code.fndesc.typemap = code.fndesc.calltypes = None  # as numba does: they are large, and not used any more
        return (
            code.library.name, code.library._final_module.as_bitcode(), code.fndesc, code.environment, code.signature,
            code.reload_init, code._find_referenced_environments(),
        )  # fmt: skip

    def _rebuilt(self, target_context: Any, reduced: tuple[Any, ...]) -> CompileResult:
        name, bitcode, descriptor, environment, signature, initialisers, environments = reduced
        for initialise in initialisers:
            initialise()
        library = self._library(target_context.codegen(), name)
        library._reload_init.update(initialisers)
        library._final_module = llvm.parse_bitcode(bitcode)
        library._finalize_final_module()
        return compile_result(
            target_context=target_context, typing_context=target_context.typing_context, library=library,
            environment=environment, entry_point=target_context.get_executable(library, descriptor, environment),
            fndesc=descriptor, type_annotation="", signature=signature, objectmode=False, reload_init=initialisers,
            referenced_envs=environments,
        )  # fmt: skip
