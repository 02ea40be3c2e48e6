"""
Every public function that takes arrays, with arrays that are not what they should be, and with some that are.

A parameter annotated ArrayLike is a user's: `dcsc.arrays` checks it. What is public is found from the names that the
packages offer, so that a new function fails here until it says how it is called.
"""

import dataclasses
import importlib
import inspect
import math
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dcsc
from dcsc import guarantees, pursuit, sampling, statistics
from dcsc.convolution import sparse_path
from dcsc.errors import UserError
from dcsc.model import coherence, sparsity
from dcsc.ragged import RaggedCodes
from dcsc.sampling import adversary

RNG = np.random.default_rng(0)
INNER = dcsc.ConvolutionalDictionary(RNG.standard_normal((2, 3, 2)), 1, (6,), normalize=True)
DICTIONARY = dcsc.ConvolutionalDictionary(RNG.standard_normal((3, 1, 4)), 2, (12,), normalize=True)
CASCADE, LAYER = dcsc.Cascade([DICTIONARY, INNER]), dcsc.Cascade([DICTIONARY])
CODES = np.round(3 * RNG.standard_normal((2, *DICTIONARY.code_shape))) * (RNG.random((2, *DICTIONARY.code_shape)) < 0.3)
DEEPEST = np.zeros((2, *INNER.code_shape))
DEEPEST[0, 0, 1], DEEPEST[0, 1, 4], DEEPEST[1, 1, 2] = 2, -1, 3
PATH = CASCADE.synthesize(DEEPEST)[1:]
SIGNALS = np.round(3 * RNG.standard_normal((2, *DICTIONARY.signal_shape)))
LISTED = RaggedCodes.from_dense(CODES, DICTIONARY.code_shape)
INTEGERS = np.array([[[3, -3, 1]]])
PATHS = guarantees.path_interference(CASCADE, PATH)
SUPPORTS = guarantees.basis_pursuit_on_supports(LAYER, [CODES])


@dataclasses.dataclass(frozen=True)
class Given:
    """How a function is called with one of its arguments, and what that may be."""

    good: Any
    call: Callable[[Any], Any]
    last: int | None = 0
    """Axes at the end whose sizes are fixed, None where every axis is free."""
    empty: bool = True
    """Whether the batch may be empty while all else stays."""
    low: float = -math.inf
    infinite: bool = False
    """Whether infinity is a number like others."""
    missing: bool = False
    """Whether NaN stands for what was not used."""
    fails_on_zeros: str = ""
    """What is said of zeros, where they are refused."""


def batch(good, call, last=2, **options):
    """Arrays with batch axes."""
    return Given(np.asarray(good, dtype=np.float64), call, last, **options)


def fixed(good, call, **options):
    """Arrays of one shape, numbers among them."""
    good = np.asarray(good, dtype=np.float64)
    return Given(good, call, good.ndim, empty=False, **options)


def free(good, call, **options):
    """Arrays whose axes may all be of any size."""
    return Given(np.asarray(good, dtype=np.float64), call, None, **options)


def level(good, call, low=0.0, **options):
    """Thresholds and bounds, which may be infinite."""
    return fixed(good, call, low=low, infinite=True, **options)


def lists(call, last=2):
    """Codes as lists of their non-zeros."""
    return Given(LISTED, call, last)


def signals_of(method, **options):
    return batch(SIGNALS, lambda given: method(CASCADE, given, **options))


def option_of(method, name, good, make=fixed, *, low=0.0, **options):
    return make(good, lambda given: method(CASCADE, SIGNALS, **{name: given}, **options), low=low)


def reference_of(method, **options):
    return fixed(PATH[0], lambda given: method(CASCADE, SIGNALS, reference=[given, PATH[1]], **options))


def path_of(method):
    return fixed(PATH[0], lambda given: method(CASCADE, [given, PATH[1]]))


def layer_of(method, **options):
    return batch(CODES, lambda given: method(LAYER, [given], **options))


def noise_of(method):
    return level(0.0, lambda given: method(CASCADE, PATH, given))


def made(**options):
    return dcsc.ConvolutionalDictionary(**{"stride": 2, "grid": (12,), "normalize": True, **options}).filters


