"""Random streams keyed by the names and values that define a draw, so that the order of draws does not matter."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

BLOCK = 32
"""Trials in a block: the unit of seeding and of chunk boundaries."""


def stream(study_seed: int, **key: Any) -> np.random.Generator:
    """
    Open the random stream of a named draw.

    Parameters
    ----------
    study_seed : int
        The seed of the whole study.
    **key : JSON values
        The names and values of what defines the draw, such as the experiment, the
        replicate, the cell and the block; never an index into a grid, a chunk, a job,
        a pursuit or a threshold.

    Returns
    -------
    numpy.random.Generator
        The same for the same key, independent of every other key.

    Examples
    --------
    >>> from dcsc.seeds import stream
    >>> bool((stream(0, experiment="a").random(3) == stream(0, experiment="a").random(3)).all())
    True
    >>> bool((stream(0, experiment="a").random(3) == stream(0, experiment="b").random(3)).any())
    False
    """
    return np.random.default_rng(np.random.SeedSequence(entropy(study_seed, **key)))


def entropy(study_seed: int, **key: Any) -> int:
    """
    Hash a seed and a key into the entropy of a `numpy.random.SeedSequence`.

    Parameters
    ----------
    study_seed : int
        The seed of the whole study.
    **key : JSON values
        As for `stream`.

    Returns
    -------
    int
        The entropy, a number of 128 bits.
    """
    text = json.dumps({"study_seed": int(study_seed), **key}, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
