"""What starting costs: importing the package, and loading kernels that an earlier process has compiled."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from typing import Any

from dcsc.kernels.folder import ENVIRONMENT_VARIABLE

ROUNDS = 7

SCRIPT = """
import time
start = time.perf_counter()
import dcsc
imported = time.perf_counter()
from dcsc.kernels.folder import cache_folder
from benchmarks.warm import compile_kernels
before = set(cache_folder().rglob("*.nb*"))
compile_kernels()
print(imported - start, time.perf_counter() - imported, len(set(cache_folder().rglob("*.nb*")) - before))
"""


def startup() -> dict[str, Any]:
    """
    Start processes of their own that import the package and load every kernel, from a cache that is empty at first.

    Returns
    -------
    dict
        Median seconds of the import, and of importing the rest and loading all kernels; seconds of the first
        process, which compiles them; and the files of machine code that a later one added.
    """
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS + 1):
            done = subprocess.run(
                [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True,
                env=os.environ | {ENVIRONMENT_VARIABLE: folder},
            )  # fmt: skip
            found.append([float(number) for number in done.stdout.split()])
    imported, loaded, added = zip(*found[1:], strict=True)
    return {
        "import": statistics.median(imported),
        "load": statistics.median(loaded),
        "compile": found[0][1],
        "compiled_again": int(max(added)),
    }
