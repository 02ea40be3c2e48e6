"""The catalogue of every name that a configuration can use, with its parameters, collected from the registries."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dcsc.errors import UserError, nearest
from dcsc.families.registry import FAMILIES
from dcsc.figures import panels
from dcsc.pursuit.protocol import PURSUITS
from dcsc.registry import Registry
from dcsc.sampling.registry import MAGNITUDES, SIGNS, SUPPORTS
from dcsc.stages.windows import SIGNALS

KINDS: dict[str, tuple[str, Registry | None]] = {
    "families": ("filters of a layer: `family:` under `cascades:`", FAMILIES),
    "supports": ("samplers of the active atoms: `support:` under `signals:`", SUPPORTS),
    "magnitudes": ("laws of their magnitudes: `magnitudes:` under `signals:`", MAGNITUDES),
    "signs": ("laws of their signs: `signs:` under `signals:`", SIGNS),
    "real-signals": ("recordings whose windows are coded: `windows_of:` under `signals:`", SIGNALS),
    "pursuits": ("what recovers the codes: `method:` under `pursuits:`", PURSUITS),
    "figures": ("what an experiment shows: `figures:`", None),
}
"""What a configuration chooses by name: where it is written, and the registry that knows the names."""


@dataclass(frozen=True)
class Option:
    """
    A parameter that a user may give.

    Parameters
    ----------
    name : str
        Its name.
    type : str
        What it takes, as its documentation says.
    default : str or None
        Its default as Python writes it; None where it must be given, nothing for further parameters that are passed on.
    meaning : str
        What it does.
    """

    name: str
    type: str
    default: str | None
    meaning: str


@dataclass(frozen=True)
class Choice:
    """
    Something that a configuration chooses by name.

    Parameters
    ----------
    name : str
        The name.
    meaning : str
        What it is, in one line.
    options : tuple of Option
        Its parameters.
    module : str
        Where it is written.
    when : str
        When to take it; nothing where its documentation does not say.
    """

    name: str
    meaning: str
    options: tuple[Option, ...] = ()
    module: str = ""
    when: str = ""


def catalogue(kinds: Iterable[str] = ()) -> dict[str, list[Choice]]:
    """
    Collect every family, support, magnitude, sign, real signal, pursuit and figure, those of plug-ins too.

    Parameters
    ----------
    kinds : iterable of str
        Which kinds; all by default.

    Returns
    -------
    dict of str to list of Choice
        By kind, in alphabetical order of their names.

    Raises
    ------
    UserError
        When a kind is unknown.

    Examples
    --------
    >>> from dcsc.study.catalogue import catalogue
    >>> [choice.name for choice in catalogue(["signs"])["signs"]]
    ['given', 'positive', 'rademacher', 'worst-case', 'worst-case-of-atom']
    """
    asked = list(kinds) or list(KINDS)
    for kind in asked:
        if kind not in KINDS:
            raise UserError(f"there is no list of {kind!r}: {nearest(kind, KINDS)}")
    return {kind: _choices(kind) for kind in asked}


def as_text(found: dict[str, list[Choice]], width: int = 100) -> str:
    """
    Write choices for a terminal.

    Parameters
    ----------
    found : dict of str to list of Choice
        As `catalogue` gives them.
    width : int
        Columns of the terminal.

    Returns
    -------
    str
        A heading per kind, a line per name, and its parameters below it.
    """
    blocks = []
    for kind, choices in found.items():
        lines = _wrapped("", f"{kind}: {KINDS[kind][0]}", width)
        for choice in choices:
            lines += _wrapped(f"  {choice.name:<26}", choice.meaning, width)
            if choice.when:
                lines += _wrapped(" " * 28, f"Take it {choice.when}", width)
            if choice.options:
                lines += _wrapped("      ", ", ".join(map(_short, choice.options)), width)
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def as_records(found: dict[str, list[Choice]]) -> dict[str, Any]:
    """
    Write choices for programs.

    Parameters
    ----------
    found : dict of str to list of Choice
        As `catalogue` gives them.

    Returns
    -------
    dict
        The same in lists and mappings that JSON has.
    """
    return {kind: [asdict(choice) for choice in choices] for kind, choices in found.items()}


def option_table(choice: Choice) -> str:
    """
    Write the parameters of a choice as a table of Markdown.

    Parameters
    ----------
    choice : Choice
        One of `catalogue`.

    Returns
    -------
    str
        The table; nothing where there are no parameters.
    """
    if not choice.options:
        return ""
    rows = ["| parameter | takes | default | meaning |", "|---|---|---|---|"]
    for option in choice.options:
        default = "required" if option.default is None else option.default and f"`{option.default}`"
        cells = (f"`{option.name}`", option.type, default, option.meaning)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _short(option: Option) -> str:
    return f"{option.name}={option.default}" if option.default else option.name


def _wrapped(start: str, text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=start, subsequent_indent=" " * len(start), break_long_words=False
    ) or [start.rstrip()]


def _choices(kind: str) -> list[Choice]:
    registry = KINDS[kind][1]
    if registry is None:
        own = [_choice(panels.FIGURES, name) for name in panels.FIGURES.names()]
        return [_figure(name) for name in panels.built_in()] + own
    return [_choice(registry, name) for name in registry.names()]


def _choice(registry: Registry, name: str) -> Choice:
    function = registry.get(name)
    allowed = registry.parameters(name)
    told = documented(function)
    options = tuple(_option(key, entry, *told.get(key, ("", ""))) for key, entry in allowed.items())
    passed = [key for key in told if key.startswith("**") and registry.passes_on(name)]
    options += tuple(Option(key, "parameters", "", told[key][1]) for key in passed)
    text = inspect.getdoc(function)
    return Choice(name, _first_sentence(text), options, function.__module__, when_to_take(text))


def _option(name: str, entry: inspect.Parameter, kind: str, meaning: str) -> Option:
    if not kind and entry.annotation is not entry.empty:
        kind = entry.annotation if isinstance(entry.annotation, str) else inspect.formatannotation(entry.annotation)
    if entry.default is entry.empty:
        return Option(name, kind, None, meaning)
    default = f"{entry.default:.4g}" if isinstance(entry.default, float) else repr(entry.default)
    return Option(name, kind, default, meaning)


def _figure(name: str) -> Choice:
    module = name.replace("-", "_")
    source = Path(panels.__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
    text = ast.get_docstring(ast.parse(source))
    return Choice(name, _first_sentence(text), module=f"dcsc.figures.{module}", when=when_to_take(text))


def when_to_take(text: str | None) -> str:
    r"""
    Read when a choice fits, off its documentation.

    Parameters
    ----------
    text : str or None
        A docstring; a paragraph of it begins with "When to take it:".

    Returns
    -------
    str
        The rest of that paragraph; nothing without one.

    Examples
    --------
    >>> from dcsc.study.catalogue import when_to_take
    >>> when_to_take("Draw filters.\n\nWhen to take it: for a first\nlook.\n\nAnd more.")
    'for a first look.'
    """
    found = re.search(r"^When to take it:(.*?)(?:\n\n|\Z)", text or "", re.DOTALL | re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


def _first_sentence(text: str | None) -> str:
    return " ".join((text or "").strip().partition("\n\n")[0].split())


def documented(function: Callable[..., Any]) -> dict[str, tuple[str, str]]:
    """
    Read the section of parameters of a numpydoc docstring.

    Parameters
    ----------
    function : callable
        Where it says "As for `other`", a function of the same module answers, or one that the module imports.

    Returns
    -------
    dict of str to tuple of str
        Type and meaning of every parameter that is documented; empty texts where nothing is said.
    """
    section = re.search(
        r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n-{3,}$|\Z)", inspect.getdoc(function) or "", re.DOTALL | re.MULTILINE
    )
    told: dict[str, tuple[str, str]] = {}
    for entry in re.split(r"\n(?=\S)", section.group(1).strip("\n") if section else ""):
        heading, _, body = entry.partition("\n")
        names, _, kind = heading.partition(" : ")
        meaning = " ".join(body.split())
        for name in filter(None, (part.strip() for part in names.split(","))):
            told[name] = (kind.strip(), meaning) if kind else _referred(function, name, meaning)
    return told


def _referred(function: Callable[..., Any], name: str, meaning: str) -> tuple[str, str]:
    """Look a parameter up where its documentation sends the reader."""
    reference = re.match(r"As for `(\w+)`", meaning)
    registered = {entry.__name__: entry for entry in _registered()}
    other = (registered | getattr(function, "__globals__", {})).get(reference.group(1)) if reference else None
    if other is None or other is function:
        return "", meaning
    return documented(other).get(name, ("", meaning))


def _registered() -> Iterable[Callable[..., Any]]:
    return (registry.get(name) for _, registry in KINDS.values() if registry is not None for name in registry.names())
