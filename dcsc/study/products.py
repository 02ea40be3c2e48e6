"""The files that a study makes, and the record that each must have under the present configuration and code."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from inspect import signature
from pathlib import Path
from typing import Any

from dcsc.store import provenance
from dcsc.store.schemas import SCHEMAS
from dcsc.study.plan import FIGURE_FORMATS, FILES, RULES, Plan, wildcards_of

LOADING = ("dictionaries", "sweeps", "signals", "pursuits", "certificates")
"""Stages whose jobs load the user's plugins."""

PAGES = provenance.PACKAGE.parent / "workflow/report"
_METADATA = "-metadata.json"


def source_of(script: str, drawing: str = "", plugins: tuple[str, ...] = ()) -> list[str]:
    """
    Name the source that the jobs of a rule use.

    Parameters
    ----------
    script : str
        Name of the script.
    drawing : str
        Module of the figure that it loads by name.
    plugins : tuple of str
        Python files of the user's that it loads.

    Returns
    -------
    list of str
        As from `provenance.modules`.
    """
    drawings = [provenance.PACKAGE / f"figures/{drawing}.py"] if drawing else []
    scripts = [provenance.SCRIPTS / f"{name}.py" for name in (script, "job")]
    return provenance.modules(*scripts, *drawings, *plugins)


@dataclass(frozen=True, eq=False)
class Product:
    """
    A file that a job makes, and what its record must say.

    Parameters
    ----------
    path : str
        Relative to the results folder.
    schema : str
        What it holds.
    version : int
        Version of that schema.
    settings : dict
        The slice of the configuration that it is made from.
    library : dict
        From `provenance.library`.
    inputs : tuple of str
        What it is made from, as records name it.
    plugins : tuple of str
        Python files of the user's among them.
    is_kept : bool
        Whether it stays when nothing needs it any more.
    """

    path: str
    schema: str
    version: int
    settings: Mapping[str, Any] = field(repr=False)
    settings_digest: str
    library: Mapping[str, Any] = field(repr=False)
    inputs: tuple[str, ...]
    plugins: tuple[str, ...] = ()
    is_kept: bool = True

    @property
    def beside(self) -> str:
        """Where its digest, or its metadata, is kept; empty where it is inside."""
        suffix = {".nc": ".sha256", ".csv": _METADATA, ".json": _METADATA, ".md": _METADATA}
        return f"{self.path}{suffix[Path(self.path).suffix]}" if Path(self.path).suffix in suffix else ""


