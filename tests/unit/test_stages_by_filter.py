"""Pursuits with a threshold for each filter through the stages: what is stored, measured and certified."""

import numpy as np
import pytest

import dcsc
from dcsc import guarantees
from dcsc.errors import UserError
from dcsc.stages import pursuits
from dcsc.stages.settings import PursuitRun
from dcsc.store import dataset, readers
from dcsc.study.options.pursuits import PursuitOptions
from tests.unit.test_certificates_stage import MEMBER as CERTIFIED_MEMBER
from tests.unit.test_certificates_stage import certified
from tests.unit.test_stages import chain

GIVEN = {
    "given": {"rule": "hard", "threshold": [0.2, [0.2, 0.3, 0.4, 0.2, 0.1, 0.2, 0.5, 0.4]]},
    "hard": {"rule": "hard", "threshold": "statistical-by-filter"},
    "soft": {"rule": "soft", "threshold": "uniform-by-filter", "variants": ["T"]},
    "oracle": {"rule": "hard", "threshold": "oracle-by-filter"},
    "debiased": {"rule": "hard", "threshold": "statistical-by-filter", "debias": True},
    "common": {"rule": "hard", "threshold": "statistical"},
}
DEEP = {
    "grid": [256],
    "replicates": 2,
    "layers": [
        {"family": "perturbed", "parameters": {"base": "lapped", "n_filters": 16, "perturbation": 0.02}},
        {"family": "low-coherence-sparse", "parameters": {"n_filters": 8, "taps": 4, "n_nonzeros": 3, "stride": 4}},
    ],
}
ONE = {
    "grid": [96],
    "replicates": 2,
    "layers": [{"family": "perturbed", "parameters": {"base": "lapped", "n_filters": 8, "perturbation": 0.1}}],
}


def run(folder, member, variants):
    depth = len(member["layers"])
    chosen = {
        name: options | ({"threshold": options["threshold"][-depth:]} if isinstance(options["threshold"], list) else {})
        for name, options in GIVEN.items()
        if set(options.get("variants", variants)) <= set(variants)
    }
    as_json = {name: PursuitOptions(**options).model_dump(mode="json") for name, options in chosen.items()}
    return as_json, *chain(folder, member, [1, 3], variants, 40, run=as_json)


@pytest.mark.parametrize(
    ("member", "variants"),
    [
        (ONE, {"random": {"magnitudes": {"name": "by-filter", "contrast": 0.3}}}),
        (DEEP, {"plain": {}, "T": {"layer_signs": True}}),
    ],
)
def test_stages_agree_with_the_library(tmp_path, member, variants):
    chosen, drawn, sampled, found, measured = run(tmp_path, member, variants)
    depth, covered = len(member["layers"]), 0
    for replicate in range(2):
        cascade = readers.cascade_of(drawn, replicate)
        codes = [readers.codes_of_replicate(sampled, layer, replicate).to_dense() for layer in range(1, depth + 1)]
        signs = readers.layer_signs_of_replicate(sampled, replicate)
        model = dcsc.Cascade(cascade.dictionaries, signs)
        signals = model.synthesize_layer(1, codes[0])
        for name, options in chosen.items():
            by_filter = name != "common"
            ran = [label in (options["variants"] or variants) for label in variants]
            parameters = {key: options[key] for key in ("rule", "threshold", "debias")}
            result = dcsc.pursuit.layered_thresholding(
                model, signals, reference=codes, by_filter=by_filter, **parameters
            )
            thresholds = []
            for layer in range(1, depth + 1):
                group = found[f"{name}/layer_{layer}"]
                recovered = dataset.codes_from_dataset(group)[replicate].to_dense()
                np.testing.assert_allclose(recovered[ran], result.codes[layer - 1][ran], atol=1e-9)
                assert not recovered[np.logical_not(ran)].any()
                assert ("filter_threshold" in group) == by_filter
                stored = group["filter_threshold" if by_filter else "threshold"].to_numpy()[replicate]
                np.testing.assert_allclose(stored[ran], result.thresholds[layer - 1][ran])
                assert np.isnan(stored[np.logical_not(ran)]).all()
                assert np.isnan(group["threshold"]).all() == by_filter
                thresholds.append(stored)
            own = measured.sel(pursuit=name, replicate=replicate)
            promise = guarantees.uniform(
                cascade, codes, rule=options["rule"], threshold=thresholds, by_filter=by_filter
            )
            for layer in range(depth):
                told = own["covered"].sel(layer=layer + 1).to_numpy().astype(bool)
                np.testing.assert_array_equal(told[ran], promise.layers[layer].holds[ran])
            if name == "oracle":
                assert own["failure_bound_as_run"].isnull().all()
                continue
            for number, label in enumerate(variants):
                if not ran[number]:
                    assert own["failure_bound_as_run"].sel(variant=label).isnull().all()
                    continue
                kind = "deepest" if label == "plain" else "rademacher"
                paths = guarantees.path_interference(cascade, [code[number] for code in codes], kind)
                expected = guarantees.as_run(
                    paths,
                    [beta[number] for beta in thresholds],
                    rule=options["rule"],
                    debias=options["debias"],
                    by_filter=by_filter,
                )
                np.testing.assert_array_equal(own["covered_as_run"].sel(variant=label), expected.covered)
                np.testing.assert_allclose(own["failure_bound_as_run"].sel(variant=label), expected.failure_bound)
                covered += expected.covered.sum()
    assert covered > 0


