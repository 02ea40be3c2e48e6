"""Dictionaries that studies share through Snakemake's cache: made once, and never a stale one."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest

from tests.workflow.support import TINY, Workflow, copy_of_repository

pytestmark = pytest.mark.slow


def with_results(results, **changes):
    configuration = deepcopy(TINY)
    configuration["experiments"] = {"accuracy": configuration["experiments"]["accuracy"]}
    return configuration | {"results": results} | changes


class Shared:
    """A checkout whose studies share a cache of dictionaries."""

    def __init__(self, folder):
        self.folder = copy_of_repository(folder / "checkout")
        self.cache = folder / "cache"
        self.cache.mkdir()

    def draw(self, configuration, *options):
        """Make the dictionaries of a study; which were computed, and the bytes of all."""
        study = Workflow(self.folder, configuration)
        logs = self.folder / "logs" / configuration["results"] / "draw_dictionaries"
        command = study.command("dictionaries", "--cores", "2", *(options or ["--cache"]))
        code, output = study.execute(command, SNAKEMAKE_OUTPUT_CACHE=str(self.cache))
        assert code == 0, output
        # A dictionary from the cache has an empty log.
        computed = {log.stem for log in logs.glob("*.log") if "done" in log.read_text(encoding="utf-8")}
        for log in logs.glob("*.log"):
            log.unlink()
        files = study.results.glob("dictionaries/*")
        return computed, {path.name: path.read_bytes() for path in files if path.is_file()}


@pytest.fixture
def shared(tmp_path) -> Shared:
    return Shared(tmp_path)


BOTH = {"lapped-perturbation-0.1", "lapped-perturbation-0.4"}


def test_two_studies_compute_a_shared_dictionary_once_and_never_get_a_stale_one(shared):
    _, uncached = shared.draw(with_results("results-uncached"), "--keep-going")
    computed, first = shared.draw(with_results("results-first"))
    assert computed == BOTH
    assert first == uncached

    other = with_results("results-second")
    other["experiments"]["accuracy"]["signals"]["trials"] = 16
    computed, second = shared.draw(other)
    assert computed == set()
    assert second == first

    # A wildcard: one more value of the series is computed, the others come from the cache.
    more = with_results("results-third")
    more["cascades"]["lapped"]["vary"]["values"] = [0.1, 0.2, 0.4]
    computed, third = shared.draw(more)
    assert computed == {"lapped-perturbation-0.2"}
    assert len({third[f"lapped-perturbation-{value}.nc"] for value in (0.1, 0.2, 0.4)}) == 3

    # A seed.
    computed, seeded = shared.draw(with_results("results-fourth", seed=8))
    assert computed == BOTH
    assert seeded.keys() == first.keys()
    assert all(seeded[name] != first[name] for name in first)

    # The library.
    with (shared.folder / "dcsc/families/lapped.py").open("a", encoding="utf-8") as module:
        module.write("# a remark\n")
    computed, _ = shared.draw(with_results("results-fifth"))
    assert computed == BOTH


@pytest.mark.slow
def test_a_file_that_was_brought_is_known_by_its_content(shared):
    def study(results):
        layer = {"family": "file", "parameters": {"path": "filters.npy", "normalize": True}}
        configuration = with_results(results)
        configuration["cascades"] = {"lapped": {"grid": [64], "layers": [layer]}}
        return configuration

    filters = np.random.default_rng(0).standard_normal((4, 1, 8))
    np.save(shared.folder / "filters.npy", filters)
    computed, first = shared.draw(study("results-first"))
    assert computed == {"lapped"}
    computed, second = shared.draw(study("results-second"))
    assert computed == set()
    assert second == first
    np.save(shared.folder / "filters.npy", 1 + filters)
    computed, third = shared.draw(study("results-third"))
    assert computed == {"lapped"}
    assert third["lapped.nc"] != first["lapped.nc"]
