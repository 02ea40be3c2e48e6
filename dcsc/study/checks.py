"""Checks that need more than one key or the library: cascades that fit, samplers, pursuits, columns, palettes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dcsc.errors import UserError, nearest
from dcsc.figures.panels import panels
from dcsc.stages.settings import Draw
from dcsc.study.options.pursuits import PursuitOptions
from dcsc.study.options.signals import JOBS_OF_A_CHUNK, MOST_JOBS, SignalOptions
from dcsc.study.options.study import Member, Study

if TYPE_CHECKING:
    from dcsc.model.dictionary import ConvolutionalDictionary

    Layers = Sequence[ConvolutionalDictionary]


def check_cascades(study: Study) -> None:
    """
    Build every cascade once, so that what does not fit is said before any job starts.

    Parameters
    ----------
    study : Study
        The configuration; its plug-ins are loaded.

    Raises
    ------
    UserError
        With the key and what does not fit.
    """
    from dcsc.stages import dictionaries

    for name in study.cascades:
        for member in study.members_of(name).values():
            try:
                layers = dictionaries.trial_layers(member.model_dump(mode="json"))
                deepest = layers[-1]
            except UserError as error:
                raise UserError(f"cascades.{name}: {error}") from None
            for experiment, options in study.experiments.items():
                if name not in options.cascades or options.signals is None:
                    continue
                _check_windows(experiment, options.signals, member)
                _check_thresholds(experiment, options.pursuits, member)
                try:
                    largest = max(options.signals.cells(layers))
                except UserError as error:
                    key = "stripe_sparsity" if options.signals.density is None else "density"
                    raise UserError(f"experiments.{experiment}.signals.{key}: {error}") from None
                if largest > deepest.n_atoms:
                    raise UserError(
                        f"experiments.{experiment}.signals.active = {largest} is not allowed: "
                        f"the deepest code of cascade {member.name!r} has {deepest.n_atoms} atoms."
                    )
                _check_given(experiment, options.signals, member, layers)
                _check_codes(experiment, options.signals, member, layers)
                _check_relu(experiment, options.signals, options.pursuits, member)


def _check_given(experiment: str, signals: SignalOptions, member: Member, layers: Layers) -> None:
    """Draw one code of every size where supports, magnitudes or signs are listed, which shows whether they fit."""
    from dcsc import sampling, seeds

    for label, draw in signals.draws().items():
        chosen = {"support": draw.support, "magnitudes": draw.magnitudes, "signs": draw.signs}
        if not any(sampling.named(choice)[0] == "given" for choice in chosen.values()):
            continue
        name, parameters = sampling.named(draw.support)
        for size in signals.cells(layers):
            rng, support = seeds.stream(0, purpose="check"), {"name": name, "size": size, **parameters}
            try:
                sampling.sample_codes(rng, layers[-1], 1, **{**chosen, "support": support})
            except UserError as error:
                raise UserError(
                    f"experiments.{experiment}.signals, variant {label!r}, {size} active atoms of cascade "
                    f"{member.name!r}: {error}"
                ) from None


def _check_codes(experiment: str, signals: SignalOptions, member: Member, layers: Layers) -> None:
    """Read the codes of every file, and count those of every cell."""
    from dcsc.stages import codes_file

    for path in sorted({draw.codes for draw in signals.draws().values() if draw.codes is not None}):
        try:
            codes = codes_file.read_codes(path, len(layers), layers[-1].code_shape)
            codes_file.check(path, codes, signals.cells(layers), signals.trials)
        except UserError as error:
            raise UserError(f"experiments.{experiment}.signals.codes, for cascade {member.name!r}: {error}") from None


def _check_windows(experiment: str, signals: SignalOptions, member: Member) -> None:
    """Approximate a window of every real signal by one atom, which shows whether it fits the cascade."""
    names = {draw.windows_of for draw in signals.draws().values() if draw.windows_of is not None}
    if not names:
        return
    from dcsc.stages import dictionaries, windows

    layers = dictionaries.trial_cascade(member.model_dump(mode="json")).dictionaries
    for name in sorted(names):
        try:
            windows.check(name, layers)
        except UserError as error:
            raise UserError(f"experiments.{experiment}.signals.windows_of: {error}") from None


def _check_thresholds(experiment: str, pursuits: Mapping[str, PursuitOptions], member: Member) -> None:
    """Compare lists of one threshold per filter with the filters of the layers."""
    from dcsc.stages import dictionaries

    for label, options in pursuits.items():
        given = options.threshold
        if not (isinstance(given, list) and any(isinstance(of_layer, list) for of_layer in given)):
            continue
        layers = dictionaries.trial_cascade(member.model_dump(mode="json")).dictionaries
        for number, (of_layer, layer) in enumerate(zip(given, layers, strict=True), start=1):
            if isinstance(of_layer, list) and len(of_layer) != layer.n_filters:
                key = f"experiments.{experiment}.pursuits.{label}.threshold"
                raise UserError(
                    f"{key} has {len(of_layer)} numbers for layer {number} of cascade {member.name!r}, which has "
                    f"{layer.n_filters} filters: give one per filter."
                )


def _check_relu(
    experiment: str, signals: SignalOptions, pursuits: Mapping[str, PursuitOptions], member: Member
) -> None:
    """Refuse ReLU where the codes of a cascade's layers are known to have negative entries."""
    if len(member.layers) == 1:
        return
    for label, options in pursuits.items():
        for variant, draw in signals.draws().items():
            if options.rule == "relu" and options.as_run().runs_on(variant) and (cause := _negative(draw, member)):
                raise UserError(
                    f"experiments.{experiment}.pursuits.{label}: rule 'relu' cannot recover the codes of cascade "
                    f"{member.name!r} in variant {variant!r}, which have negative entries because {cause}: use 'soft' "
                    "or 'hard'."
                )


