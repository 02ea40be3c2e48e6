"""Confidence intervals and limits of proportions and means, transition points, and ROC curves."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import check_finite, common_batch, real_array, real_numbers
from dcsc.errors import UserError

_ROUNDING = 1e-9


def _counts(successes: ArrayLike, trials: ArrayLike) -> tuple[NDArray, NDArray]:
    """Counts that fit one another, of the same shape."""
    counts = [real_numbers(given, name, low=0) for name, given in (("successes", successes), ("trials", trials))]
    for array in counts:
        check_finite(array, "counts")
    shape = common_batch("successes and trials", *[array.shape for array in counts])
    won, of_all = (np.broadcast_to(array, shape) for array in counts)
    if np.any(won > of_all):
        raise UserError("there are more successes than trials: make the counts agree.")
    return won, of_all


def proportion_interval(successes: ArrayLike, trials: ArrayLike, confidence: float = 0.95) -> tuple[NDArray, NDArray]:
    """
    Clopper-Pearson confidence interval of a proportion.

    Parameters
    ----------
    successes, trials : array_like of int, shape (...)
        Counts, broadcast together.
    confidence : float
        Level: the probability that the interval covers the proportion is at least this, also at 0 out of n.

    Returns
    -------
    lower, upper : ndarray, shape (...)
        Ends of the interval.

    Raises
    ------
    UserError
        When the counts are not finite numbers from 0, do not fit, or exceed the trials.

    Examples
    --------
    >>> from dcsc.statistics import proportion_interval
    >>> [float(end.round(3)) for end in proportion_interval(300, 300)]
    [0.988, 1.0]
    """
    from statsmodels.stats.proportion import proportion_confint

    successes, trials = _counts(successes, trials)
    with np.errstate(divide="ignore", invalid="ignore"):  # nothing is known without trials
        lower, upper = proportion_confint(successes.ravel(), trials.ravel(), alpha=1 - confidence, method="beta")
    # At the ends the beta quantile is not defined, and the limit is known.
    lower = np.where(successes.ravel() == 0, 0.0, lower)
    upper = np.where(successes.ravel() == trials.ravel(), 1.0, upper)
    return lower.reshape(successes.shape), upper.reshape(successes.shape)


def proportion_lower_limit(successes: ArrayLike, trials: ArrayLike, confidence: float = 0.95) -> NDArray:
    """
    One-sided lower confidence limit of a proportion, after Clopper and Pearson.

    Parameters
    ----------
    successes, trials : array_like of int, shape (...)
        Counts, broadcast together.
    confidence : float
        Level: the probability that the proportion lies above the limit is at least this.

    Returns
    -------
    ndarray, shape (...)
        The limit: 0 without successes; 300 of 300 give 0.990 at 95 %.
    """
    return proportion_interval(successes, trials, 2 * confidence - 1)[0]


def mean_upper_limit(values: ArrayLike, confidence: float = 0.95) -> float:
    """
    Upper confidence limit of the mean of independent values in [0, 1], valid for every law and number of them.

    The limit follows from a sequential test of the mean m (Waudby-Smith and Ramdas, Estimating means of bounded random
    variables by betting, JRSS B 2024). A bettor stakes a share of the capital on every value being below m. If m is the
    mean, the capital grows by a factor of more than 1 / (1 - confidence) with probability at most 1 - confidence. The
    capital is divided among several shares, since the best one depends on the law; half of it is given to the largest,
    which is best when nearly all values are close to 0.

    Parameters
    ----------
    values : array_like, shape (draw,)
        Independent values in [0, 1], each with a mean that is at most that of all or of the same law; draws from
        several dictionaries in equal numbers are allowed.
    confidence : float
        Level of the limit.

    Returns
    -------
    float
        The limit, in [0, 1]; 1 without values.

    Raises
    ------
    UserError
        When a value is not a number in [0, 1].
    """
    from scipy.optimize import brentq

    values = real_array(values, "values").astype(np.float64).ravel()
    if np.any(values < -_ROUNDING) or np.any(values > 1 + _ROUNDING):
        raise UserError(
            "the values leave [0, 1], where the limit is valid: divide them by the largest that there can be."
        )
    stakes, money = np.array([0.99, 0.5, 0.25, 0.1, 0.03]), np.array([0.5, 0.125, 0.125, 0.125, 0.125])

    def evidence(mean: float) -> float:
        """Logarithm of what the stakes make of one unit of money, if the mean were this, over what refutes it."""
        # A stake of share c wins c (m - value) / (1 - m), which is at least -c.
        wealth = np.log1p(stakes[:, None] * (mean - values) / (1 - mean)).sum(axis=1)
        return float(_log_of_sum(wealth, money) + np.log(1 - confidence))

    low, high = float(values.mean()) if len(values) else 1.0, 1 - 1e-12
    if low >= high or evidence(high) <= 0:
        return 1.0
    return float(brentq(evidence, low, high, xtol=1e-9)) if evidence(low) < 0 else low


def _log_of_sum(exponents: NDArray, weights: NDArray) -> np.float64:
    """Logarithm of a weighted sum of exp; the bits of `scipy.special.logsumexp`, in a tenth of its time for a few."""
    most = exponents.max()
    is_most = exponents == most
    weight = (weights * is_most).sum()
    rest = (weights * np.exp(np.where(is_most, -np.inf, exponents) - most)).sum()
    return np.log1p(rest / weight) + np.log(weight) + most


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float, float]:
    """
    Student interval of a mean over independent replicates.

    Parameters
    ----------
    values : array_like, shape (replicate,)
        One number per replicate; those that are not finite are left out.
    confidence : float
        Level of the interval.

    Returns
    -------
    mean, lower, upper : float
        The ends are NaN with fewer than two replicates.

    Raises
    ------
    UserError
        When they hold anything but real numbers.
    """
    from statsmodels.stats.weightstats import DescrStatsW

    finite = real_array(values, "values", finite=False).astype(np.float64)
    finite = finite[np.isfinite(finite)]
    if len(finite) < 2:
        return (float(finite[0]) if len(finite) else np.nan), np.nan, np.nan
    lower, upper = DescrStatsW(finite).tconfint_mean(alpha=1 - confidence)
    return float(finite.mean()), float(lower), float(upper)


def paired_difference(first: ArrayLike, second: ArrayLike, confidence: float = 0.95) -> tuple[float, float, float]:
    """
    Difference of two success rates on the same trials, with an interval.

    The interval is the wider of two: Student's over the differences of independent replicates, which allows for
    what the trials of a replicate share, and the one that follows from the exact intervals of the shares of trials at
    which only the first, or only the second, succeeds.

    Parameters
    ----------
    first, second : array_like of bool, shape (replicate, trial)
        Successes; entry by entry of the same trial.
    confidence : float
        Level of the interval.

    Returns
    -------
    difference, lower, upper : float
        Rate of the first minus rate of the second; NaN without trials.

    Raises
    ------
    UserError
        When they are not finite numbers, or of different shapes.
    """
    first, second = (np.atleast_2d(real_array(given, "successes").astype(bool)) for given in (first, second))
    if first.shape != second.shape:
        raise UserError(f"successes of shapes {first.shape} and {second.shape} are not of the same trials: pair them.")
    if not first.size:
        return float("nan"), float("nan"), float("nan")
    alone = [np.count_nonzero(first & ~second), np.count_nonzero(second & ~first)]
    (low_won, low_lost), (high_won, high_lost) = proportion_interval(alone, first.size, (1 + confidence) / 2)
    _, student_low, student_high = mean_interval(first.mean(axis=1) - second.mean(axis=1), confidence)
    lower, upper = np.fmin(low_won - high_lost, student_low), np.fmax(high_won - low_lost, student_high)
    return (alone[0] - alone[1]) / first.size, float(max(lower, -1)), float(min(upper, 1))


def transition_point(
    sparsity: ArrayLike, successes: ArrayLike, trials: ArrayLike, level: float = 0.5
) -> tuple[float, str]:
    """
    Find the sparsity at which the recovery rate falls through a level.

    The rates are made monotone by isotonic regression, weighted by trials, and
    interpolated linearly against the logarithm of the sparsity.

    Parameters
    ----------
    sparsity : array_like, shape (cell,)
        Positive, of cells in ascending order; of neighbours, a mean over trials may fall by chance.
    successes, trials : array_like of int, shape (cell,)
        Counts of each cell.
    level : float
        The level, in (0, 1).

    Returns
    -------
    point : float
        The sparsity; the last one when the rate never falls below the level, and
        the first one when it is below from the start.
    censored : {'', 'above', 'below'}
        Whether the transition lies beyond the cells, and on which side.

    Raises
    ------
    UserError
        When there is no cell, a sparsity is not positive, or the counts do not fit.
    """
    from scipy.optimize import isotonic_regression

    sparsity = real_array(sparsity, "sparsities").astype(np.float64)
    if sparsity.ndim != 1 or not sparsity.size or np.any(sparsity <= 0):
        raise UserError("the sparsities of the cells must be positive: give at least one cell, in ascending order.")
    successes, trials = _counts(successes, trials)
    if successes.shape != sparsity.shape or not trials.all():
        raise UserError(f"counts of shape {successes.shape} do not fit {len(sparsity)} cells of one trial or more.")
    monotone = isotonic_regression(successes / trials, weights=trials.astype(np.float64), increasing=False).x
    if monotone[-1] >= level:
        return float(sparsity[-1]), "above"
    if monotone[0] < level:
        return float(sparsity[0]), "below"
    after = int(np.argmax(monotone < level))
    share = (monotone[after - 1] - level) / (monotone[after - 1] - monotone[after])
    return float(np.exp((1 - share) * np.log(sparsity[after - 1]) + share * np.log(sparsity[after]))), ""


def _scored(scores: ArrayLike, positive: ArrayLike) -> tuple[NDArray, NDArray]:
    """Scores, infinite ones among them, and what happened."""
    numbers, happened = real_numbers(scores, "scores"), real_array(positive, "outcomes").astype(bool)
    if numbers.ndim != 1 or numbers.shape != happened.shape:
        raise UserError(
            f"scores of shape {numbers.shape} and outcomes of shape {happened.shape}: give one for each trial."
        )
    return numbers, happened


def auc(scores: ArrayLike, positive: ArrayLike) -> float:
    """
    Area under the ROC curve: the probability that a positive has a larger score than a negative, ties counted half.

    Parameters
    ----------
    scores : array_like, shape (trial,)
        What predicts.
    positive : array_like of bool, shape (trial,)
        What happened.

    Returns
    -------
    float
        In [0, 1], NaN when all or none are positive.

    Raises
    ------
    UserError
        When the scores are not numbers, or there is not one outcome for each.
    """
    from scipy.stats import rankdata

    scores, positive = _scored(scores, positive)
    n_positive = np.count_nonzero(positive)
    n_negative = len(positive) - n_positive
    if n_positive == 0 or n_negative == 0:
        return float("nan")
    ranks = rankdata(scores)[positive].sum()
    return float((ranks - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def roc_curve(scores: ArrayLike, positive: ArrayLike) -> tuple[NDArray, NDArray]:
    """
    ROC curve of a score: what share of negatives and of positives lies at or above each value of it.

    Parameters
    ----------
    scores : array_like, shape (trial,)
        What predicts.
    positive : array_like of bool, shape (trial,)
        What happened.

    Returns
    -------
    false_alarms, hits : ndarray, shape (distinct scores + 1,)
        From (0, 0) to (1, 1).

    Raises
    ------
    UserError
        When the scores are not numbers, or there is not one outcome for each.
    """
    scores, positive = _scored(scores, positive)
    levels = np.unique(scores)[::-1]
    at_or_above = [
        np.concatenate([[0], len(part) - np.searchsorted(np.sort(part), levels, side="left")]) / max(len(part), 1)
        for part in (scores[~positive], scores[positive])
    ]
    return at_or_above[0], at_or_above[1]
