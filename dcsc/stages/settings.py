"""The typed settings of a job: how signals are drawn, how a pursuit is run, and which guarantees are computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from dcsc.sampling.registry import named
from dcsc.seeds import BLOCK

Rule = Literal["hard", "soft", "relu", "top-k"]


class _Named:
    """What has a name in a job's settings."""

    @classmethod
    def by_name(cls, settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Self]:
        """
        Read what JSON holds of each name.

        Parameters
        ----------
        settings : mapping of str to mapping
            The fields, by name.

        Returns
        -------
        dict
            In the same order.
        """
        return {name: cls(**fields) for name, fields in settings.items()}


@dataclass(frozen=True)
class Draw(_Named):
    """
    How the codes and the noise of a variant are drawn.

    Parameters
    ----------
    support, magnitudes, signs : str or dict
        Names of `dcsc.sampling`, or mappings of `name` and parameters.
    layer_signs : bool or "worst-case"
        Whether the signs of every layer are drawn, or are the worst ones for top-k.
    constraint : str
        What deep codes must satisfy.
    floor : float
        Smallest contrast of every layer.
    noise_db : float or None, in decibels of power
        Signal-to-noise ratio; None without noise.
    windows_of : str or None
        The real signal whose windows are approximated in place of random codes.
    residual : bool
        Whether the windows themselves are observed.
    codes : str or None
        The file whose codes are taken in place of random ones.
    """

    support: str | dict[str, Any]
    magnitudes: str | dict[str, Any]
    signs: str | dict[str, Any]
    layer_signs: bool | Literal["worst-case"]
    constraint: Literal["none", "contrast-floor", "no-overlap", "rejection"]
    floor: float
    noise_db: float | None
    windows_of: str | None
    residual: bool
    codes: str | None = None

    @property
    def is_noisy(self) -> bool:
        """Whether a signal is more than the synthesis of its codes."""
        return self.noise_db is not None or self.residual

    @property
    def has_worst_deepest_signs(self) -> bool:
        """Whether the signs of the deepest code are the worst ones."""
        return self.codes is None and named(self.signs)[0] == "worst-case"

    @property
    def is_adversarial(self) -> bool:
        """Whether signs are the worst ones, so that recovery asks for the signs too."""
        return self.has_worst_deepest_signs or self.layer_signs == "worst-case"

    @property
    def has_rademacher_signs(self) -> bool:
        """Whether the signs of the deepest code are Rademacher, and none are chosen against a pursuit."""
        is_drawn = self.codes is None and self.layer_signs != "worst-case"
        return is_drawn and named(self.signs)[0] == "rademacher"


@dataclass(frozen=True)
class PursuitRun(_Named):
    """
    A pursuit as it is run.

    Parameters
    ----------
    method : str
        A name of `dcsc.pursuit`.
    parameters : dict
        Of another method than layered thresholding.
    rule : str or None
        The non-linearity of layered thresholding.
    threshold : str, float, list of float or of lists of float, or None
        A choice, a number, or one per layer, or, of some layer, one per filter; None for top-k and other methods.
    debias : bool
        Whether values are fitted anew on each support.
    variants : list of str, or None
        Those that it runs on; None for all.
    """

    method: str
    parameters: dict[str, Any]
    rule: Rule | None
    threshold: str | float | list[float | list[float]] | None
    debias: bool
    variants: list[str] | None

    @property
    def is_thresholding(self) -> bool:
        """Whether it is the forward pass, layered thresholding."""
        return self.method == "layered-thresholding"

    @property
    def shrinkage(self) -> Literal["hard", "soft", "relu"]:
        """The rule that guarantees are asked about: top-k does what hard thresholding at the best threshold does."""
        return self.rule if self.rule in ("soft", "relu") else "hard"

    @property
    def is_bounded(self) -> bool:
        """
        Whether the instance forms speak of it.

        They do of thresholds that were not chosen by looking at the signs, and of basis pursuit in its equality form.
        """
        is_oracle = self.threshold in ("oracle", "oracle-by-filter")
        return (self.is_thresholding and not is_oracle) or self.is_equality_basis_pursuit

    @property
    def is_guaranteed_basis_pursuit(self) -> bool:
        """Whether [PRE17] Theorem 11 or 12 speaks of it; fitting anew what it recovers is another pursuit."""
        penalty, debiased = self.parameters.get("penalty"), self.parameters.get("debias", False)
        return self.method == "layered-basis-pursuit" and penalty in (0, "guaranteed") and not debiased

    @property
    def is_equality_basis_pursuit(self) -> bool:
        """Whether it is basis pursuit without a penalty, for codes of any signs: minimal |x|_1 subject to A x = y."""
        given = self.parameters.get("non_negative", False)
        one_sided = any(given) if isinstance(given, list) else given
        return self.is_guaranteed_basis_pursuit and self.parameters["penalty"] == 0 and not one_sided

    @property
    def is_on_lists(self) -> bool:
        """Whether it thresholds lists of correlations, for which no signal need be formed: not with the oracle."""
        return self.is_thresholding and self.is_bounded

    def runs_on(self, variant: str) -> bool:
        """
        Tell whether it runs on a variant.

        Parameters
        ----------
        variant : str
            Its name.

        Returns
        -------
        bool
            Of all variants by default.
        """
        return self.variants is None or variant in self.variants


