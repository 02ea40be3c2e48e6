"""Kernels for the kernels that call them, kept by one process and linked by another."""

import subprocess
import sys
from pathlib import Path

import dcsc

ROOT = Path(dcsc.__file__).parents[1]

SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from dcsc.kernels import linked, machine_code
from dcsc.kernels.translations import KeptTranslation

made = []


def keep(kernel, library):
    kernel._cache = KeptTranslation(kernel.py_func, Path(sys.argv[1]), "sources", library)
    made.append(kernel)


def rooted(value, least):
    if value < least:
        raise ValueError("too small")
    return np.sqrt(value)


def doubled(values):
    copy = np.empty(len(values))
    for i in range(len(values)):
        copy[i] = 2 * values[i]
    return copy


rooted, doubled = linked.compile_whole(rooted, False, keep), linked.compile_whole(doubled, True, keep)


def outer(values):
    return rooted(doubled(values)[0], 0) + rooted(values[1], len(values))


outer = linked.compile_whole(outer, False, keep)
print(outer(np.array([8.0, 9.0])))
for values in ([-1.0, 9.0], [8.0, 1.0]):
    try:
        print(outer(np.array(values)))
    except ValueError as error:
        print(error)
assert machine_code.loaded() == []  # nothing that a process like this one could run
print(sum(sum(kernel.stats.cache_hits.values()) for kernel in made))
"""


def run(folder):
    """What the kernels give in a process of their own, how many were not translated again, and what was said."""
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    *given, loaded = done.stdout.splitlines()
    return given, int(loaded), done.stderr.splitlines()


def test_another_process_links_what_one_translated_and_makes_a_damaged_one_again_with_one_line(tmp_path):
    given = ["7.0", "too small", "too small"]
    assert run(tmp_path) == (given, 0, [])
    files = sorted(tmp_path.glob("*.bc"))
    names = [file.name.partition("-")[0] for file in files]
    assert names == ["__main__.doubled", "__main__.rooted"]  # a constant argument is no kernel of its own
    assert run(tmp_path) == (given, 2, [])
    files[0].write_bytes(files[0].read_bytes()[:-1])
    again, loaded, (line,) = run(tmp_path)
    assert (again, loaded) == (given, 1)
    assert "damaged" in line