CALLS: dict[str, dict[str, Given]] = {
    # The objects of the theory.
    "ConvolutionalDictionary": {
        "filters": fixed(DICTIONARY.filters, lambda given: made(filters=given), fails_on_zeros="is zero"),
        "integer_filters": fixed(
            INTEGERS,
            lambda given: made(filters=INTEGERS / 19**0.5, stride=1, grid=6, normalize=False, integer_filters=given),
            fails_on_zeros="not proportional",
        ),
    },
    "ConvolutionalDictionary.from_integers": {
        "integer_filters": fixed(
            INTEGERS,
            lambda given: dcsc.ConvolutionalDictionary.from_integers(given, 1, (6,)).filters,
            fails_on_zeros="must share one, not 0",
        ),
    },
    "ConvolutionalDictionary.synthesize": {"codes": batch(CODES, DICTIONARY.synthesize)},
    "ConvolutionalDictionary.correlate": {"signals": batch(SIGNALS, DICTIONARY.correlate)},
    "Cascade": {
        "signs": batch(
            np.sign(DEEPEST + 0.5), lambda given: dcsc.Cascade([INNER], [given]).signs, fails_on_zeros="-1 and 1"
        )
    },
    "Cascade.synthesize_layer": {"codes": batch(CODES, lambda given: CASCADE.synthesize_layer(1, given))},
    "Cascade.correlate_layer": {"signals": batch(SIGNALS, lambda given: CASCADE.correlate_layer(1, given))},
    "Cascade.synthesize": {"deepest": batch(DEEPEST, CASCADE.synthesize)},
    "RaggedCodes.from_dense": {
        "codes": batch(CODES, lambda given: RaggedCodes.from_dense(given, DICTIONARY.code_shape))
    },
    "babel": {"k": free([1, 3], low=0.0, call=lambda given: coherence.babel(DICTIONARY, given))},
    "babel2": {"k": free([1, 3], low=0.0, call=lambda given: coherence.babel2(DICTIONARY, given))},
    "stripe_counts": {"code": batch(CODES, lambda given: sparsity.stripe_counts(given, DICTIONARY))},
    "stripe_norm": {
        "code": batch(CODES, lambda given: sparsity.stripe_norm(given, DICTIONARY)),
        "code, lists": lists(lambda given: sparsity.stripe_norm(given, DICTIONARY)),
    },
    "patch_norm": {
        "code": batch(CODES, lambda given: sparsity.patch_norm(given, INNER)),
        "code, lists": lists(lambda given: sparsity.patch_norm(given, INNER)),
        "code, deepest": batch(CODES, lambda given: sparsity.patch_norm(given, None, 1), None),
    },
    "patch_l2": {
        "error": batch(SIGNALS, lambda given: sparsity.patch_l2(given, DICTIONARY)),
        "error, lists": lists(lambda given: sparsity.patch_l2(given, INNER)),
    },
    "extreme_magnitudes": {"code": batch(CODES, lambda given: sparsity.extreme_magnitudes(given, 1), None)},
    "contrast": {"code": batch(CODES, lambda given: sparsity.contrast(given, 1), None)},
    "extremes_by_filter": {"codes": lists(sparsity.extremes_by_filter, None)},
    # Pursuits.
    "layered_thresholding": {
        "signals": signals_of(pursuit.layered_thresholding, threshold=0.5),
        "signals, top-k": signals_of(pursuit.layered_thresholding, rule="top-k", k=2, debias=True),
        "threshold": option_of(pursuit.layered_thresholding, "threshold", 0.5, level),
        "threshold, by filter": option_of(
            pursuit.layered_thresholding, "threshold", 0.5, level, by_filter=True, low=-math.inf
        ),
        "k": option_of(pursuit.layered_thresholding, "k", 2, rule="top-k"),
        "reference": reference_of(pursuit.layered_thresholding, threshold="uniform"),
        "noise": option_of(pursuit.layered_thresholding, "noise", 0.1, level, threshold="uniform", reference=PATH),
    },
    "layered_basis_pursuit": {
        "signals": signals_of(pursuit.layered_basis_pursuit, penalty=0.5),
        "signals, equality": signals_of(pursuit.layered_basis_pursuit, penalty=[0.0, 0.5], debias=True),
        "signals, discrepancy": signals_of(pursuit.layered_basis_pursuit, penalty="discrepancy", discrepancy=2.0),
        "signals, proximal": signals_of(pursuit.layered_basis_pursuit, penalty=0.5, solver="proximal-gradient"),
        "penalty": option_of(pursuit.layered_basis_pursuit, "penalty", 0.5, level),
        "discrepancy": option_of(pursuit.layered_basis_pursuit, "discrepancy", 0.5, level, penalty="discrepancy"),
        "reference": reference_of(pursuit.layered_basis_pursuit, penalty="guaranteed", noise=0.1),
        "noise": option_of(pursuit.layered_basis_pursuit, "noise", 0.1, penalty="guaranteed", reference=PATH),
    },
    "layered_matching_pursuit": {
        "signals": signals_of(pursuit.layered_matching_pursuit, k=2),
        "k": option_of(pursuit.layered_matching_pursuit, "k", 2),
        "residual": option_of(pursuit.layered_matching_pursuit, "residual", 0.5, level, k=2),
        "reference": reference_of(pursuit.layered_matching_pursuit),
    },
    "multilayer_ista": {
        "signals": signals_of(pursuit.multilayer_ista, penalty=0.5, max_iterations=40),
        "penalty": option_of(pursuit.multilayer_ista, "penalty", 0.5, level, max_iterations=40),
    },
    "multilayer_fista": {
        "signals": signals_of(pursuit.multilayer_fista, penalty=0.5, max_iterations=40),
        "penalty": option_of(pursuit.multilayer_fista, "penalty", 0.5, level, max_iterations=40),
    },
    "projection_pursuit": {
        "signals": signals_of(pursuit.projection_pursuit, penalty=0.5, max_iterations=40),
        "penalty": option_of(pursuit.projection_pursuit, "penalty", 0.5, level, max_iterations=40),
    },
    "holistic_pursuit": {
        "signals": signals_of(pursuit.holistic_pursuit, penalty=0.5, zeros=3, rounds=2),
        "penalty": option_of(pursuit.holistic_pursuit, "penalty", 0.5, level, zeros=3, rounds=1),
        "zeros": option_of(pursuit.holistic_pursuit, "zeros", 3, penalty=0.5, rounds=1),
        "reference": reference_of(pursuit.holistic_pursuit, penalty=0.5, rounds=1),
    },
    "oracle_least_squares": {
        "signals": signals_of(pursuit.oracle_least_squares, reference=[code[0] for code in PATH]),
        "reference": reference_of(pursuit.oracle_least_squares),
    },
    "threshold_codes": {
        "codes": lists(lambda given: pursuit.threshold_codes(CASCADE, given, threshold=0.5)),
        "noise": fixed(SIGNALS, lambda given: pursuit.threshold_codes(CASCADE, LISTED, given, threshold=0.5)),
        "threshold": level(0.5, lambda given: pursuit.threshold_codes(CASCADE, LISTED, threshold=given)),
        "threshold, by filter": level(
            0.5, lambda given: pursuit.threshold_codes(CASCADE, LISTED, threshold=given, by_filter=True)
        ),
        "k": fixed(2, lambda given: pursuit.threshold_codes(CASCADE, LISTED, rule="top-k", k=given), low=0.0),
        "exceeding": lists(lambda given: pursuit.threshold_codes(CASCADE, given, threshold=0.5, exceeding=given)),
    },
    # Guarantees.
    "uniform": {
        "codes": path_of(guarantees.uniform),
        "codes, instance": layer_of(guarantees.uniform, form="instance"),
        "noise": noise_of(guarantees.uniform),
        "threshold": level(
            0.5, lambda given: guarantees.uniform(CASCADE, PATH, threshold=[given, 0.5]), low=-math.inf, missing=True
        ),
    },
    "statistical": {
        "codes": path_of(guarantees.statistical),
        "codes, instance": layer_of(guarantees.statistical, form="instance"),
        "noise": noise_of(guarantees.statistical),
    },
    "ladder": {
        "codes": path_of(guarantees.ladder),
        "codes, one layer": layer_of(lambda *given: guarantees.ladder(*given).holds),
        "noise": noise_of(guarantees.ladder),
    },
    "uniqueness": {"codes": path_of(guarantees.uniqueness), "codes, one layer": layer_of(guarantees.uniqueness)},
    "basis_pursuit": {"codes": path_of(guarantees.basis_pursuit), "noise": noise_of(guarantees.basis_pursuit)},
    "basis_pursuit_with_noise": {
        "codes": batch(CODES, lambda given: guarantees.basis_pursuit_with_noise(DICTIONARY, given, 0.1)),
        "noise": level(0.1, lambda given: guarantees.basis_pursuit_with_noise(DICTIONARY, CODES, given)),
        "penalty": level(
            0.2,
            lambda given: guarantees.basis_pursuit_with_noise(DICTIONARY, CODES, 0.1, penalty=given),
            fails_on_zeros="above 0",
        ),
    },
    "basis_pursuit_on_supports": {
        "codes": path_of(guarantees.basis_pursuit_on_supports),
        "codes, one layer": layer_of(lambda *given: guarantees.basis_pursuit_on_supports(*given).failure_rate_bound),
    },
    "recovers_all_signs": {"codes": path_of(guarantees.recovers_all_signs)},
    "support_certificates": {"codes": lists(lambda given: guarantees.support_certificates(DICTIONARY, given))},
    "SupportPath.for_all_signs": {"noiseless": level([1, 0], SUPPORTS.for_all_signs, low=-math.inf)},
    "SupportPath.for_random_signs": {
        "noiseless": level([1, 0], lambda given: SUPPORTS.for_random_signs(0.1, given), low=-math.inf)
    },
    "path_interference": {"codes": path_of(lambda *given: guarantees.path_interference(*given).determined)},
    "as_run": {
        "thresholds": level(0.5, lambda given: guarantees.as_run(PATHS, [given, 0.5]), low=-math.inf, missing=True)
    },
    "covered_as_run": {
        "thresholds": level(
            0.5, lambda given: guarantees.covered_as_run(PATHS, [given, 0.5]), low=-math.inf, missing=True
        )
    },
    "failure_rate_bound": {
        "covered": batch([0, 1], lambda given: guarantees.failure_rate_bound(given, [0.5, 0.0]), None),
        "failure_bound": batch([1, 0], lambda given: guarantees.failure_rate_bound([0, 1], given), None),
    },
    "failure_limit": {"failures": batch([1, 0], lambda given: guarantees.failure_limit(given, 0.95), None)},
    "top_k_failure": {
        "codes": batch(CODES, lambda given: guarantees.top_k_failure(DICTIONARY, given)),
        "noise": level(0.0, lambda given: guarantees.top_k_failure(DICTIONARY, CODES, given)),
    },
    "draw_failures": {
        "codes": lists(lambda given: guarantees.draw_failures(LAYER, given, None, rung="statistical-instance")),
        "noise": level(
            0.0, lambda given: guarantees.draw_failures(LAYER, LISTED, None, given, rung="uniform-coherence")
        ),
    },
    "tail_probability": {
        "coefficients": fixed([1, 2, 3], lambda given: guarantees.tail_probability(given, [2, 1], 2.0)),
        "row_size": fixed(
            [2, 1],
            lambda given: guarantees.tail_probability([1, 2, 3], given, 2.0),
            low=0.0,
            fails_on_zeros="make them agree",
        ),
        "margin": level([1, 2], lambda given: guarantees.tail_probability([1, 2, 3], [2, 1], given), low=-math.inf),
        "two_sided": level(
            [1, 0], lambda given: guarantees.tail_probability([1, 2, 3], [2, 1], 2.0, two_sided=given), low=-math.inf
        ),
        "guard": level([1, 0], lambda given: guarantees.tail_probability([1, 2, 3], [2, 1], 2.0, guard=given)),
    },
    "interference_bound": {"codes": batch(CODES, lambda given: guarantees.interference_bound(DICTIONARY, given))},
    "interference_variance": {"codes": batch(CODES, lambda given: guarantees.interference_variance(DICTIONARY, given))},
    "least_squares_gain": {"codes": batch(CODES, lambda given: guarantees.least_squares_gain(DICTIONARY, given))},
    # Samplers and the adversary.
    "synthesize_sparse": {
        "codes": lists(lambda given: sampling.synthesize_sparse(DICTIONARY, given.with_values(1.0 * given.value)))
    },
    "given_codes": {"deepest": lists(lambda given: sampling.given_codes([DICTIONARY], given).codes)},
    "draw_signs": {"magnitudes": lists(lambda given: sampling.draw_signs("positive", RNG, DICTIONARY, given))},
    "worst_layer_signs": {
        "deepest": lists(lambda given: sampling.worst_layer_signs([DICTIONARY], given)),
        "thresholds": level(0.5, lambda given: sampling.worst_layer_signs([DICTIONARY], LISTED, [given])),
    },
    "snr": {
        "signals": batch(SIGNALS, lambda given: sampling.snr(given, SIGNALS[0] + 9, 1)),
        "noise": batch(SIGNALS, lambda given: sampling.snr(SIGNALS[0], given, 1)),
    },
    "scale_to_snr": {
        "signals": batch(
            SIGNALS, lambda given: sampling.scale_to_snr(given, SIGNALS[0] + 9, 3.0, 1), fails_on_zeros="is zero"
        ),
        "noise": batch(
            SIGNALS, lambda given: sampling.scale_to_snr(SIGNALS[0], given, 3.0, 1), fails_on_zeros="is zero"
        ),
        "decibels": fixed(3.0, lambda given: sampling.scale_to_snr(SIGNALS, SIGNALS + 9, given, 1)),
    },
    "worst_signs_for_threshold": {
        "codes": lists(lambda given: adversary.worst_signs_for_threshold(DICTIONARY, given, 0.5)),
        "threshold": level(0.5, lambda given: adversary.worst_signs_for_threshold(DICTIONARY, LISTED, given)),
    },
    "worst_signs_of_atom": {
        "codes": lists(lambda given: adversary.worst_signs_of_atom(DICTIONARY, given, 1)),
        "atom": fixed(1, lambda given: adversary.worst_signs_of_atom(DICTIONARY, LISTED, given), low=0.0),
    },
    "worst_signs_for_top_k": {"codes": lists(lambda given: adversary.worst_signs_for_top_k(DICTIONARY, given))},
    "worst_signs_for_basis_pursuit": {
        "codes": lists(lambda given: adversary.worst_signs_for_basis_pursuit(DICTIONARY, given))
    },
    "separate_worst_cases": {"codes": lists(lambda given: adversary.separate_worst_cases(DICTIONARY, given))},
    # Sums over lists.
    "correlate_codes": {"codes": lists(lambda given: sparse_path.correlate_codes(DICTIONARY, given))},
    "correlate_with_others": {"codes": lists(lambda given: sparse_path.correlate_with_others(DICTIONARY, given))},
    "synthesize_codes": {"codes": lists(lambda given: sparse_path.synthesize_codes(DICTIONARY, given))},
    "margins": {
        "codes": lists(lambda given: sparse_path.margins(DICTIONARY, given)),
        "addition": fixed(CODES, lambda given: sparse_path.margins(DICTIONARY, LISTED, given)),
    },
    "recovered_supports": {
        "codes": lists(lambda given: sparse_path.recovered_supports(DICTIONARY, given, threshold=0.5)),
        "threshold": level(0.5, lambda given: sparse_path.recovered_supports(DICTIONARY, LISTED, threshold=given)),
        "k": fixed(2, lambda given: sparse_path.recovered_supports(DICTIONARY, LISTED, rule="top-k", k=given), low=0),
        "addition": fixed(
            CODES, lambda given: sparse_path.recovered_supports(DICTIONARY, LISTED, threshold=0.5, addition=given)
        ),
    },
    # Statistics.
    "proportion_interval": {
        "successes": fixed([2, 1], lambda given: statistics.proportion_interval(given, [4, 4]), low=0.0),
        "trials": fixed([2, 1], lambda given: statistics.proportion_interval([0, 0], given), low=0.0),
    },
    "proportion_lower_limit": {
        "successes": fixed([2, 1], lambda given: statistics.proportion_lower_limit(given, [4, 4]), low=0.0),
        "trials": fixed([2, 1], lambda given: statistics.proportion_lower_limit([0, 0], given), low=0.0),
    },
    "mean_upper_limit": {"values": batch([1, 0], statistics.mean_upper_limit, None)},
    "mean_interval": {"values": batch([1, 0, 3], statistics.mean_interval, None, infinite=True, missing=True)},
    "paired_difference": {
        "first": fixed([1, 0], lambda given: statistics.paired_difference(given, [1, 1])),
        "second": fixed([1, 0], lambda given: statistics.paired_difference([1, 1], given)),
    },
    "transition_point": {
        "sparsity": fixed(
            [1, 2], lambda given: statistics.transition_point(given, [4, 1], [4, 4]), fails_on_zeros="positive"
        ),
        "successes": fixed([4, 1], lambda given: statistics.transition_point([1, 2], given, [4, 4]), low=0.0),
        "trials": fixed(
            [4, 4],
            lambda given: statistics.transition_point([1, 2], [0, 0], given),
            low=0.0,
            fails_on_zeros="one trial or more",
        ),
    },
    "auc": {
        "scores": level([1, 2], lambda given: statistics.auc(given, [0, 1]), low=-math.inf),
        "positive": fixed([0, 1], lambda given: statistics.auc([1, 2], given)),
    },
    "roc_curve": {
        "scores": level([1, 2], lambda given: statistics.roc_curve(given, [0, 1]), low=-math.inf),
        "positive": fixed([0, 1], lambda given: statistics.roc_curve([1, 2], given)),
    },
    # Certificates of filters and networks of one's own.
    "certify": {
        "signals": free(SIGNALS, lambda given: dcsc.certify(DICTIONARY, signals=given, draws=0).measured, empty=False),
        "activations": free(
            CODES, lambda given: dcsc.certify(DICTIONARY, activations={"layer 1": given}, draws=0).measured, empty=False
        ),
    },
}

