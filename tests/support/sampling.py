"""Draws that only tests make: chunks of deep codes, and noise that meets a bound in every patch."""

from __future__ import annotations

import numpy as np

from dcsc.convolution.sparse_path import correlate_codes
from dcsc.errors import UserError
from dcsc.model import sparsity
from dcsc.parallel import over_blocks
from dcsc.ragged import concatenate
from dcsc.sampling import DeepDraw, deep_codes
from dcsc.seeds import BLOCK, stream


def deep_blocks(study_seed, dictionaries, trials, *, random_layers=False, first=0, threads=None, key=None, **options):
    """Draw a chunk of deep codes; T^(1), ..., T^(L) come from a stream of their own when the layers are random."""
    if trials < 1 or int(trials) != trials:
        raise UserError(f"trials = {trials} is not allowed: draw at least one.")
    if first < 0 or first % BLOCK:
        raise UserError(f"first = {first} is not allowed: start at a multiple of {BLOCK}, the trials of a block.")

    def work(start, stop):
        block = {"block": (first + start) // BLOCK, **(key or {})}
        given = dict(options)
        if random_layers:
            given["layer_signs"] = stream(study_seed, part="layer signs", **block)
        whole = deep_codes(stream(study_seed, part="deepest code", **block), dictionaries, BLOCK, **given)
        kept = slice(0, stop - start)
        return DeepDraw(
            tuple(codes.rows(kept) for codes in whole.codes),
            None if whole.signs is None else tuple(signs[kept] for signs in whole.signs),
            whole.cancelled[kept],
            whole.refused[kept],
            whole.certificates,
        )

    blocks = over_blocks(trials, work, threads)
    signs = [block.signs for block in blocks]
    return DeepDraw(
        tuple(concatenate(list(layer)) for layer in zip(*[block.codes for block in blocks], strict=True)),
        None if signs[0] is None else tuple(np.concatenate(layer) for layer in zip(*signs, strict=True)),
        *(np.concatenate([getattr(block, name) for block in blocks]) for name in ("cancelled", "refused")),
        blocks[0].certificates,
    )


def bounded_noise(rng, dictionary, trials, *, bound):
    """Gaussian directions scaled so that the largest patch meets a bound, ||E||^P_{2,inf} = bound."""
    noise = rng.standard_normal((trials, *dictionary.signal_shape))
    norms = np.asarray(sparsity.patch_l2(noise, dictionary))
    return noise * (bound / norms).reshape(-1, *[1] * (noise.ndim - 1))


def adversarial_noise(dictionary, codes, threshold, *, bound):
    """
    Noise of a given patch norm, in one patch, that hurts a threshold most.

    Along an atom d_i it moves c_i by the whole bound, which no noise of that patch norm exceeds
    (Cauchy-Schwarz); it attacks the atom with the smallest margin, so that it breaks the recovery
    of support and signs iff any noise within the bound does, up to equality.
    """
    n_trials = codes.row_size.size
    correlations = correlate_codes(dictionary, codes).reshape(n_trials, dictionary.n_atoms)
    beta = np.broadcast_to(np.asarray(threshold, dtype=np.float64), codes.batch_shape).reshape(-1, 1)
    trials = np.repeat(np.arange(n_trials), codes.row_size.ravel())
    signs = np.zeros(correlations.shape)
    signs[trials, codes.atom] = np.sign(codes.value)
    margins = np.where(signs != 0, signs * correlations - beta, beta - np.abs(correlations))
    target = margins.argmin(axis=1)
    each = np.arange(n_trials)
    outward = np.where(correlations[each, target] >= 0, 1.0, -1.0)
    direction = np.where(signs[each, target] != 0, -signs[each, target], outward)
    attack = np.zeros((n_trials, dictionary.n_atoms))
    attack[each, target] = bound * direction
    return dictionary.synthesize(attack.reshape(*codes.batch_shape, *dictionary.code_shape))