def _negative(draw: Draw, member: Member) -> str:
    """Why codes of some layer have negative entries; empty when they have none, or only a draw can tell."""
    import numpy as np

    from dcsc.sampling import registry
    from dcsc.stages import codes_file, dictionaries

    name, _ = registry.named(draw.signs)
    if draw.layer_signs:
        return "signs T of every layer are drawn"
    layers = dictionaries.trial_cascade(member.model_dump(mode="json")).dictionaries
    if draw.codes is not None and np.any(
        codes_file.read_codes(draw.codes, len(layers), layers[-1].code_shape).value < 0
    ):
        return f"those in {draw.codes} have"
    if draw.windows_of is None and draw.codes is None and name in ("rademacher", "worst-case", "worst-case-of-atom"):
        return f"signs {name!r} are"
    for number, layer in enumerate(layers, start=1):
        is_known = member.layers[number - 1].family not in dictionaries.EXPENSIVE
        if number > 1 and is_known and (layer.filters < 0).any(axis=tuple(range(1, layer.filters.ndim))).all():
            return f"all filters of layer {number} have"
    return ""


def check_jobs(study: Study) -> None:
    """
    Refuse more jobs than a workflow manager can plan in a short time.

    Parameters
    ----------
    study : Study
        The configuration.

    Raises
    ------
    UserError
        With the experiment that makes most, and what to set.
    """
    members = {name: len(study.members_of(name)) for name in study.cascades}
    drawn = {name: options for name, options in study.experiments.items() if options.signals}
    cascades = {name: sum(members[cascade] for cascade in options.cascades) for name, options in drawn.items()}
    signals = {name: options.signals for name, options in drawn.items() if options.signals}
    jobs = {name: JOBS_OF_A_CHUNK * of.chunks * cascades[name] for name, of in signals.items()}
    if sum(jobs.values()) <= MOST_JOBS:
        return
    largest = max(jobs, key=lambda name: jobs[name])
    rest, of_block = sum(jobs.values()) - jobs[largest], JOBS_OF_A_CHUNK * cascades[largest]
    chunks = max(MOST_JOBS - rest, MOST_JOBS // 2) // of_block
    remedy = (
        f"set chunk_blocks to {math.ceil(signals[largest].blocks / chunks)} or more"
        if chunks
        else "name fewer cascades in it"
    )
    raise UserError(
        f"experiments.{largest}.signals: its chunks make {jobs[largest]:,} of {sum(jobs.values()):,} jobs, more than "
        f"the {MOST_JOBS:,} that are planned in a short time: {remedy}."
    )


def check_claims(study: Study) -> None:
    """
    Compare the columns that claims ask for with those of the figures' tables.

    Parameters
    ----------
    study : Study
        The configuration.

    Raises
    ------
    UserError
        With the key and what is unknown.
    """
    columns = _columns(study)
    for name, claim in study.claims.items():
        measure, tables = claim.measure, {figure: columns[figure] for figure in claim.figures}
        if not all(tables.values()):  # a panel that does not tell them
            continue
        together = set().union(*tables.values())
        for key, asked in {
            "value": [measure.value],
            "interval": measure.interval or (),
            "out_of": [measure.out_of],
            "among": [measure.among],
        }.items():
            _check_columns(f"claims.{name}.measure.{key}", asked, together, claim.figures)
        for figure, told in tables.items():
            _check_columns(f"claims.{name}.measure.select", measure.select, told, [figure])
            if measure.over:
                _check_columns(f"claims.{name}.measure.over", measure.over, told, [figure])
                _check_columns(f"claims.{name}.measure.per", [measure.per], told, [figure])


def _columns(study: Study) -> dict[str, set[str]]:
    """The columns that the tables of all figures may have, those of others that they show among them."""
    own = {
        f"{name}-{panel}": set(panels()[panel].columns.split())
        for name, options in study.experiments.items()
        for panel in options.figures
    }
    shown = {
        f"{name}-{panel}": options.beside if "beside" in panels()[panel].needs else []
        for name, options in study.experiments.items()
        for panel in options.figures
    }
    return {
        figure: set().union(told, *(own[other] for other in shown[figure])) if told else told
        for figure, told in own.items()
    }


def _check_columns(key: str, asked: Iterable[str | None], told: set[str], figures: Iterable[str]) -> None:
    for column in asked:
        if column is not None and column not in told:
            where = " and ".join(map(repr, figures))
            raise UserError(f"{key} asks for column {column!r}, which {where} does not have: {nearest(column, told)}")


NAMED_PALETTES = ("deep", "muted", "pastel", "bright", "dark", "colorblind")
"""Those that need no plotting library to be known."""


def check_palette(study: Study) -> None:
    """
    Look the palette of the figures up.

    Parameters
    ----------
    study : Study
        The configuration.

    Raises
    ------
    UserError
        When there is none of its name.
    """
    name = study.style.palette
    if name in NAMED_PALETTES:
        return
    import matplotlib
    import seaborn

    try:
        seaborn.color_palette(name, 3)
    except Exception:  # some names are parsed, and fail in their own ways
        known = [*NAMED_PALETTES, *matplotlib.colormaps]
        near = nearest(name, known) if name else ""
        hint = near if near.startswith("did") else "give a name of seaborn's or matplotlib's, such as 'colorblind'."
        raise UserError(f"style.palette = {name!r} is unknown: {hint}") from None


def _check_magnitudes(name: str, parameters: Mapping[str, Any]) -> None:
    """Check a law of magnitudes, and draw one unless it must know of which atoms."""
    from dcsc import sampling, seeds
    from dcsc.sampling import registry

    law = registry.MAGNITUDES.check(name, parameters)
    if "supports" not in inspect.signature(law).parameters:
        sampling.draw_magnitudes(name, seeds.stream(0, purpose="check"), 1, **parameters)


def check_samplers(study: Study) -> None:
    """
    Look every sampler and pursuit up, which plug-ins may have brought.

    Parameters
    ----------
    study : Study
        The configuration, whose plug-ins are loaded.

    Raises
    ------
    UserError
        With the key and what is unknown.
    """
    from dcsc import pursuit
    from dcsc.sampling import registry

    for name, experiment in study.experiments.items():
        for label, draw in experiment.signals.draws().items() if experiment.signals else ():
            try:
                kind, parameters = registry.named(draw.support)
                registry.SUPPORTS.check(kind, {"size": 1, **parameters})
                _check_magnitudes(*registry.named(draw.magnitudes))
                registry.SIGNS.check(*registry.named(draw.signs))
            except UserError as error:
                raise UserError(f"experiments.{name}.signals, variant {label!r}: {error}") from None
        for label, options in experiment.pursuits.items():
            try:
                pursuit.get(options.method)
                forward = options.method == "layered-thresholding"
                if not forward and (options.rule or options.threshold is not None or options.debias):
                    raise UserError(f"rule, threshold and debias are not for {options.method!r}: use parameters.")
                if not forward:
                    pursuit.check_parameters(options.method, options.parameters)
            except UserError as error:
                raise UserError(f"experiments.{name}.pursuits.{label}: {error}") from None
