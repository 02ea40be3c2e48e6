"""
Sampling of random codes: supports, magnitudes, signs, noise, and deep codes that stay sparse at every layer.

Every sampler takes a numpy Generator and a number of trials. `draw_blocks` opens one random stream for each block
of `dcsc.seeds.BLOCK` trials, so that a trial does not depend on how many others are drawn.
To add a support, write a function of a generator, a dictionary and a number of trials::

    import numpy as np

    from dcsc import RaggedCodes
    from dcsc.sampling import register_support


    @register_support("first-filter")
    def first_filter(rng, dictionary, trials, *, size):
        codes = np.zeros((trials, *dictionary.code_shape), np.int8)
        for code in codes:
            code[0].flat[rng.choice(code[0].size, size, replace=False)] = 1
        return RaggedCodes.from_dense(codes, dictionary.code_shape)

and name the file under ``plugins:`` in the configuration, which gives the numbers of active atoms
as `size`. Magnitudes (`register_magnitudes`) are
functions of a generator and a count, and of the keyword `supports` if they ask for it, signs
(`register_signs`) of a generator, a dictionary and the magnitudes on their supports.
"""

from typing import Any

from dcsc.errors import UserError
from dcsc.model.layers import synthesize_sparse
from dcsc.sampling.blocks import draw_blocks
from dcsc.sampling.deep import CONSTRAINTS, DeepDraw, deep_codes, given_codes
from dcsc.sampling.noise import gaussian_noise, scale_to_snr, snr
from dcsc.sampling.registry import named, register_magnitudes, register_signs, register_support
from dcsc.sampling.supports import draw_supports
from dcsc.sampling.values import draw_magnitudes, draw_signs, sample_codes
from dcsc.sampling.worst_signs import worst_layer_signs

__all__ = [
    "CONSTRAINTS",
    "DeepDraw",
    "deep_codes",
    "draw_blocks",
    "draw_magnitudes",
    "draw_signs",
    "draw_supports",
    "gaussian_noise",
    "given_codes",
    "named",
    "register_magnitudes",
    "register_signs",
    "register_support",
    "sample_codes",
    "scale_to_snr",
    "snr",
    "synthesize_sparse",
    "worst_layer_signs",
]


def __getattr__(name: str) -> Any:
    """Tell the present name of something that was renamed."""
    if name == "register_magnitude":
        raise UserError("dcsc.sampling has no register_magnitude, it is called register_magnitudes: rename it.")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
