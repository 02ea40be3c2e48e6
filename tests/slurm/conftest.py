"""A Slurm of four virtual nodes that the tests of this folder share; they run by `make test-slurm` alone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("cluster.sh")
WANTED = "DCSC_TEST_SLURM"


def pytest_collection_modifyitems(items):
    if os.environ.get(WANTED):
        return
    for item in items:
        if SCRIPT.parent in Path(item.fspath).parents:
            item.add_marker(pytest.mark.skip(reason="starts a Slurm: run make test-slurm"))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """The folder of a running Slurm."""
    folder = tmp_path_factory.mktemp("slurm")
    try:
        said = folder / "start.txt"  # a pipe would stay open as long as the daemons live
        with said.open("w") as output:
            started = subprocess.run([SCRIPT, "start", folder], stdout=output, stderr=output, check=False, timeout=120)
        assert started.returncode == 0, said.read_text()
        yield folder
    finally:
        subprocess.run([SCRIPT, "stop", folder], check=False, timeout=120)
