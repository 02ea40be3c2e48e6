"""The same bits whatever the cores, the chunks, the folder and the run; and old draws that nothing new moves."""

from copy import deepcopy

import numpy as np
import pytest

import dcsc
from dcsc.figures.style import FORMATS
from dcsc.store import dataset
from tests.workflow.support import TINY, Workflow, copy_of_repository, digests

TRIALS = 100


def small(results, chunk_blocks):
    """One cascade, one experiment, four blocks of which the last is not full."""
    configuration = deepcopy(TINY)
    del configuration["cascades"]["lapped"]["vary"]
    configuration["cascades"]["lapped"]["layers"][0]["parameters"]["perturbation"] = 0.3
    experiment = configuration["experiments"]["transition"]
    experiment["signals"] |= {"trials": TRIALS, "chunk_blocks": chunk_blocks}
    return configuration | {"results": results, "experiments": {"transition": experiment}}


@pytest.fixture(scope="session")
def chunked(once):
    """The small study in chunks of 1, 3 and 7 blocks, on one core and on two."""

    def work(folder):
        copy_of_repository(folder)
        for blocks, cores in ((1, 2), (3, 1), (7, 2)):
            study = Workflow(folder, small(f"results-{blocks}", blocks))
            code, output = study.snakemake("metrics", "--cores", str(cores))
            assert code == 0, output

    return once("chunked", work)


def joined(results, stage):
    """All codes of a stage as dense arrays over all trials, by group and variable; metrics as they are."""
    files = sorted((results / "transition" / stage / "lapped").glob("*.nc"))
    trees = [dcsc.open_results(file) for file in files]
    if stage == "metrics":
        return {"/": dataset.join_chunks([tree.to_dataset() for tree in trees]).drop_attrs()}
    groups = [node.path for node in trees[0].subtree if "atom" in node]
    found = {}
    for group in groups:
        codes = [dataset.codes_from_dataset(tree[group]) for tree in trees]
        # of the axes (replicate, variant, active, trial), chunks split the last
        found[group] = np.concatenate([code.to_dense() for code in codes], axis=3)
        if "threshold" in trees[0][group]:
            found[f"{group}/threshold"] = np.concatenate([tree[group]["threshold"] for tree in trees], axis=3)
    return found


def by_cell(results, stage):
    """The same codes by group, variant and number of active atoms; cells that were not drawn are left out."""
    file = next((results / "transition/signals/lapped").glob("*.nc"))
    drawn = dcsc.open_results(file)["drawn"]
    return {
        (group, variant, int(active)): values[:, row, column]
        for group, values in joined(results, stage).items()
        for row, variant in enumerate(drawn["variant"].to_numpy())
        for column, active in enumerate(drawn["active"].to_numpy())
        if drawn[row, column]
    }


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, values in one.items():
        if isinstance(values, np.ndarray):
            np.testing.assert_array_equal(values, other[name])
        else:
            assert values.identical(other[name])


@pytest.mark.parametrize("stage", ["signals", "pursuits", "metrics"])
def test_chunks_and_cores_change_no_bit(chunked, stage):
    whole = joined(chunked / "results-7", stage)
    assert len(list((chunked / "results-1/transition" / stage / "lapped").glob("*.nc"))) == 4
    assert len(list((chunked / "results-3/transition" / stage / "lapped").glob("*.nc"))) == 2
    assert_same(joined(chunked / "results-1", stage), whole)
    assert_same(joined(chunked / "results-3", stage), whole)


def test_chunks_change_no_bit_of_the_summary(chunked):
    summaries = [dcsc.open_results(chunked / f"results-{n}/transition/metrics/summary.nc") for n in (1, 3, 7)]
    datasets = [summary.to_dataset().drop_attrs() for summary in summaries]
    assert datasets[0].identical(datasets[2])
    assert datasets[1].identical(datasets[2])


def test_two_runs_in_two_folders_give_identical_files(finished, tmp_path):
    again = Workflow(copy_of_repository(tmp_path / "elsewhere"), TINY)
    code, output = again.snakemake("accuracy", "--cores", "1")
    assert code == 0, output
    first, second = digests(finished.results), digests(again.results)
    assert any(name.endswith(".pdf") for name in second)
    different = [name for name, content in second.items() if first[name] != content]
    assert different == []


def test_drawing_again_gives_identical_figures(study):
    before = digests(study.results)
    study.run("--forcerun", "render_recovery", "render_thresholds")
    after = digests(study.results)
    assert sum(name.endswith(FORMATS) for name in after) == 9
    assert [name for name in after if after[name] != before.get(name)] == []


def test_a_new_cell_and_a_new_pursuit_leave_old_draws_as_they_were(chunked, tmp_path):
    grown = Workflow(chunked, small("results-7", 7)).copied(tmp_path / "grown")
    old = {stage: by_cell(grown.results, stage) for stage in ("signals", "pursuits")}
    configuration = deepcopy(grown.configuration)
    experiment = configuration["experiments"]["transition"]
    experiment["signals"]["active"] = [1, 2, 4, 16]
    experiment["pursuits"] = {"soft": {"rule": "soft", "threshold": 0.3}, **experiment["pursuits"]}
    grown.configured(configuration).run("pursuits")
    for stage, cells in old.items():
        new = by_cell(grown.results, stage)
        assert {active for _, _, active in new} > {1, 2, 4}
        assert {group for group, _, _ in new} > {group for group, _, _ in cells} or stage == "signals"
        # Cells added to a transition move with the coarse ones; those that both runs draw are the same.
        common = new.keys() & cells.keys()
        assert {active for _, _, active in common} >= {1, 4}
        for cell in common:
            np.testing.assert_array_equal(new[cell], cells[cell])


def test_draws_differ_between_trials_cells_replicates_and_cascades(chunked, finished):
    cells = by_cell(chunked / "results-7", "signals")
    # One active atom can take few places, so that two trials may well agree.
    codes = [values for (_, variant, active), values in cells.items() if variant == "random signs" and active > 1]
    flat = np.stack(codes).reshape(-1, *codes[0].shape[2:])
    assert len(np.unique(flat.reshape(len(flat), -1), axis=0)) > 0.99 * len(flat)
    one, other = (
        dcsc.open_results(finished.results / f"transition/signals/lapped-perturbation-{value}/000000.nc")["layer_1"]
        for value in (0.1, 0.4)
    )
    assert not np.array_equal(one["atom"], other["atom"])
