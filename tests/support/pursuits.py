"""What only tests of pursuits compute."""

from __future__ import annotations

import numpy as np


def multilayer_objective(model, signals, deepest, penalties):
    """Evaluate |y - X^(0)|^2 / 2 + sum over l of lambda_l |X^(l)|_1, where the layers derive from the deepest code."""
    axes = tuple(range(-model.rank - 1, 0))
    layers = model.synthesize(np.asarray(deepest, dtype=np.float64))
    value = ((np.asarray(signals) - layers[0]) ** 2).sum(axis=axes) / 2
    for code, penalty in zip(layers[1:], penalties, strict=True):
        value = value + penalty * np.abs(code).sum(axis=axes)
    return value if value.ndim else float(value)