class Products:
    """
    The files of a study.

    Parameters
    ----------
    plan : Plan
        Of it.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._settings: Callable[..., Any] = cache(self._settings_and_digest)
        self._library = cache(lambda *source: provenance.library(source_of(*source)))

    @cached_property
    def all(self) -> dict[str, Product]:
        """By path, what is made from others after them."""
        return {product.path: product for product in self._each()}

    def _each(self) -> Iterator[Product]:
        plan = self.plan
        for cascade in plan.members:
            yield self._dataset("dictionaries", cascade=cascade)
        for stage in ("sweeps", "certificates", "signals", "pursuits", "metrics", "summary"):
            for experiment in plan.measured:
                if not plan.files(stage, experiment):
                    continue
                names = wildcards_of(FILES[stage])
                for cascade in plan.members_of(experiment) if "cascade" in names else [""]:
                    for chunk in plan.chunks_of(experiment) if "chunk" in names else [""]:
                        yield self._dataset(stage, experiment=experiment, cascade=cascade, chunk=chunk)
        # Those last that show tables of others.
        for experiment, options in sorted(plan.study.experiments.items(), key=lambda item: bool(item[1].beside)):
            for panel in options.figures:
                yield from self._figure(experiment, panel)
        yield from self._claims()

    def _settings_and_digest(self, method: Callable[..., Any], *names: str) -> tuple[dict[str, Any], str]:
        settings = method(*names)
        return settings, provenance.digest(settings)

    def _dataset(self, stage: str, **names: str) -> Product:
        """A dataset by the names that stand in its path."""
        plan = self.plan
        methods: dict[str, Callable[..., Any]] = {
            "dictionaries": plan.dictionary_settings,
            "sweeps": plan.sweep_settings,
            "certificates": plan.certificate_settings,
            "signals": plan.signal_settings,
            "pursuits": plan.pursuit_settings,
            "metrics": plan.metrics_settings,
            "summary": plan.summary_settings,
        }
        method = methods[stage]
        settings, digest = self._settings(method, *(names[name] for name in signature(method).parameters))
        plugins = tuple(plan.study.plugins) if stage in LOADING else ()
        return Product(
            path=FILES[stage].format(**names),
            schema=stage,
            version=SCHEMAS[stage].version,
            settings=settings,
            settings_digest=digest,
            library=self._library(RULES[stage], "", plugins),
            inputs=tuple(sorted({*self._sources(stage, **names), *map(self._brought, plugins)})),
            plugins=plugins,
            is_kept=getattr(plan.study.keep, stage, True),
        )

    def _sources(self, stage: str, **names: str) -> list[str]:
        """What a dataset is made from, but for plugins."""
        plan = self.plan
        if stage == "dictionaries":
            return [self._brought(path) for path in plan.brought_files(names["cascade"])]
        if stage == "summary":
            experiment = names["experiment"]
            return [self._within(path) for of in ("metrics", "dictionaries") for path in self._files(of, experiment)]
        read = {"signals": ("dictionaries",), "pursuits": ("signals", "dictionaries")}
        read["metrics"] = ("pursuits", "signals", "dictionaries")
        sweeps = plan.sweep_of(names["experiment"], names["cascade"]) if stage == "signals" else []
        return [
            *(FILES[of].format(**names) for of in read.get(stage, ("dictionaries",))),
            *(self._within(path) for path in sweeps),
            *(self._brought(path) for path in (plan.codes_of(names["experiment"]) if stage == "signals" else ())),
        ]

    @cached_property
    def _files(self) -> Callable[[str, str], list[str]]:
        return cache(self.plan.files)

    def _figure(self, experiment: str, panel: str) -> Iterator[Product]:
        plan, drawing, plugins = self.plan, self.plan.drawing_of(panel), tuple(self.plan.plugins_of(panel))
        settings, digest = self._settings(plan.figure_settings, experiment)
        read = [stage for stage in FILES if stage != "sweeps" and plan.needed(stage, panel)]
        paths = [path for stage in read for path in self._files(stage, experiment)]
        paths += plan.tables_beside(experiment) if plan.needed("beside", panel) else []
        inputs = tuple(sorted([*map(self._within, paths), *map(self._brought, plugins)]))
        for suffix in FIGURE_FORMATS:
            if not suffix.endswith(_METADATA):
                path = f"figures/{experiment}-{panel}.{suffix}"
                library = self._library("render_figure", drawing, plugins)
                yield Product(path, "figure", 1, settings, digest, library, inputs, plugins)

    def _claims(self) -> Iterator[Product]:
        plan = self.plan
        if not plan.study.claims:
            return
        settings, digest = self._settings(plan.claim_settings)
        tables = tuple(sorted(map(self._within, plan.claim_tables.values())))
        for kind in ("json", "md"):
            yield Product(f"claims.{kind}", "claims", 1, settings, digest, self._library("judge_claims"), tables)
        settings, digest = self._settings(plan.page_settings)
        read = [PAGES / "reproduction.md", *(PAGES / plan.caption_of(panel) for panel in plan.panels.values())]
        inputs = {"claims.json", *(self._brought(os.path.relpath(path)) for path in read)}
        library = self._library("render_reproduction")
        yield Product("reproduction.md", "page", 1, settings, digest, library, tuple(sorted(inputs)))

    def _within(self, path: str) -> str:
        return path.removeprefix(f"{self.plan.results}/")

    def _brought(self, path: str) -> str:
        """Name a file that is not the study's as records do."""
        return path if os.path.isabs(path) else os.path.relpath(path, self.plan.results)
