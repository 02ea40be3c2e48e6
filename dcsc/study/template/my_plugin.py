"""A family of filters that this study adds to dcsc. CONTRIBUTING.md of dcsc shows a pursuit and samplers, too."""

import numpy as np

from dcsc import ConvolutionalDictionary
from dcsc.families import register


# The annotations of the parameters are what the configuration is checked against, before anything runs.
@register("ringing")
def ringing(grid, rng, *, frequencies: tuple[float, ...], taps: int, stride: int = 1):  # noqa: ANN001, ANN201
    """Oscillations that die away, one filter per frequency, in cycles per grid point."""
    times = np.arange(taps)
    filters = np.exp(-0.1 * times) * np.cos(2 * np.pi * np.outer(frequencies, times))
    return ConvolutionalDictionary(filters[:, None, :], stride, grid, normalize=True)  # (filter, channel, tap)
