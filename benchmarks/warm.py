"""Compile all kernels once, so that the jobs of a workflow only load them."""

from __future__ import annotations

import numpy as np

from dcsc import sampling
from dcsc.convolution import dense_path, one_step, sparse_path
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.sampling import adversary


def compile_kernels() -> None:
    """Run every kernel on a tiny problem, in single and double precision; seconds at first, then nothing."""
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
    for constraint in ("none", "contrast-floor"):
        for magnitude in ("constant", "uniform"):
            sampling.deep_codes(
                rng, [dictionary, inner], 2, support={"name": "uniform", "size": 2}, magnitude=magnitude,
                constraint=constraint, layer_signs=rng,
            )  # fmt: skip
