"""
The plan of a study: its cascades, cells and chunks, the names of its files, and the settings of every job.

The rules and the estimate ask here, so that both know the same. Settings are what JSON holds: a job is run again when
they change, hence each holds no more than its job depends on.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cached_property
from string import Formatter
from typing import Any

from dcsc import families
from dcsc.errors import UserError
from dcsc.figures.panels import FIGURES, panels
from dcsc.seeds import BLOCK
from dcsc.stages import dictionaries
from dcsc.study.options.signals import SignalOptions
from dcsc.study.options.study import Member, Study

FILES = {
    "dictionaries": "dictionaries/{cascade}.nc",
    "sweeps": "{experiment}/sweeps/{cascade}.nc",
    "certificates": "{experiment}/certificates/{cascade}.nc",
    "signals": "{experiment}/signals/{cascade}/{chunk}.nc",
    "pursuits": "{experiment}/pursuits/{cascade}/{chunk}.nc",
    "metrics": "{experiment}/metrics/{cascade}/{chunk}.nc",
    "summary": "{experiment}/metrics/summary.nc",
}
"""Datasets by their schema: paths below the results folder, with the wildcards of their rule."""

RULES = {
    "dictionaries": "draw_dictionaries",
    "sweeps": "refine_sweep",
    "certificates": "certify_draws",
    "signals": "sample_signals",
    "pursuits": "run_pursuits",
    "metrics": "measure_recovery",
    "summary": "summarize_metrics",
}
"""The rules, and the scripts of the same names, that make them."""

FIGURE_FORMATS = ("pdf", "svg", "png", "csv", "csv-metadata.json")


def wildcards_of(path: str) -> list[str]:
    """
    List the wildcards of a path.

    Parameters
    ----------
    path : str
        Such as those of `FILES`.

    Returns
    -------
    list of str
        In the order of the path.
    """
    return [name for _, name, _, _ in Formatter().parse(path) if name]


class Plan:
    """
    What is to be made of a study.

    Parameters
    ----------
    study : Study
        The validated configuration.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        self.results = study.results

    @cached_property
    def members(self) -> dict[str, Member]:
        """All cascades by name, every member of a series among them."""
        return {
            name: member for cascade in self.study.cascades for name, member in self.study.members_of(cascade).items()
        }

    @cached_property
    def measured(self) -> list[str]:
        """Experiments that draw signals; the others are about dictionaries alone."""
        return [name for name, options in self.study.experiments.items() if options.signals]

    @cached_property
    def panels(self) -> dict[str, str]:
        """Panels of all figures, by the figure's name."""
        return {
            f"{name}-{panel}": panel for name, options in self.study.experiments.items() for panel in options.figures
        }

    @cached_property
    def claim_tables(self) -> dict[str, str]:
        """Tables that the claims are put to, by the figure's name."""
        figures = dict.fromkeys(figure for claim in self.study.claims.values() for figure in claim.figures)
        return {figure: f"{self.results}/figures/{figure}.csv" for figure in figures}

    def signals_of(self, experiment: str) -> SignalOptions:
        """
        Give how the signals of an experiment are drawn.

        Parameters
        ----------
        experiment : str
            Name of one that draws signals.

        Returns
        -------
        SignalOptions
            As in the configuration.

        Raises
        ------
        UserError
            When it draws none.
        """
        signals = self.study.experiments[experiment].signals
        if signals is None:
            raise UserError(f"experiment {experiment!r} draws no signals: name one of {', '.join(self.measured)}.")
        return signals

    def series_of(self, experiment: str) -> dict[str, str]:
        """
        Name the cascades of an experiment.

        Parameters
        ----------
        experiment : str
            Its name.

        Returns
        -------
        dict of str to str
            The series that each belongs to; a cascade that varies nothing is its own.
        """
        names = self.study.experiments[experiment].cascades
        return {member: name for name in names for member in self.study.members_of(name)}

    def members_of(self, experiment: str) -> list[str]:
        """
        Name the cascades of an experiment.

        Parameters
        ----------
        experiment : str
            Its name.

        Returns
        -------
        list of str
            Every member of a series.
        """
        return [
            member for name in self.study.experiments[experiment].cascades for member in self.study.members_of(name)
        ]

    def cells_of(self, experiment: str, cascade: str) -> list[int]:
        """
        List the cells of an experiment on one cascade.

        Parameters
        ----------
        experiment, cascade : str
            Their names.

        Returns
        -------
        list of int
            Numbers of active atoms.
        """
        layers = dictionaries.trial_layers(self.members[cascade].model_dump(mode="json"))
        return self.signals_of(experiment).cells(layers)

    def chunks_of(self, experiment: str) -> list[str]:
        """
        Name the chunks of an experiment.

        Parameters
        ----------
        experiment : str
            Its name.

        Returns
        -------
        list of str
            The first block of each, as in file names; none without signals.
        """
        if experiment not in self.measured:
            return []
        signals = self.signals_of(experiment)
        return [f"{first:06d}" for first in range(0, signals.blocks, signals.chunk_blocks)]

    def files(self, stage: str, experiment: str) -> list[str]:
        """
        List the datasets of one stage of an experiment.

        Parameters
        ----------
        stage : str
            A key of `FILES`.
        experiment : str
            Name of the experiment.

        Returns
        -------
        list of str
            Cascade by cascade, chunk by chunk; none where the experiment needs none.
        """
        options = self.study.experiments[experiment]
        idle = {
            "sweeps": not (options.signals and options.signals.refine),
            "certificates": not options.is_certified,
            "summary": options.signals is None,
        }
        if idle.get(stage, False):
            return []
        path = f"{self.results}/{FILES[stage]}"
        chunks = self.chunks_of(experiment) if "{chunk}" in path else [""]
        cascades = self.members_of(experiment) if "{cascade}" in path else [""]
        return [path.format(experiment=experiment, cascade=name, chunk=chunk) for name in cascades for chunk in chunks]

    def cascade_of_chunks(self, experiment: str) -> list[str]:
        """
        Name the cascade of every file of the signals, pursuits and metrics.

        Parameters
        ----------
        experiment : str
            Its name.

        Returns
        -------
        list of str
            In the order of `files`.
        """
        return [member for member in self.members_of(experiment) for _ in self.chunks_of(experiment)]

    def sweep_of(self, experiment: str, cascade: str) -> list[str]:
        """
        Name the coarse sweep of a cascade.

        Parameters
        ----------
        experiment, cascade : str
            Their names.

        Returns
        -------
        list of str
            One path, or none where nothing is refined.
        """
        path = f"{self.results}/{FILES['sweeps']}".format(experiment=experiment, cascade=cascade)
        return [path] if self.signals_of(experiment).refine else []

    def needed(self, stage: str, panel: str) -> bool:
        """
        Tell whether a panel reads the datasets of a stage.

        Parameters
        ----------
        stage : str
            A key of `FILES`, or "beside".
        panel : str
            A key of `panels()`.

        Returns
        -------
        bool
            The dictionaries always; summary and metrics unless it is about dictionaries alone.
        """
        told = panels()[panel]
        common = stage == "dictionaries" or (stage in ("summary", "metrics") and told.is_measured)
        return common or stage in told.needs

    def figure_files(self, experiment: str, *panels: str) -> list[str]:
        """
        List the figures of an experiment and the numbers that they show.

        Parameters
        ----------
        experiment : str
            Its name.
        *panels : str
            Which; all by default.

        Returns
        -------
        list of str
            In every format.
        """
        shown = panels or self.study.experiments[experiment].figures
        return [f"{self.results}/figures/{experiment}-{panel}.{suffix}" for panel in shown for suffix in FIGURE_FORMATS]

    def plugins_of(self, panel: str) -> list[str]:
        """
        List the files of the user's that a figure is drawn by.

        Parameters
        ----------
        panel : str
            Its name.

        Returns
        -------
        list of str
            All plug-ins where one registers it, none for a figure that is built in.
        """
        return list(self.study.plugins) if panel in FIGURES.entries else []

    def drawing_of(self, panel: str) -> str:
        """
        Name the module that draws a figure.

        Parameters
        ----------
        panel : str
            Its name.

        Returns
        -------
        str
            Of `dcsc.figures`; empty where a plug-in draws it.
        """
        return "" if panel in FIGURES.entries else panel.replace("-", "_")

    def caption_of(self, panel: str) -> str:
        """
        Name the file of a figure's caption.

        Parameters
        ----------
        panel : str
            Its name.

        Returns
        -------
        str
            In the folder of the report.
        """
        return "own-figure.rst" if panel in FIGURES.entries else f"{panel}.rst"

    def tables_beside(self, experiment: str) -> list[str]:
        """
        List numbers of other experiments' figures that a figure shows too.

        Parameters
        ----------
        experiment : str
            Name of the figure's experiment.

        Returns
        -------
        list of str
            Paths of tables.
        """
        return [f"{self.results}/figures/{figure}.csv" for figure in self.study.experiments[experiment].beside]

    def claim_files(self) -> list[str]:
        """
        List what the run says of its claims.

        Returns
        -------
        list of str
            None without claims.
        """
        names = ("claims.json", "claims.md", "reproduction.md") if self.study.claims else ()
        return [f"{self.results}/{name}{suffix}" for name in names for suffix in ("", "-metadata.json")]

    def brought_files(self, cascade: str) -> list[str]:
        """
        List the files of the user's that a cascade reads.

        Parameters
        ----------
        cascade : str
            Its name.

        Returns
        -------
        list of str
            Paths as the configuration gives them.
        """
        layers = self.members[cascade].layers
        return [path for layer in layers for path in families.files(layer.family, **layer.parameters)]

    def codes_of(self, experiment: str) -> list[str]:
        """
        List the files of codes that the signals of an experiment are made from.

        Parameters
        ----------
        experiment : str
            Its name.

        Returns
        -------
        list of str
            Paths as the configuration gives them.
        """
        draws = self.signals_of(experiment).draws().values()
        return list(dict.fromkeys(draw.codes for draw in draws if draw.codes is not None))

    def dictionary_settings(self, cascade: str) -> dict[str, Any]:
        """
        Give what the dictionaries of a cascade depend on.

        Parameters
        ----------
        cascade : str
            Its name.

        Returns
        -------
        dict
            For `dcsc.stages.dictionaries`.
        """
        return {"cascade": self.members[cascade].model_dump(mode="json"), "seed": self.study.seed}

    def _variants(self, experiment: str) -> dict[str, Any]:
        signals = self.study.experiments[experiment].signals
        return {label: asdict(draw) for label, draw in signals.draws().items()} if signals else {}

    def _draw_settings(self, experiment: str, cascade: str) -> dict[str, Any]:
        """What the draws of a cascade depend on, whatever the chunk."""
        return {
            "seed": self.study.seed,
            "experiment": experiment,
            "cascade": self.members[cascade].cascade,
            "active": self.cells_of(experiment, cascade),
            "variants": self._variants(experiment),
        }

    def _choosing(self, experiment: str) -> dict[str, Any]:
        """
        The pursuits that choose the cells, by what they are.

        Their names and order would have a sweep, and all that is drawn after it, made again when one is renamed.
        """
        options = self.study.experiments[experiment]
        labels = self.signals_of(experiment).refine_for or options.pursuits
        told = [options.pursuits[label].model_dump(mode="json") for label in labels]
        by_settings = {json.dumps(of, sort_keys=True): of for of in told}
        return {f"pursuit {number}": by_settings[of] for number, of in enumerate(sorted(by_settings), start=1)}

    def sweep_settings(self, experiment: str, cascade: str) -> dict[str, Any]:
        """
        Give what the choice of further cells depends on.

        Parameters
        ----------
        experiment, cascade : str
            Their names.

        Returns
        -------
        dict
            For `dcsc.stages.sweeps`.
        """
        signals = self.signals_of(experiment)
        return {
            **self._draw_settings(experiment, cascade),
            "refine": signals.refine,
            "pursuits": self._choosing(experiment),
            "adversarial": [label for label, draw in signals.draws().items() if draw.is_adversarial],
        }

    def signal_settings(self, experiment: str, cascade: str, chunk: str) -> dict[str, Any]:
        """
        Give what the draws of a chunk depend on.

        Parameters
        ----------
        experiment, cascade, chunk : str
            Their names.

        Returns
        -------
        dict
            For `dcsc.stages.signals`.
        """
        signals, first = self.signals_of(experiment), int(chunk)
        last = min(first + signals.chunk_blocks, signals.blocks)
        # No trial beyond this chunk: further ones leave the chunks that exist as they are.
        trials = min(signals.trials, last * BLOCK)
        return {**self._draw_settings(experiment, cascade), "trials": trials, "blocks": [first, last]}

    def pursuit_settings(self, experiment: str) -> dict[str, Any]:
        """
        Give what the pursuits of an experiment depend on.

        Parameters
        ----------
        experiment : str
            Its name.

        Returns
        -------
        dict
            For `dcsc.stages.pursuits`.
        """
        options = self.study.experiments[experiment]
        pursuits = {name: pursuit.model_dump(mode="json") for name, pursuit in options.pursuits.items()}
        return {"pursuits": pursuits, "errors": options.errors}

    def metrics_settings(self, experiment: str) -> dict[str, Any]:
        """
        Give what the measures of an experiment depend on.

        Parameters
        ----------
        experiment : str
            Its name.

        Returns
        -------
        dict
            For `dcsc.stages.metrics`.
        """
        return {
            **self.pursuit_settings(experiment),
            "bounds": self.study.experiments[experiment].bounds.model_dump(mode="json"),
            "variants": self._variants(experiment),
        }

    def certificate_settings(self, experiment: str, cascade: str) -> dict[str, Any]:
        """
        Give what is certified for the pursuits of an experiment depends on.

        Parameters
        ----------
        experiment, cascade : str
            Their names.

        Returns
        -------
        dict
            For `dcsc.stages.certificates`.
        """
        bounds = self.study.experiments[experiment].bounds
        return {
            "seed": self.study.seed,
            "experiment": experiment,
            "cascade": self.members[cascade].cascade,
            "variants": self._variants(experiment),
            "pursuits": self.pursuit_settings(experiment)["pursuits"],
            **bounds.model_dump(mode="json", include={"delta", "draws", "basis_pursuit", "by_pairs", "tail"}),
            "confidence": self.study.confidence,
        }

    def summary_settings(self, experiment: str) -> dict[str, Any]:
        """
        Give what the counts of an experiment depend on.

        Parameters
        ----------
        experiment : str
            Its name.

        Returns
        -------
        dict
            For `dcsc.stages.summary`.
        """
        return {"cascades": self.members_of(experiment)}

    def figure_settings(self, experiment: str) -> dict[str, Any]:
        """
        Give what a figure depends on beside its data.

        Parameters
        ----------
        experiment : str
            Its experiment.

        Returns
        -------
        dict
            For `dcsc.figures`.
        """
        options = self.study.experiments[experiment]
        axis = {"axis": {"of": options.axis, "layer": options.axis_layer}} if options.axis else {}
        return {
            **axis,
            "experiment": experiment,
            "cascades": self.members_of(experiment),
            "series": self.series_of(experiment),
            "variants": self._variants(experiment),
            "pursuits": self.pursuit_settings(experiment)["pursuits"],
            "delta": options.bounds.delta,
            "seed": self.study.seed,
            "confidence": self.study.confidence,
            "style": self.study.style.model_dump(mode="json"),
        }

    def claim_settings(self) -> dict[str, Any]:
        """
        Give what the verdicts depend on beside the tables.

        Returns
        -------
        dict
            For `dcsc.study.claims`.
        """
        return {
            "claims": {name: claim.model_dump(mode="json") for name, claim in self.study.claims.items()},
            "figures": list(self.claim_tables),
            "confidence": self.study.confidence,
        }

    def page_settings(self) -> dict[str, Any]:
        """
        Give what the page about the run shows.

        Returns
        -------
        dict
            For `scripts/render_reproduction.py`.
        """
        experiments = self.study.experiments.items()
        own = {figure: panels()[panel].caption for figure, panel in self.panels.items() if panel in FIGURES.entries}
        return {
            **({"own_captions": own} if own else {}),
            "results": self.results,
            "title": self.study.title,
            "introduction": self.study.introduction,
            "sentences": [sentence.model_dump(mode="json") for sentence in self.study.sentences],
            "experiments": {
                name: {"title": options.title, "panels": [f"{name}-{panel}" for panel in options.figures]}
                for name, options in experiments
            },
            "captions": {f"{name}-{panel}": name for name, options in experiments for panel in options.figures},
        }
