"""Compile all kernels once, so that the jobs of a workflow only load them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dcsc import ragged, sampling
from dcsc.convolution import dense_path, one_step, sparse_path
from dcsc.guarantees import basis_pursuit_instance, bounds, interference, plain_model, sharp_tails, tails
from dcsc.model import sparsity
from dcsc.model.cascade import Cascade
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.pursuit import greedy, lasso, least_squares, splitting
from dcsc.ragged import RaggedCodes
from dcsc.sampling import adversary


def compile_kernels() -> None:
    """Run every kernel on a tiny problem, in both precisions where it has both; minutes at first, then nothing."""
    rng = np.random.default_rng(0)
    dictionary = ConvolutionalDictionary.from_integers([[[1, 1, -1]], [[1, -1, 1]]], 1, (8,))
    parameters = {
        "uniform": {"size": 3},
        "clustered": {"size": 3},
        "minimum-distance": {"size": 1},
        "stripe": {"norm": 2},
        "spread": {"size": 3},
    }
    for name, given in parameters.items():
        codes = sampling.sample_codes(rng, dictionary, 2, support={"name": name, **given}, signs="worst-case")
    adversary.worst_signs_for_threshold(dictionary, codes, 0.5)
    dictionary.synthesize(np.ones(dictionary.code_shape, np.int64))
    for dtype in (np.float64, np.float32):
        converted = dictionary.astype(dtype)
        typed = codes.with_values(codes.value.astype(dtype))
        sparse_path.synthesize_codes(converted, typed)
        correlations = sparse_path.correlate_codes(converted, typed)
        sparse_path.interference_bound(converted, typed)
        sparse_path.margins(converted, typed, correlations)
        sparse_path.recovered_supports(converted, typed, threshold=0.5)
        signals = converted.synthesize(typed.to_dense())
        converted.synthesize(np.ones_like(correlations))
        dense_path.correlate(converted, signals, rule="relu", threshold=0.5)
        one_step.margins(converted, typed, path="dense")
        one_step.recovered_supports(converted, typed, threshold=0.5, path="dense")
        adversary.worst_signs_for_top_k(converted, typed)
        adversary.worst_signs_for_threshold(converted, typed, 0.5)
    inner = ConvolutionalDictionary.from_integers([[[1], [1]], [[1], [-1]]], 1, (8,))
    for constraint in ("none", "contrast-floor", "no-overlap"):
        for magnitudes in ("constant", "uniform"):
            sampling.deep_codes(
                rng, [dictionary, inner], 2, support={"name": "uniform", "size": 2}, magnitudes=magnitudes,
                constraint=constraint, layer_signs=rng,
            )  # fmt: skip
    _run_pursuits(dictionary, signals.astype(np.float64))
    _run_guarantees(dictionary, inner, codes)


def _run_pursuits(dictionary: ConvolutionalDictionary, signals: NDArray) -> None:
    rule, penalties = lasso.StoppingRule("gap", 1e-3, 10), np.full(len(signals), 0.1)
    for orientation in (None, np.ones((len(signals), *dictionary.code_shape))):
        lasso.working_set(dictionary, signals, penalties, rule, orientation)
        trial = lasso.Trial(dictionary, signals[0], None if orientation is None else orientation[0])
        splitting.approach(dictionary, [trial.start(0.1)], 1e-3)
    least_squares.least_squares(Cascade([dictionary]), 1, signals, np.abs(signals[:, [0, 0]]) > 0.5)
    greedy.orthogonal_matching_pursuit(dictionary, signals, np.full(len(signals), 2), np.zeros(len(signals)))


def _run_guarantees(dictionary: ConvolutionalDictionary, inner: ConvolutionalDictionary, codes: RaggedCodes) -> None:
    sparsity.stripe_norm(codes, dictionary)
    sparsity.patch_norm(codes, inner)
    ragged.compare(codes, codes)
    ragged.difference(codes, codes)
    nothing = np.zeros(codes.row_size.size)
    model, deepest = (
        Cascade([dictionary, inner]),
        RaggedCodes.from_dense(np.ones((2, *inner.code_shape)), inner.code_shape),
    )
    bounds.independent_atoms(dictionary, codes, np.arange(codes.row_size.size))
    interference.layer_interference(dictionary, codes)
    interference.largest_write_counts(dictionary, codes)
    tails.best_threshold(plain_model.Propagation.of(model).interference(deepest, 1), nothing, nothing)
    for noise_variance in (0.0, 0.01):
        options = {"noise_variance": noise_variance, "by_filter": True}
        sharp_tails.best_failure(dictionary, codes, nothing, nothing, **options)
        sharp_tails.plain_best_failure(model, deepest, 1, nothing, nothing, **options)
    sharp_tails.tail_probability([1.0, 1.0], [2], 1.5)
    basis_pursuit_instance.support_certificates(dictionary, codes)
