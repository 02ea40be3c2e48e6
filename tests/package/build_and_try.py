"""
Build wheel and sdist into dist/, and try them in clean environments of the Pythons that are found: `make package`.

Dependencies are the newest that pyproject.toml allows, not those of requirements.lock.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from flit_core import buildapi

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
"""Pythons that the package is for; `requires-python` names the first."""

TRIAL = """
import sys

import numpy as np

import dcsc

missing = [name for name in dcsc.__all__ if getattr(dcsc, name, None) is None]
assert not missing, missing
dictionary = dcsc.families.create("gaussian", grid=(64,), seed=0, n_filters=4, taps=8, stride=2)
codes = dcsc.sampling.sample_codes(dcsc.seeds.stream(0), dictionary, 8, support={"name": "uniform", "size": 2})
model = dcsc.Cascade([dictionary])
signal, code = model.synthesize(codes.to_dense())
found = dcsc.pursuit.layered_thresholding(model, signal, threshold="uniform", reference=[code])
covered = dcsc.guarantees.uniform(model, [code]).holds
assert ((found.codes[0] != 0) == (code != 0)).all(axis=(1, 2))[covered].all()
np.save("filters.npy", dictionary.filters)
print(len(dcsc.__all__), "names, from", dcsc.__file__)
assert dcsc.__file__.startswith(sys.prefix), "this is not the installed package"
"""


def built(folder: Path) -> tuple[Path, Path]:
    """Build wheel and sdist, and hold what is in them against the sources."""
    os.chdir(ROOT)
    folder.mkdir(exist_ok=True)
    wheel, sdist = folder / buildapi.build_wheel(str(folder)), folder / buildapi.build_sdist(str(folder))
    sources = {path.relative_to(ROOT).as_posix() for path in tracked() if path.is_relative_to(ROOT / "dcsc")}
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == sources, f"the wheel and the sources differ: {sorted(packed ^ sources)}"
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    sources = {path.relative_to(ROOT).as_posix() for path in tracked()}
    foreign = packed - sources - {"PKG-INFO"}
    assert not foreign, f"the sdist holds {sorted(foreign)}, no part of the repository: exclude them in pyproject.toml"
    absent = {name for name in sources - packed if not name.startswith((".ci/", ".git", ".pre-commit"))}
    assert not absent, f"the sdist does not hold {sorted(absent)}: name them in pyproject.toml"
    return wheel, sdist


def tracked() -> list[Path]:
    """Files of the repository, with those that are about to be added."""
    question = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(question, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [path for path in (ROOT / name for name in listed.split("\0") if name) if path.is_file()]


def interpreter(version: str) -> str | None:
    """Find a Python that runs: this one, on the PATH, or one that pyenv or uv keeps; none is downloaded."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [sys.executable, shutil.which(f"python{version}")]
    candidates += map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}")))
    if uv := shutil.which("uv"):
        question = [uv, "python", "find", "--no-python-downloads", version]
        candidates.append(subprocess.run(question, capture_output=True, text=True, check=False).stdout.strip())
    for python in filter(None, candidates):
        answer = subprocess.run([python, "--version"], capture_output=True, text=True, check=False)
        if answer.returncode == 0 and answer.stdout.startswith(f"Python {version}."):
            return python
    return None


def attempt(python: str, wheel: Path, sdist: Path, folder: Path) -> None:
    """Install the wheel in a clean environment and use it, far from the checkout; a step that fails ends all."""
    print(f"== {subprocess.run([python, '--version'], capture_output=True, text=True).stdout.strip()}", flush=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    place = folder / "elsewhere"
    place.mkdir(parents=True)

    def run(*command: str | Path, quiet: bool = True) -> None:
        where = {**kept, "PATH": os.pathsep.join([str(folder / "venv/bin"), kept["PATH"]])}
        output = subprocess.DEVNULL if quiet else None
        subprocess.run([str(part) for part in command], cwd=place, env=where, check=True, stdout=output)

    run(python, "-m", "venv", folder / "venv")
    bin_folder = folder / "venv/bin"
    run(bin_folder / "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    run(bin_folder / "pip", "check")
    run(bin_folder / "python", "-c", TRIAL, quiet=False)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "source", filter="data")
    (checkout,) = (folder / "source").iterdir()
    follow_start_page(checkout, place, run)
    # A wheel made from the sdist is the same package.
    run(bin_folder / "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder / "again", sdist)
    (again,) = (folder / "again").iterdir()
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        assert sorted(one.namelist()) == sorted(other.namelist()), "the wheel that the sdist makes differs"


def follow_start_page(checkout: Path, place: Path, run: Callable[..., None]) -> None:
    """Do every step of the site's start page as it is printed, but for the install, with the rules of the sdist."""
    page = (checkout / "docs/site/start.md").read_text(encoding="utf-8")
    steps = re.compile(r"^```(\w*)\n(.*?)^```$|^    ([^\n]*)$", re.DOTALL | re.MULTILINE)
    for kind, code, line in steps.findall(page):
        if kind == "python":
            run("python", "-c", f"import matplotlib\n\nmatplotlib.use('agg')\n{code}")
        elif line and not line.startswith("pip "):
            print("  ", line, flush=True)
            words = shlex.split(line.replace("path/to/the/checkout", str(checkout)))
            run(*words, *(["--quiet"] if words[0] == "snakemake" else []))
    assert (place / "phase-diagram.png").is_file(), "the start page drew no phase diagram"
    assert list(place.glob("my-study/results/figures/*.png")), "the study of the start page made no figure"


def main() -> int:
    """Build, try, and say which Pythons were not there."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("versions", nargs="*", default=VERSIONS, help="which Pythons; default: %(default)s")
    chosen = parser.parse_args().versions
    wheel, sdist = built(ROOT / "dist")
    print(f"dist/{wheel.name} and dist/{sdist.name}", flush=True)
    pythons = {version: interpreter(version) for version in chosen}
    for python in pythons.values():
        if python is not None:
            with tempfile.TemporaryDirectory() as folder:
                attempt(python, wheel, sdist, Path(folder))
    tried = [version for version, python in pythons.items() if python]
    missing = [version for version in chosen if version not in tried]
    print(f"tried with Python {', '.join(tried) or 'none'}" + (f"; NOT FOUND: {', '.join(missing)}" if missing else ""))
    return 0 if tried else 1


if __name__ == "__main__":
    sys.exit(main())