UNUSED = {"noise", "reference"}
"""What every pursuit takes, and not every one looks at."""
LEFT_OUT = {
    "draw_blocks": "takes what draws",
    "certified_stripe_sparsity": "reads codes as the guarantees of its rungs do",
    "draw_magnitudes": "reads atoms alone",
    "patch_l2_of_bounds": "takes bounds, which may be infinite",
    "thresholded_signals": "takes signals and a rule that were checked",
}


def takes(thing):
    """Parameters that are a user's arrays, or codes as lists."""
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return set()
    # What a result is made of is not a user's.
    kinds = "ArrayLike" if inspect.isclass(thing) else "ArrayLike|RaggedCodes"
    return {each.name for each in parameters if re.search(kinds, str(each.annotation))}


def public():
    """Public functions, classes and methods that take arrays, by name."""
    found = {}

    def visit(name, thing):
        if takes(thing):
            found[name] = takes(thing)
        if inspect.isclass(thing):
            methods = inspect.getmembers(thing, lambda member: inspect.isfunction(member) or inspect.ismethod(member))
            for method, function in methods:
                if not method.startswith("_") and takes(function):
                    found[f"{name}.{method}"] = takes(function)

    for name in dcsc._HOMES:
        visit(name, getattr(dcsc, name))
    for package in ("families", "guarantees", "pursuit", "sampling"):
        module = importlib.import_module(f"dcsc.{package}")
        for name in module.__all__:
            visit(name, getattr(module, name))
    for alias in ("adversary", "coherence", "dictionary", "sparse_path", "sparsity", "statistics"):
        module = getattr(dcsc, alias)
        for name, thing in vars(module).items():
            if not name.startswith("_") and getattr(thing, "__module__", "") == module.__name__:
                visit(name, thing)
    return found


