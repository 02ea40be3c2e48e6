"""The certificates stage: the largest number of activations that each rung certifies for each pursuit, as it is run."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.random import Generator
from numpy.typing import NDArray

from dcsc import guarantees, seeds
from dcsc.guarantees import CertifiedSize, Failures
from dcsc.model import coherence, sparsity
from dcsc.model.cascade import Cascade
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.pursuit import thresholding
from dcsc.ragged import RaggedCodes, take
from dcsc.sampling.deep import certificates
from dcsc.sampling.registry import named
from dcsc.stages.pursuits import given_thresholds
from dcsc.stages.settings import Certification, Draw, PursuitRun
from dcsc.stages.signals import draw_cell
from dcsc.store.readers import cascades_of

PILOT = 64
"""Draws, over all dictionaries, that only say where to look."""
CEILING = 20
"""Over delta: what cheap bounds may exceed by a mean that is much below delta, at a size that is certified."""
MANY, SHARP = 4.0, 1.0
"""Draws with a cheap bound, and with the sharpest one, over those that a yes or no takes."""

BASIS_PURSUIT = "basis pursuit"
"""Label of layered basis pursuit in its equality form, which can be certified without being run."""

TOP_K = "top-k"
"""Rule without a threshold, whose certificates are those of the best one, and by pairs."""

PATH = "path"
"""Name of the part that is the whole path; the others are single layers whose input is exact."""


def certify_draws(settings: Mapping[str, Any], dictionaries: xr.DataTree) -> xr.Dataset:
    """
    Find what every rung certifies for every pursuit and variant, at the thresholds of that pursuit.

    All of it is for the supports and magnitudes that are drawn, closed forms included: draws of their own, pooled over
    the dictionaries in equal numbers, give a confidence limit at every size that is claimed.
    Rungs about random signs speak of variants whose signs are Rademacher, those about all signs of every variant;
    rungs of basis pursuit speak of its equality form, under the name of the pursuit that is run and, if asked for, as
    `BASIS_PURSUIT`.

    Parameters
    ----------
    settings : mapping
        `seed`, `experiment`, `cascade`, `variants`, `pursuits`, `basis_pursuit` (whether that is certified, too,
        without being run), `by_pairs` (whether top-k of one layer is), `delta`, `draws` (behind every number that is
        estimated, at least) and `confidence`.
    dictionaries : DataTree
        Of the dictionaries stage.

    Returns
    -------
    Dataset
        After the schema of the certificates stage.
    """
    cascades = cascades_of(dictionaries)
    depth = cascades[0].depth
    parts = [PATH] if depth == 1 else [PATH, *(f"layer {layer}" for layer in range(1, depth + 1))]
    chosen = Certification.from_json(settings)
    variants = chosen.draws.variants
    pursuits = chosen.pursuits | ({BASIS_PURSUIT: None} if chosen.basis_pursuit else {})
    of_basis_pursuit = any(_rule_of(options)[0] == BASIS_PURSUIT for options in pursuits.values())
    labels = {
        "pursuit": list(pursuits),
        "variant": list(variants),
        "rung": [
            *guarantees.THRESHOLDING_RUNGS,
            *([guarantees.TOP_K_RUNG] if chosen.by_pairs and depth == 1 else []),
            *(guarantees.BASIS_PURSUIT_RUNGS if of_basis_pursuit else []),
        ],
        "part": parts,
    }
    lengths = tuple(map(len, labels.values()))
    found = {name: np.zeros(lengths, np.int64) for name in ("active", "next_active", "draws")}
    found |= {"applies": np.zeros(lengths, bool), "limit": np.full(lengths, np.nan)}
    by_layer = ("stripe_sparsity", "next_stripe_sparsity", "density")
    found |= {name: np.full((*lengths, depth), np.nan) for name in by_layer}
    draws = _Draws(chosen, cascades)
    for place in np.ndindex(*lengths):
        pursuit, variant, rung, part = (names[at] for names, at in zip(labels.values(), place, strict=True))
        options, draw = pursuits[pursuit], variants[variant]
        if not _speaks(rung, options, draw, depth, variant):
            continue
        if part != PATH and rung in guarantees.SUPPORT_RUNGS:
            continue  # they say of a path what they say of each layer, whose input is exact anyway
        if _is_statistical(rung) and part != PATH and _random_signs(draw, depth) == "deepest":
            continue  # the signs of an inner layer are not Rademacher there
        found["applies"][place] = True
        size = draws.certified(variant, rung, part, _rule_of(options))
        for name, value in (("active", size.size), ("next_active", size.next_size or 0), ("draws", size.draws)):
            found[name][place] = value
        found["limit"][place] = size.limit if size.size else np.nan
        if size.size:
            found["stripe_sparsity"][place] = draws.stripes(variant, size.size)
            found["density"][place] = draws.densities(variant, size.size)
        if size.next_size:
            found["next_stripe_sparsity"][place] = draws.stripes(variant, size.next_size)
    dims = tuple(labels)
    coherences = [coherence.mutual_coherence(cascade.dictionaries[0]) for cascade in cascades]
    return xr.Dataset(
        {name: ((*dims, "layer") if name in by_layer else dims, values) for name, values in found.items()}
        | {"mutual_coherence": ("replicate", coherences)},
        coords={**labels, "layer": np.arange(1, depth + 1), "replicate": np.arange(len(cascades))},
    )


_Rule = tuple[str, Any, bool]
"""What of a pursuit decides on its supports: the rule, the threshold and whether it debiases."""


def _rule_of(options: PursuitRun | None) -> _Rule:
    if options is None or options.is_equality_basis_pursuit:
        return BASIS_PURSUIT, None, False
    threshold = options.threshold
    if isinstance(threshold, list):
        threshold = tuple(tuple(beta) if isinstance(beta, list) else beta for beta in threshold)
    return options.rule or "", threshold, options.debias


def _speaks(rung: str, options: PursuitRun | None, draw: Draw, depth: int, variant: str) -> bool:
    """Whether a rung is about a pursuit and the signs of a variant, drawn without noise."""
    if draw.codes is not None:  # what a file holds is no law, of which more could be drawn
        return False
    if draw.is_noisy or (options is not None and not (options.is_bounded and options.runs_on(variant))):
        return False
    rule = _rule_of(options)[0]
    if (rule == BASIS_PURSUIT) != (rung in guarantees.BASIS_PURSUIT_RUNGS):
        return False
    if rung == guarantees.TOP_K_RUNG and rule != TOP_K:
        return False
    if options is not None and thresholding.is_by_filter(options.threshold) and "babel" in rung:
        return False
    if not _is_statistical(rung):
        return True
    return _random_signs(draw, depth) is not None and (depth == 1 or rung.endswith("instance"))


def _is_statistical(rung: str) -> bool:
    """Whether a rung is about random signs."""
    return "statistical" in rung


def _random_signs(draw: Draw, depth: int) -> str | None:
    """Which signs the statistical forms may take for Rademacher, none where draws carry no such certificate."""
    carried = certificates(draw.constraint, depth, draw.has_rademacher_signs, draw.layer_signs is True)
    if draw.windows_of or "given-acceptance" in carried:
        return None
    return {"statistical": "rademacher", "statistical-plain": "deepest"}.get(
        next((name for name in ("statistical", "statistical-plain") if name in carried), "")
    )


class _Draws:
    """Codes of any size, pooled over all dictionaries, and which of them a rung leaves to fail."""

    def __init__(self, settings: Certification, cascades: list[Cascade]) -> None:
        self._settings, self._cascades = settings, cascades
        self.codes = functools.lru_cache(maxsize=2048)(self._codes)
        self._certified: dict[tuple[Any, ...], CertifiedSize] = {}

    def _sizes(self, law: str) -> list[int]:
        name, parameters = named(self._settings.draws.variants[law].support)
        n_atoms = self._cascades[0].dictionaries[-1].n_atoms
        return guarantees.candidate_sizes(len(parameters["atoms"]) if name == "given" else n_atoms)

    def _law(self, variant: str) -> str:
        """The first variant that is drawn alike; of one layer, whatever its signs."""
        variants = self._settings.draws.variants
        if self._cascades[0].depth == 1:
            variants = {name: replace(draw, signs="rademacher", layer_signs=False) for name, draw in variants.items()}
        return next(name for name, draw in variants.items() if draw == variants[variant])

    def _of_block(self, purpose: str) -> int:
        """Draws of a block that are looked at."""
        return min(seeds.BLOCK, math.ceil(PILOT / len(self._cascades))) if purpose == "pilot" else seeds.BLOCK

    def blocks(self, wanted: float, purpose: str = "draws") -> list[tuple[int, int]]:
        """List block and replicate of so many draws of a size, over all dictionaries."""
        blocks = math.ceil(wanted / (self._of_block(purpose) * len(self._cascades)))
        return [(block, replicate) for block in range(blocks) for replicate in range(len(self._cascades))]

    def _codes(self, law: str, size: int, purpose: str, block: int, replicate: int) -> list[RaggedCodes]:
        """[X^(1), ..., X^(L)] of one block of draws."""
        draws = self._settings.draws
        draw = draws.variants[law]
        if self._cascades[0].depth == 1:
            draw = replace(draw, signs="rademacher")  # no instance form depends on them, and worst-case ones are dear
        own = replace(
            draws,
            experiment=f"{draws.experiment}, certificates, {purpose}",
            variants={law: draw},
            blocks=(block, block + 1),
        )
        return draw_cell(own, self._cascades[replicate], replicate, law, size, self._of_block(purpose)).codes

    def _sharp_tails(self, law: str, size: int, purpose: str, block: int, replicate: int) -> Generator:
        """Draw which atoms, or pairs, of a block of draws have sharp tails."""
        draws = self._settings.draws
        of_study = {"experiment": draws.experiment, "cascade": draws.cascade, "replicate": replicate}
        of_block = {"variant": law, "active": size, "block": f"{purpose}, {block}"}
        return seeds.stream(draws.seed, stage="certificates", what="sharp tails", **of_study, **of_block)

    def certified(self, variant: str, rung: str, part: str, rule: _Rule) -> CertifiedSize:
        """The largest size that a rung certifies."""
        law = self._law(variant)
        if self._cascades[0].depth == 1 and rule[0] not in (TOP_K, BASIS_PURSUIT):
            rule = "hard", rule[1], False  # what is passed on to no layer does not decide on supports
        key = (law, rung, part, rule)
        if key not in self._certified:
            self._certified[key] = guarantees.largest_certified_size(
                functools.partial(self._failures, law, rung, part, rule),
                self._sizes(law),
                self._settings.delta,
                self._settings.confidence,
            )
        return self._certified[key]

    def _largest(self, law: str, rule: _Rule) -> float:
        """The most that one draw can add to the mean that bounds a failure rate."""
        depth, draw = self._cascades[0].depth, self._settings.draws.variants[law]
        if depth == 1 or draw.constraint == "no-overlap":
            return 1.0  # the path is determined, and what one draw adds is a bound on its own failure
        if rule[0] == BASIS_PURSUIT:
            return 1.0 if _random_signs(draw, depth) == "deepest" else float(depth)
        return float(depth) if rule[2] else 1 + self._settings.delta / 2

    def _failures(self, law: str, rung: str, part: str, rule: _Rule, size: int, purpose: str) -> Failures:
        """What each draw, of all dictionaries, adds to the failure rate."""
        largest = self._largest(law, rule)
        sharp_tails = functools.partial(self._sharp_tails, law, size, purpose)
        failing = functools.partial(self._failing, law, rung, part, rule, sharp_tails)
        sums_tails = rung == "statistical-instance" and (self._cascades[0].depth == 1 or rule[2] or part != PATH)
        wanted = PILOT if purpose == "pilot" else self._settings.n_draws
        codes = functools.partial(self.codes, law, size, purpose)
        if not sums_tails:
            found = self._looked_at(self.blocks(wanted, purpose), codes, failing, Failures(np.empty(0), largest))
            return found.repeated(self._settings.n_draws, 0) if purpose == "pilot" else found
        # Sharp tails are dear: they are taken of some draws, and many with cheap ones tell how seldom these are large.
        cheap = min(self._settings.tail, "gaussian", key=guarantees.TAILS.index)
        ceiling = min(CEILING * self._settings.delta, largest / 2)
        more = functools.partial(self._codes, law, size, purpose)
        n_many, n_sharp = (int(share * self._settings.n_draws) for share in (MANY, SHARP))

        cheap_bounds: dict[tuple[int, int], NDArray] = {}

        is_pilot = purpose == "pilot"
        many, some = (self.blocks(wanted if is_pilot else number, purpose) for number in (n_many, n_sharp))

        def excess(block: int, replicate: int, codes: list[RaggedCodes]) -> NDArray:
            if (block, replicate) in some:
                bounds = cheap_bounds[block, replicate] = failing(block, replicate, codes, tail=cheap)
            else:  # nothing but what is above the ceiling counts, which few are and no other is by a rough bound
                bounds = failing(block, replicate, codes, tail=cheap, rough=True)
                rows = np.flatnonzero(bounds > ceiling)
                if len(rows):
                    bounds[rows] = failing(block, replicate, [take(code, rows) for code in codes], tail=cheap)
            return np.maximum(bounds - ceiling, 0.0)

        def sharp(block: int, replicate: int, codes: list[RaggedCodes]) -> NDArray:
            closed = cheap_bounds[block, replicate]  # these blocks are the first of those that were looked at
            rows, values = np.flatnonzero((closed > 0) & (closed < 1)), np.minimum(closed, ceiling)
            if len(rows):
                found = closed[rows]
                if cheap != self._settings.tail or rule[0] == TOP_K:  # else they are what was asked for
                    found = failing(block, replicate, [take(code, rows) for code in codes], room=ceiling)
                values[rows] = found * np.minimum(1.0, ceiling / closed[rows])
            return values

        above = self._looked_at(many, codes if is_pilot else more, excess, Failures(np.empty(0), largest - ceiling))
        found = Failures(np.full(1, ceiling), largest, above.values, ceiling)
        if not self._is_too_much(replace(found, values=np.empty(0)), n_sharp):
            found = self._looked_at(some, codes, sharp, replace(found, values=np.empty(0)))
        return found.repeated(n_sharp, n_many) if is_pilot else found

    def _looked_at(
        self,
        blocks: list[tuple[int, int]],
        codes: Callable[[int, int], list[RaggedCodes]],
        failing: Callable[[int, int, list[RaggedCodes]], NDArray],
        start: Failures,
    ) -> Failures:
        """
        Look at the draws of blocks until they are too many to be certified.

        Then the others count as failures without being drawn: they could not turn the test, and to count them so is on
        the safe side.
        """
        parts: list[NDArray] = []
        most = min(start.largest, start.ceiling)
        for number, (block, replicate) in enumerate(blocks, start=1):
            parts.append(failing(block, replicate, codes(block, replicate)))
            found, left = np.concatenate(parts), (len(blocks) - number) * len(parts[0])
            if left and self._is_too_much(replace(start, values=found), left):
                return replace(start, values=np.append(found, np.full(left, most).astype(found.dtype)))
        return replace(start, values=np.concatenate(parts))

    def _is_too_much(self, failures: Failures, left: int) -> bool:
        """Whether such failures make a size fail, at any level that is asked for, even if none of the others does."""
        values = failures.values
        hopeful = replace(failures, values=np.append(values, np.zeros(left, values.dtype)))
        if hopeful.mean > self._settings.delta:
            return True
        if hopeful.draws < self._settings.n_draws:  # a pilot, so small that no limit could be below delta
            return False
        if failures.excess is None and float(np.sum(values)) < 1:  # seldom enough, and dear to find out
            return False
        return hopeful.limit(self._settings.confidence) > self._settings.delta

    def _failing(
        self,
        law: str,
        rung: str,
        part: str,
        rule: _Rule,
        sharp_tails: Callable[[int, int], Generator],
        block: int,
        replicate: int,
        codes: list[RaggedCodes],
        tail: str | None = None,
        room: float | None = None,
        rough: bool = False,
    ) -> NDArray:
        """
        What each of some draws adds to the failure rate, by the tail that is asked for or another one.

        With room, for the closed bound at a better threshold, sharp tails are those of drawn atoms. Rough bounds cost
        little and are not below what is asked for.
        """
        tail = tail or self._settings.tail
        cascade, (name, threshold, debias) = self._cascades[replicate], rule
        betas = None if name in (TOP_K, BASIS_PURSUIT) else given_thresholds(threshold, cascade, codes, name)
        if part != PATH:
            layer = int(part.removeprefix("layer ")) - 1
            cascade, codes = Cascade([cascade.dictionaries[layer]]), [codes[layer]]
            betas = None if betas is None else [betas[layer]]
        if name == BASIS_PURSUIT:
            return self._failing_basis_pursuit(cascade, codes, law, rung, tail, sharp_tails(block, replicate))
        by_filter = thresholding.is_by_filter(threshold)
        if cascade.depth == 1:
            beta = None if betas is None else betas[0]
            rng = sharp_tails(block, replicate) if room is not None or rung == guarantees.TOP_K_RUNG else None
            return guarantees.draw_failures(
                cascade, codes[0], beta, rung=rung, tail=tail, by_filter=by_filter,
                rng=rng, room=room or 0.0, rough=rough,
            )  # fmt: skip
        if not rung.endswith("instance"):
            form = rung.removeprefix("uniform-")
            choice = "midpoint" if betas is None else betas
            shrinks = "hard" if name == TOP_K else name
            if debias:  # the input of every layer is exact, and these forms make the active atoms independent
                alone = [
                    self._alone(cascade, codes, layer, shrinks, form, choice, by_filter)
                    for layer in range(cascade.depth)
                ]
                return ~np.logical_and.reduce(alone)
            return ~guarantees.uniform(
                cascade, codes, rule=shrinks, form=form, threshold=choice, by_filter=by_filter
            ).holds
        shrinks = "hard" if name == TOP_K else name
        if rung == "uniform-instance":
            paths = guarantees.path_interference(cascade, codes)
            return ~guarantees.covered_as_run(paths, betas, rule=shrinks, debias=debias, by_filter=by_filter)
        signs = _random_signs(self._settings.draws.variants[law], cascade.depth) or "rademacher"
        paths = guarantees.path_interference(cascade, codes, signs)
        return guarantees.as_run(
            paths, betas, rule=shrinks, debias=debias, delta=self._settings.delta / 2, tail=tail, by_filter=by_filter,
            rng=None if room is None else sharp_tails(block, replicate), rough=rough,
        ).failure_bound  # fmt: skip

    def _failing_basis_pursuit(
        self, cascade: Cascade, codes: list[RaggedCodes], law: str, rung: str, tail: str, rng: Generator
    ) -> NDArray:
        """What each draw adds to the failure rate of basis pursuit, of a path or of a layer alone."""
        kind, form = rung.removeprefix("basis-pursuit-").split("-")
        if form != "instance":
            return ~guarantees.basis_pursuit(cascade, codes, form=form).holds
        if kind == "uniform":
            return ~guarantees.recovers_all_signs(cascade, codes)
        draw = self._settings.draws.variants[law]
        signs = _random_signs(draw, cascade.depth) or "rademacher"
        # Where a path is determined, the sum of its layers is capped at 1, and draws of it cannot be.
        is_capped = cascade.depth > 1 and (signs == "deepest" or draw.constraint == "no-overlap")
        drawn = None if is_capped else rng
        return guarantees.basis_pursuit_on_supports(
            cascade, codes, signs=signs, tail=tail, rng=drawn, wanted="not below 1"
        ).failure_bound

    @staticmethod
    def _alone(
        cascade: Cascade,
        codes: list[RaggedCodes],
        layer: int,
        rule: str,
        form: str,
        threshold: str | list[NDArray],
        by_filter: bool,
    ) -> NDArray:
        """Whether a layer whose input is exact is recovered for all signs."""
        choice = threshold if isinstance(threshold, str) else [threshold[layer]]
        alone = Cascade([cascade.dictionaries[layer]])
        return guarantees.uniform(
            alone, [codes[layer]], rule=rule, form=form, threshold=choice, by_filter=by_filter
        ).holds

    def stripes(self, variant: str, size: int) -> NDArray:
        """Mean stripe-sparsity of each layer."""
        return self._mean(variant, size, sparsity.stripe_norm)

    def densities(self, variant: str, size: int) -> NDArray:
        """Mean share of active atoms of each layer."""
        return self._mean(variant, size, lambda code, dictionary: code.row_size / dictionary.n_atoms)

    def _mean(self, variant: str, size: int, measure: Callable[[RaggedCodes, ConvolutionalDictionary], Any]) -> NDArray:
        law = self._law(variant)
        of_blocks = [
            [
                np.mean(measure(code, layer))
                for code, layer in zip(
                    self.codes(law, size, "draws", block, replicate),
                    self._cascades[replicate].dictionaries,
                    strict=True,
                )
            ]
            for block, replicate in self.blocks(self._settings.n_draws)
        ]
        return np.mean(of_blocks, axis=0)
