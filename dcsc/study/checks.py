"""Checks that need the library: cascades that fit together, samplers and pursuits that exist."""

from __future__ import annotations

from collections.abc import Mapping

from dcsc.errors import UserError
from dcsc.study.options.pursuits import PursuitOptions
from dcsc.study.options.signals import SignalOptions
from dcsc.study.options.study import Member, Study


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
    from dcsc import stages

    stages.load_plugins(study.plugins)
    from dcsc.stages import dictionaries

    for name in study.cascades:
        for member in study.members_of(name).values():
            try:
                deepest = dictionaries.deepest_layer(member.model_dump(mode="json"))
            except UserError as error:
                raise UserError(f"cascades.{name}: {error}") from None
            for experiment, options in study.experiments.items():
                if name not in options.cascades or options.signals is None:
                    continue
                _check_windows(experiment, options.signals, member)
                _check_thresholds(experiment, options.pursuits, member)
                try:
                    largest = max(options.signals.cells(deepest))
                except UserError as error:
                    raise UserError(f"experiments.{experiment}.signals.stripe_sparsity: {error}") from None
                if largest > deepest.n_atoms:
                    raise UserError(
                        f"experiments.{experiment}.signals.active = {largest} is not allowed: "
                        f"the deepest code of cascade {member.name!r} has {deepest.n_atoms} atoms."
                    )


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
    """Compare lists of one threshold a filter with the filters of the layers."""
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
                    f"{layer.n_filters} filters: give one a filter."
                )


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
                registry.MAGNITUDES.check(*registry.named(draw.magnitudes))
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
