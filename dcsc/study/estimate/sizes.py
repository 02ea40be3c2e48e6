"""Sizes of the jobs of a study, in the quantities that determine their cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dcsc.errors import UserError
from dcsc.seeds import BLOCK
from dcsc.stages import dictionaries as dictionaries_stage
from dcsc.stages.settings import Draw, PursuitRun
from dcsc.study.options.study import Member, Study
from dcsc.study.plan import Plan

SWEPT_REPLICATES = 4
"""Replicates that a coarse sweep looks at, see `dcsc.stages.sweeps`."""

SHARE_REACHED = 0.85
"""Where a sweep has not run yet: share of the coarse cells that a variant is expected to be drawn at."""

ADDED_AT = 0.5
"""Where the cells that it adds are expected, as a share of the largest coarse one that is drawn."""


@dataclass(frozen=True)
class Geometry:
    """
    What of a cascade decides on cost.

    Parameters
    ----------
    atoms : tuple of int
        Atoms of each layer.
    stripes : tuple of int
        Atoms of a stripe, each layer.
    products : tuple of int
        Multiplications of correlating with all atoms of each layer directly.
    signal : int
        Entries of a signal.
    filters : int
        Entries of all filters.
    nonzeros : int
        Those of them that are not zero: zeros take no place on disk.
    iterated : int
        Entries of the filters that an optimisation finds.
    """

    atoms: tuple[int, ...]
    stripes: tuple[int, ...]
    products: tuple[int, ...]
    signal: int
    filters: int
    nonzeros: int
    iterated: int

    @classmethod
    def of(cls, member: Member) -> Geometry:
        """Build one replicate quickly and measure it."""
        layers = dictionaries_stage.trial_cascade(member.model_dump(mode="json")).dictionaries
        return cls(
            tuple(layer.n_atoms for layer in layers),
            tuple(layer.stripe_size for layer in layers),
            tuple(layer.n_atoms * math.prod(layer.filters.shape[1:]) for layer in layers),
            math.prod(layers[0].signal_shape),
            sum(layer.filters.size for layer in layers),
            sum(int(np.count_nonzero(layer.filters)) for layer in layers),
            sum(
                layer.filters.size
                for layer, options in zip(layers, member.layers, strict=True)
                if options.family in dictionaries_stage.EXPENSIVE
            ),
        )


@dataclass(frozen=True)
class Drawn:
    """
    Signals of one variant for one trial of every cell and replicate.

    Parameters
    ----------
    signals : int
        Their number.
    entries : int
        Active atoms of their deepest codes together.
    """

    signals: int
    entries: int


class StudySizes:
    """
    Sizes of all jobs of a study.

    Parameters
    ----------
    study : config.Study
        The validated configuration.
    look : bool
        Whether to read from the results which cells the coarse sweeps chose.
    """

    def __init__(self, study: Study, *, look: bool = True) -> None:
        self.plan = Plan(study)
        self._study = study
        self._look = look
        self._geometry: dict[str, Geometry] = {}
        self._drawn: dict[tuple[str, str], dict[str, Drawn]] = {}

    def geometry(self, member: str) -> Geometry:
        """
        Measure a cascade.

        Parameters
        ----------
        member : str
            Its name.

        Returns
        -------
        Geometry
            Found once.
        """
        if member not in self._geometry:
            self._geometry[member] = Geometry.of(self.plan.members[member])
        return self._geometry[member]

    def drawn(self, experiment: str, member: str) -> dict[str, Drawn]:
        """
        Count what is drawn for one trial of every cell and replicate.

        Parameters
        ----------
        experiment, member : str
            Their names.

        Returns
        -------
        dict of str to Drawn
            By variant; from the coarse sweep where it has run, else what is expected of it.
        """
        key = (experiment, member)
        if key not in self._drawn:
            replicates = self.plan.members[member].replicates
            cells = self._cells(experiment, member)
            self._drawn[key] = {
                variant: Drawn(round(count * replicates), round(entries * replicates))
                for variant, (count, entries) in cells.items()
            }
        return self._drawn[key]

    def _cells(self, experiment: str, member: str) -> dict[str, tuple[float, float]]:
        """Number of the cells of every variant, and their active atoms together."""
        signals, active = self.plan.signals_of(experiment), sorted(self.plan.cells_of(experiment, member))
        if not signals.refine:
            return dict.fromkeys(signals.variants, (len(active), sum(active)))
        swept = _swept(Path(*self.plan.sweep_of(experiment, member))) if self._look else None
        if swept is not None and set(swept) == set(signals.variants):
            return swept
        reached = active[: max(1, math.ceil(SHARE_REACHED * len(active)))]
        added = signals.refine + 2  # one beyond either end of the fall
        entries = sum(reached) + ADDED_AT * reached[-1] * added
        return dict.fromkeys(signals.variants, (len(reached) + added, entries))

    def trials_of(self, experiment: str, chunk: str | None = None) -> int:
        """
        Count the trials of a chunk, or of the whole experiment.

        Parameters
        ----------
        experiment : str
            Its name.
        chunk : str, optional
            Name of the chunk; all of them by default.

        Returns
        -------
        int
            Trials of a cell and replicate.
        """
        signals = self.plan.signals_of(experiment)
        if chunk is None:
            return signals.trials
        return max(0, min(signals.trials - int(chunk) * BLOCK, signals.chunk_blocks * BLOCK))

    def features(self, rule: str, wildcards: Mapping[str, str]) -> dict[str, float]:
        """
        Give the quantities that the cost of a job grows with.

        Parameters
        ----------
        rule : str
            Name of the job's rule.
        wildcards : mapping of str to str
            Its `experiment`, `cascade` and `chunk`, as far as the rule has them.

        Returns
        -------
        dict of str to float
            By name; `job` is 1.
        """
        experiment, member = wildcards.get("experiment", ""), wildcards.get("cascade", "")
        if rule == "draw_dictionaries":
            return self._of_dictionaries(member)
        if rule == "refine_sweep":
            return self._of_sweep(experiment, member)
        if rule == "certify_draws":
            return self._of_certificates(experiment, member)
        if rule in ("sample_signals", "run_pursuits", "measure_recovery"):
            trials = self.trials_of(experiment, wildcards.get("chunk"))
            return self._of_chunk(experiment, member, trials, wildcards.get("chunk"))
        if experiment in self.plan.measured:
            return {"job": 1.0, **self._of_experiment(experiment)}
        return {"job": 1.0}

    def _of_dictionaries(self, member: str) -> dict[str, float]:
        geometry, replicates = self.geometry(member), self.plan.members[member].replicates
        optimised = float(bool(geometry.iterated))
        return {
            "job": 1.0,
            "filters": float(replicates * geometry.filters),
            "nonzeros": float(replicates * geometry.nonzeros),
            "stripes": float(replicates * sum(geometry.stripes)),
            "optimised": replicates * optimised,
            "iterated": float(replicates * geometry.iterated),
        }

    def _of_sweep(self, experiment: str, member: str) -> dict[str, float]:
        return self._of_chunk(
            experiment, member, BLOCK, None, min(SWEPT_REPLICATES, self.plan.members[member].replicates)
        )

    def _of_certificates(self, experiment: str, member: str) -> dict[str, float]:
        options, geometry = self._study.experiments[experiment], self.geometry(member)
        ways = {(str(pursuit.threshold), pursuit.debias) for pursuit in options.pursuits.values()}
        draws = float(options.bounds.draws * len(ways) * len(self.plan.signals_of(experiment).variants))
        products = draws * geometry.atoms[0] * geometry.stripes[0]
        return {"job": 1.0, "searched": draws * sum(geometry.atoms), "searched_products": products}

    def _of_chunk(
        self, experiment: str, member: str, trials: int, chunk: str | None, replicates: int | None = None
    ) -> dict[str, float]:
        options, geometry = self._study.experiments[experiment], self.geometry(member)
        draws, drawn = self.plan.signals_of(experiment).draws(), self.drawn(experiment, member)
        scale = trials * (1.0 if replicates is None else replicates / self.plan.members[member].replicates)
        depth, stripe = len(geometry.atoms), geometry.stripes[0]
        signals = {variant: scale * cells.signals for variant, cells in drawn.items()}
        entries = {variant: scale * cells.entries for variant, cells in drawn.items()}
        pursuits = [pursuit.as_run() for pursuit in options.pursuits.values()]
        runs = [(pursuit, variant) for pursuit in pursuits for variant in pursuit.variants or draws]
        first = int(chunk or 0) * BLOCK
        bounded = max(0, min(options.bounds.trials - first, trials)) / max(trials, 1)
        total, total_entries = sum(signals.values()), sum(entries.values())
        return {
            "job": 1.0,
            "signals": total,
            "entries": total_entries * depth,
            "places": total * sum(geometry.atoms),
            "deep_places": total * sum(geometry.atoms) * (depth > 1),
            "deep_run_places": sum(signals[variant] for _, variant in runs) * sum(geometry.atoms) * (depth > 1),
            "noise": sum(signals[v] for v, draw in draws.items() if draw.is_noisy) * geometry.signal,
            "adversarial": sum(entries[v] for v, draw in draws.items() if draw.is_adversarial) * stripe,
            "runs": sum(signals[variant] for _, variant in runs),
            "run_entries": sum(entries[variant] for _, variant in runs) * depth,
            "run_places": sum(signals[variant] for _, variant in runs) * sum(geometry.atoms),
            "reached": sum(entries[v] for p, v in runs if _is_sparse(p, draws[v], depth)) * stripe,
            "products": sum(signals[v] for p, v in runs if not _is_sparse(p, draws[v], depth)) * sum(geometry.products),
            "iterations": sum(signals[v] for p, v in runs if not p.is_thresholding) * sum(geometry.products),
            "dense": sum(signals[v] for p, v in runs if p.method == "holistic-pursuit")
            * float(geometry.atoms[-1]) ** 3,
            "bounded": bounded * total * sum(geometry.atoms),
            "bounded_products": bounded * total * geometry.atoms[0] * stripe,
            "table": float(bounded > 0) * geometry.atoms[0] * stripe,
            "replicate_places": total * sum(geometry.atoms) / self.plan.members[member].replicates,
        }

    def _of_experiment(self, experiment: str) -> dict[str, float]:
        options = self._study.experiments[experiment]
        values = largest = 0.0
        for member in self.plan.members_of(experiment):
            drawn = self.drawn(experiment, member)
            runs = sum(drawn[v].signals for p in options.pursuits.values() for v in p.variants or drawn)
            each = runs + sum(cells.signals for cells in drawn.values())
            values += each * self.trials_of(experiment)
            largest = max(largest, each * self.trials_of(experiment, self.plan.chunks_of(experiment)[0]))
        chunks = len(self.plan.members_of(experiment)) * len(self.plan.chunks_of(experiment))
        return {"values": values, "chunk_values": largest, "chunks": float(chunks)}


def _is_sparse(pursuit: PursuitRun, draw: Draw, depth: int) -> bool:
    """Whether the signal need not be formed."""
    return pursuit.is_on_lists and depth == 1 and not pursuit.debias and not draw.is_noisy


def _swept(path: Path) -> dict[str, tuple[float, float]] | None:
    """Read the cells that a coarse sweep chose; none when there is no such file as the workflow wrote it."""
    if not path.is_file():
        return None
    from dcsc.store import dataset, schemas

    try:
        sweep = dataset.read(path, schemas.SWEEPS, "/".join(path.parts[-3:]))
    except UserError:
        return None
    active, drawn = sweep["active"].to_numpy(), sweep["drawn"].to_numpy().astype(bool)
    names = sweep["drawn"]["variant"].to_numpy()
    return {str(name): (float(row.sum()), float(active[row].sum())) for name, row in zip(names, drawn, strict=True)}
