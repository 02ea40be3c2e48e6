"""The run of the tiny study that the workflow tests start from; made once, whatever the number of workers."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.workflow.support import SPY, TINY, Workflow, copy_of_repository


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Make a folder once for all workers of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def make(name: str, work: Callable[[Path], None]) -> Path:
        folder, done = shared / name, shared / f"{name}.done"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                work(folder)
                done.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def clone(once) -> Path:
    """A copy of the repository; tests must not change it."""
    return once("clone", copy_of_repository)


@pytest.fixture(scope="session")
def finished(once) -> Workflow:
    """The tiny study, run once; tests must not change it."""

    def work(folder: Path) -> None:
        study = Workflow(copy_of_repository(folder), TINY)
        spy = folder / "spy"
        spy.mkdir()
        (spy / "sitecustomize.py").write_text(SPY, encoding="utf-8")
        # A fork has loaded what other jobs use.
        code, output = study.execute(study.command("--cores", "2"), PYTHONPATH=str(spy), DCSC_FORK="0")
        assert code == 0, output

    return Workflow(once("finished", work), TINY)


@pytest.fixture
def study(finished, tmp_path) -> Workflow:
    """A copy of the finished tiny study, free to change."""
    return finished.copied(tmp_path / "study")
