"""Filter banks and the two ways to convolve with them: dense, and through lists of non-zeros."""