def test_certificates_by_filter_are_at_least_those_of_the_common_threshold(tmp_path):
    pursuits_of = {
        "common": {"rule": "hard", "threshold": "statistical"},
        "by filter": {"rule": "hard", "threshold": "statistical-by-filter"},
        "given": {"rule": "hard", "threshold": [[0.5] * 32]},
        "half": {"rule": "hard", "threshold": 0.5},
    }
    variants = {"equal": {}, "by filter": {"magnitudes": {"name": "by-filter", "contrast": 0.3}}}
    found, _ = certified(CERTIFIED_MEMBER, pursuits_of, variants, tmp_path, draws=400)
    applies, active = found["applies"].sel(part="path"), found["active"].sel(part="path")
    for rung in guarantees.THRESHOLDING_RUNGS:
        one = active.sel(rung=rung)
        if "babel" in rung:
            assert not applies.sel(rung=rung, pursuit="by filter").any()
            assert applies.sel(rung=rung, pursuit="common").all()
            continue
        assert applies.sel(rung=rung, pursuit="by filter").all()
        assert int(one.sel(pursuit="by filter", variant="equal")) >= int(one.sel(pursuit="common", variant="equal"))
        assert int(one.sel(pursuit="by filter", variant="by filter")) >= int(
            one.sel(pursuit="common", variant="by filter")
        )
    instance = active.sel(rung=["uniform-instance", "statistical-instance"])
    assert (instance.sel(pursuit="given") == instance.sel(pursuit="half")).all()


def test_paths_of_two_layers_are_certified_by_filter():
    member = {
        "grid": [512],
        "replicates": 1,
        "layers": [
            {"family": "perturbed", "parameters": {"base": "lapped", "n_filters": 16, "perturbation": 0.08}},
            {
                "family": "low-coherence-sparse",
                "parameters": {"n_filters": 16, "taps": 12, "stride": 2, "n_nonzeros": 4},
            },
        ],
    }
    variants = {"T": {"layer_signs": True, "constraint": "no-overlap"}}
    pursuits_of = {
        f"{name}{end}": {"rule": "hard", "threshold": f"statistical{end}", "debias": name == "debiased"}
        for name in ("hard", "debiased")
        for end in ("", "-by-filter")
    }
    found, _ = certified(member, pursuits_of, variants, draws=320)
    active = found["active"].sel(variant="T", part="path")
    for name in ("hard", "debiased"):
        for rung in ("uniform-coherence", "uniform-instance", "statistical-instance"):
            each, common = (int(active.sel(pursuit=f"{name}{end}", rung=rung)) for end in ("-by-filter", ""))
            assert each >= common
    assert int(active.sel(pursuit="debiased-by-filter", rung="statistical-instance")) > 0


def test_lists_that_do_not_fit_are_refused_with_a_sentence():
    cascade = dcsc.Cascade([dcsc.ConvolutionalDictionary(np.eye(2)[:, None], 2, (8,))])
    codes = [dcsc.RaggedCodes.from_dense(np.ones((1, 2, 4)), (2, 4))]
    with pytest.raises(UserError, match="do not fit 2 filters"):
        pursuits.given_thresholds([[0.1, 0.2, 0.3]], cascade, codes, "hard")
    with pytest.raises(UserError, match="2 entries for 1 layers"):
        pursuits.given_thresholds([0.1, [0.2, 0.3]], cascade, codes, "hard")
    options = PursuitOptions(rule="hard", threshold=[0.1, [0.2, 0.3]]).model_dump(mode="json")
    assert PursuitRun(**options).threshold == [0.1, [0.2, 0.3]]
    with pytest.raises(ValueError, match="threshold"):
        PursuitOptions(rule="hard", threshold=[[-0.1]])
    with pytest.raises(ValueError, match="threshold"):
        PursuitOptions(rule="hard", threshold=[[]])