def test_no_public_function_is_forgotten():
    for name, parameters in public().items():
        if name in LEFT_OUT:
            continue
        assert name in CALLS, f"{name} takes arrays: say above how it is called"
        covered = {key.split(",")[0] for key in CALLS[name]}
        assert parameters - UNUSED <= covered, f"{name} is not called with all of its arrays"


EVERY = [(f"{name}({key})", given) for name, calls in CALLS.items() for key, given in calls.items()]
ARRAYS = [pytest.param(given, id=name) for name, given in EVERY if not isinstance(given.good, RaggedCodes)]
LISTS = [pytest.param(given, id=name) for name, given in EVERY if isinstance(given.good, RaggedCodes)]


@pytest.fixture(autouse=True)
def no_warnings():
    """NumPy's own warnings, such as that of a lost imaginary part, are errors here."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def refused(given, value):
    with pytest.raises(UserError) as refusal:
        given.call(value)
    assert re.fullmatch(r"[^\n]{10,400}\.", str(refusal.value))
    return str(refusal.value)


def numbers_of(result):
    """All numbers of a result, whatever it is made of."""
    if isinstance(result, RaggedCodes):
        return [result.to_dense().ravel().astype(float)]
    if dataclasses.is_dataclass(result):
        return numbers_of([getattr(result, field.name) for field in dataclasses.fields(result)])
    if isinstance(result, dict):
        return numbers_of(list(result.values()))
    if isinstance(result, tuple | list):
        return [numbers for part in result for numbers in numbers_of(part)]
    if isinstance(result, np.ndarray | np.generic | float | int):
        return [np.asarray(result, dtype=float).ravel()]
    return []


def agree(one, other, tolerance=1e-12):
    for left, right in zip(numbers_of(one), numbers_of(other), strict=True):
        np.testing.assert_allclose(left, right, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("given", ARRAYS)
def test_what_are_no_real_numbers_is_refused(given):
    refused(given, given.good.astype(complex) + 1j)
    refused(given, given.good.astype(complex))
    refused(given, given.good.astype(str))
    refused(given, given.good.astype(object))
    refused(given, np.full(given.good.shape, None))
    refused(given, [[1.0], [1.0, 2.0], [1.0]])


@pytest.mark.parametrize("given", ARRAYS)
def test_what_is_not_finite_is_refused(given):
    for value in (np.nan,) * (not given.missing) + (np.inf, -np.inf) * (not given.infinite):
        spoilt = given.good.copy()
        spoilt.flat[-1] = value
        refused(given, spoilt)


@pytest.mark.parametrize("given", [each for each in ARRAYS if each.values[0].low > -math.inf])
def test_what_is_below_its_bound_is_refused(given):
    refused(given, np.full_like(given.good, -1.0))


@pytest.mark.parametrize("given", [each for each in ARRAYS if each.values[0].last is not None])
def test_other_shapes_are_refused(given):
    grown = np.concatenate([given.good] * 3, axis=-1) if given.good.ndim else np.full(7, given.good)
    refused(given, grown)


@pytest.mark.parametrize("given", [each for each in ARRAYS if each.values[0].empty])
def test_batches_may_be_empty(given):
    given.call(given.good[:0])


@pytest.mark.parametrize("given", ARRAYS)
def test_zeros_are_numbers(given):
    zeros = np.zeros_like(given.good)
    if given.fails_on_zeros:
        assert given.fails_on_zeros in refused(given, zeros)
    else:
        given.call(zeros)


@pytest.mark.parametrize("given", ARRAYS)
def test_layout_and_type_do_not_matter(given):
    expected = given.call(given.good)
    strided = np.repeat(given.good[..., None], 2, axis=-1)[..., 0]
    agree(given.call(strided), expected)
    agree(given.call(given.good.tolist()), expected)
    agree(given.call(given.good.astype(np.float32)), expected, 2e-3)
    if np.array_equal(given.good, np.round(given.good)):
        agree(given.call(given.good.astype(np.int64)), expected, 1e-9)


@pytest.mark.parametrize("given", LISTS)
def test_lists_are_checked_alike(given):
    expected = given.call(LISTED)
    for value in (np.nan, np.inf):
        spoilt = LISTED.value.copy()
        spoilt[-1] = value
        refused(given, LISTED.with_values(spoilt))
    with pytest.raises(UserError, match="real numbers"):
        LISTED.with_values(LISTED.value + 1j)
    if given.last is not None:
        refused(given, RaggedCodes(LISTED.row_size, LISTED.atom, LISTED.value, (3, 8)))
    given.call(LISTED.rows(slice(0, 0)))
    given.call(RaggedCodes.from_dense(0 * CODES, DICTIONARY.code_shape))
    agree(given.call(LISTED.with_values(LISTED.value.astype(np.int64))), expected, 1e-9)