@dataclass(frozen=True)
class Bounds:
    """
    What is computed beside the pursuits.

    Parameters
    ----------
    delta : float
        Failure probability that statistical guarantees admit.
    trials : int
        Trials of each cell and replicate that instance forms are computed for.
    tail : str
        The bound on the tails of the interference.
    """

    delta: float
    trials: int
    tail: str


@dataclass(frozen=True)
class Measures:
    """
    What the metrics of an experiment depend on.

    Parameters
    ----------
    pursuits : dict of str to PursuitRun
        By name.
    errors : bool
        Whether values were kept, and errors are measured.
    bounds : Bounds
        What is computed beside the pursuits.
    variants : dict of str to Draw
        By name.
    """

    pursuits: dict[str, PursuitRun]
    errors: bool
    bounds: Bounds
    variants: dict[str, Draw]

    @classmethod
    def from_json(cls, settings: Mapping[str, Any]) -> Measures:
        """
        Read the settings of a job.

        Parameters
        ----------
        settings : mapping
            The same fields as JSON holds them.

        Returns
        -------
        Measures
            Typed.
        """
        pursuits, variants = PursuitRun.by_name(settings["pursuits"]), Draw.by_name(settings["variants"])
        bounds = Bounds(*(settings["bounds"][name] for name in ("delta", "trials", "tail_of_trials")))
        return cls(pursuits, settings["errors"], bounds, variants)


@dataclass(frozen=True)
class Draws:
    """
    What the draws of a chunk of trials depend on.

    Parameters
    ----------
    seed : int
        Seed of the study.
    experiment, cascade : str
        Names that enter the random streams; the members of a series share the second, so that they share draws.
    active : list of int
        Numbers of active atoms of the deepest code, a cell each.
    variants : dict of str to Draw
        By name.
    blocks : tuple of int
        First block, and the one after the last.
    trials : int
        Trials of a cell up to the end of this chunk, which may cut its last block short.
    """

    seed: int
    experiment: str
    cascade: str
    active: list[int]
    variants: dict[str, Draw]
    blocks: tuple[int, int]
    trials: int

    @classmethod
    def from_json(cls, settings: Mapping[str, Any]) -> Draws:
        """
        Read the settings of a job.

        Parameters
        ----------
        settings : mapping
            The same fields as JSON holds them; others are left out.

        Returns
        -------
        Draws
            Typed.
        """
        first, last = settings["blocks"]
        return cls(
            settings["seed"],
            settings["experiment"],
            settings["cascade"],
            list(settings["active"]),
            Draw.by_name(settings["variants"]),
            (first, last),
            settings["trials"],
        )


@dataclass(frozen=True)
class Sweep:
    """
    What the choice of further cells depends on.

    Parameters
    ----------
    draws : Draws
        One block of trials in every coarse cell.
    pursuits : dict of str to PursuitRun
        By name.
    refine : int
        Cells to add to a fall.
    adversarial : frozenset of str
        Variants in which signs must be recovered too.
    """

    draws: Draws
    pursuits: dict[str, PursuitRun]
    refine: int
    adversarial: frozenset[str]

    @classmethod
    def from_json(cls, settings: Mapping[str, Any]) -> Sweep:
        """
        Read the settings of a job; the coarse trials have streams of their own.

        Parameters
        ----------
        settings : mapping
            `seed`, `experiment`, `cascade`, `active` and `variants` as for `Draws`, and the other fields.

        Returns
        -------
        Sweep
            Typed.
        """
        own = {"experiment": f"{settings['experiment']}, coarse", "blocks": (0, 1), "trials": BLOCK}
        return cls(
            Draws.from_json({**settings, **own}),
            PursuitRun.by_name(settings["pursuits"]),
            settings["refine"],
            frozenset(settings["adversarial"]),
        )


@dataclass(frozen=True)
class Certification:
    """
    What is certified depends on.

    Parameters
    ----------
    draws : Draws
        Of any size and block.
    pursuits : dict of str to PursuitRun
        By name.
    basis_pursuit : bool
        Whether layered basis pursuit is certified, too.
    by_pairs : bool
        Whether top-k of one layer is, pair by pair.
    delta : float
        Failure probability that is admitted.
    tail : str
        The bound on the tails of the interference.
    n_draws : int
        Draws behind every number that is estimated, at least.
    confidence : float
        Of every limit.
    """

    draws: Draws
    pursuits: dict[str, PursuitRun]
    basis_pursuit: bool
    by_pairs: bool
    delta: float
    tail: str
    n_draws: int
    confidence: float

    @classmethod
    def from_json(cls, settings: Mapping[str, Any]) -> Certification:
        """
        Read the settings of a job.

        Parameters
        ----------
        settings : mapping
            `seed`, `experiment`, `cascade` and `variants` as for `Draws`, `draws` for `n_draws`, and the other fields.

        Returns
        -------
        Certification
            Typed.
        """
        return cls(
            Draws.from_json({**settings, "active": [], "blocks": (0, 0), "trials": BLOCK}),
            PursuitRun.by_name(settings["pursuits"]),
            settings["basis_pursuit"],
            settings["by_pairs"],
            settings["delta"],
            settings["tail"],
            settings["draws"],
            settings["confidence"],
        )
