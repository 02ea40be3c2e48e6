"""Codes and figures of a user's, named in a configuration: made, traced and verified as the library's own."""

from __future__ import annotations

import numpy as np

from dcsc.store import provenance
from dcsc.study import trace, verify
from tests.unit.test_plugins import documented
from tests.workflow.support import Workflow

STUDY = {
    "results": "results-own",
    "seed": 5,
    "plugins": ["my_figures.py"],
    "cascades": {"line": {"grid": [64], "layers": [{"family": "lapped", "parameters": {"n_filters": 4}}]}},
    "experiments": {
        "own": {
            "title": "Are the codes of a file recovered?",
            "cascades": ["line"],
            "signals": {"codes": "codes.npz", "active": [1, 4], "trials": 8},
            "pursuits": {"hard": {"rule": "hard", "threshold": "statistical"}},
            "figures": ["recovery", "sizes"],
        }
    },
}


def test_codes_and_figures_of_ones_own_are_made_traced_and_verified(clone, tmp_path, monkeypatch):
    study = Workflow(clone).copied(tmp_path / "study").configured(STUDY)
    folder = study.folder
    documented(folder)
    rng = np.random.default_rng(0)
    codes = np.zeros((16, 64))
    for number, code in enumerate(codes):
        code[rng.choice(64, 1 if number < 8 else 4, replace=False)] = 1
    np.savez(folder / "codes.npz", layer_1=codes.reshape(16, 4, 16))
    study.run()
    assert (study.results / "figures/own-sizes.csv").read_text() == "cascade,ambient_dimension\nline,64\n"

    found = trace.trace(study.results / "figures/own-sizes.svg")
    assert found.problems == []
    assert {"../my_figures.py", "dictionaries/line.nc"} < set(found.nodes)
    found = trace.trace(study.results / "figures/own-recovery.csv")
    assert found.problems == []
    assert found.nodes["../codes.npz"].sha256 == provenance.file_digest(folder / "codes.npz")
    monkeypatch.chdir(folder)
    assert verify.verify("study.yaml").findings == []

    study.edit("my_figures.py", "grid points", "points of the grid")
    np.savez(folder / "codes.npz", layer_1=2 * codes.reshape(16, 4, 16))
    stale = {finding.path: finding.reason for finding in verify.verify("study.yaml").findings}
    assert stale["figures/own-sizes.png"].endswith("made from another version of (../my_figures.py)")
    assert "made from another version of (../codes.npz, ../my_figures.py)" in stale["own/signals/line/000000.nc"]
    assert "my_figures" not in stale["figures/own-recovery.png"]
