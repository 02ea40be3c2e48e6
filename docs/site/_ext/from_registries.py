"""Pages written from the library: the API, and what a configuration chooses by name, as `dcsc list` prints it."""

from __future__ import annotations

import inspect
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import code_pictures
import family_pictures

import dcsc
from dcsc.study import catalogue

SITE = Path(__file__).resolve().parents[1]
DOCS = SITE.parent
PAGES = SITE / "_generated"
GALLERY = SITE / "gallery"

PACKAGES = ("families", "sampling", "pursuit", "guarantees")
"""Packages whose `__all__` says what is public."""


@dataclass(frozen=True)
class Public:
    """A public name, and what it stands for."""

    name: str
    value: Any

    @property
    def directive(self) -> str:
        """How Sphinx documents it."""
        if inspect.isclass(self.value):
            return f".. autoclass:: {self.name}\n   :members:\n   :show-inheritance:\n"
        if callable(self.value):
            return f".. autofunction:: {self.name}\n"
        return f".. py:data:: {self.name}\n   :value: {self.value!r}\n"

    @property
    def summary(self) -> str:
        """Its first sentence."""
        if not callable(self.value):
            return f"``{self.value!r}``"
        return as_text(" ".join((inspect.getdoc(self.value) or "").partition("\n\n")[0].split()))


def public_names() -> Iterator[tuple[str, str, list[Public]]]:
    """List modules with a line about each, and their public names that no module before it has."""
    seen: set[int] = set()

    def fresh(names: list[Public]) -> list[Public]:
        chosen = [entry for entry in names if not callable(entry.value) or id(entry.value) not in seen]
        seen.update(id(entry.value) for entry in chosen)
        return chosen

    top = [Public(f"dcsc.{name}", getattr(dcsc, name)) for name in dcsc.__all__]
    modules = {entry.name: entry.value for entry in top if inspect.ismodule(entry.value)}
    yield "dcsc", "What most users need.", fresh([entry for entry in top if not inspect.ismodule(entry.value)])
    ordered = [f"dcsc.{name}" for name in PACKAGES] + [name for name in modules if name[5:] not in PACKAGES]
    for name in ordered:
        module = modules[name]
        offered = getattr(module, "__all__", None) or [
            key
            for key, value in vars(module).items()
            if not key.startswith("_")
            and (inspect.isfunction(value) or inspect.isclass(value))
            and value.__module__ == module.__name__
        ]
        about = as_text(" ".join((module.__doc__ or "").strip().partition("\n\n")[0].split()))
        yield name, about, fresh([Public(f"{name}.{key}", getattr(module, key)) for key in offered])


def used_in(name: str) -> list[tuple[str, str]]:
    """Find the examples of the gallery that call a function: page and title."""
    short = name.removeprefix("dcsc.")
    called = re.compile(rf"\b(dcsc\.)?{re.escape(short)}\b")
    found = []
    for path in sorted(GALLERY.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        code = "\n".join(re.findall(r"^```\{code-cell\}.*?\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
        if path.stem != "index" and called.search(code):
            found.append((path.stem, re.search(r"^# (.*)$", text, re.MULTILINE)[1]))
    return found


CODE = re.compile(r"(``.*?``|`[^`]*`)")
STARS = re.compile(r"(?<![*\\\w])\*(?=[a-z]*[,)\]])")


def as_text(line: str) -> str:
    """Mark what docstrings mean as it stands, |x| and (filter, *tap), so that it is no markup."""
    parts = CODE.split(line)
    return "".join(
        part if number % 2 else STARS.sub(r"\\*", part.replace("|", r"\|")) for number, part in enumerate(parts)
    )


def escape(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Do so in a docstring, but for its examples."""
    lines[:] = [line if line.lstrip().startswith((">>>", "...")) else as_text(line) for line in lines]


BACK = re.compile(r'<a class="viewcode-back"[^>]*>.*?</a>', re.DOTALL)


def without_ways_back(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Take the links from sources to the API away: viewcode knows one prefix a module, and a name may have another."""
    if page.startswith("_modules/"):
        context["body"] = BACK.sub("", context["body"])


def write(path: Path, text: str) -> Path:
    """Write a page, unless it is there already: Sphinx then need not read it again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
    return path


def write_api() -> set[Path]:
    """Write a page a name, a page a module that lists its names, and the page that lists the modules."""
    written, modules = set(), []
    for module, about, names in public_names():
        if not names:
            continue
        modules.append((module, about))
        rows = []
        for entry in names:
            title = entry.name.removeprefix("dcsc.")
            text = f"{title}\n{'=' * len(title)}\n\n{entry.directive}"
            if examples := used_in(entry.name):
                lines = (f"- :doc:`{question} </docs/site/gallery/{page}>`\n" for page, question in examples)
                text += "\n.. rubric:: Used in\n\n" + "".join(lines)
            written.add(write(PAGES / "api" / f"{entry.name}.rst", text))
            rows.append((entry.name, title.removeprefix(f"{module[5:]}."), entry.summary))
        written.add(write(PAGES / "api" / f"module-{module}.rst", listing(module, about, rows)))
    introduction = "Every public name, with the shapes of its arrays, its source and the examples that use it."
    rows = [(f"module-{module}", module, about) for module, about in modules]
    written.add(write(PAGES / "api" / "index.rst", listing("API reference", introduction, rows)))
    return written


def listing(title: str, about: str, rows: list[tuple[str, str, str]]) -> str:
    """Write a page that lists others: page, what it is called, and a line about it."""
    parts = [title, "=" * len(title), "", about, "", ".. list-table::", "   :widths: 35 65", ""]
    for page, name, line in rows:
        parts += [f"   * - :doc:`{name} <{page}>`", f"     - {line}"]
    parts += ["", ".. toctree::", "   :hidden:", "", *(f"   {page}" for page, _, _ in rows), ""]
    return "\n".join(parts)


HEADINGS = {
    "families": "Families of filters",
    "supports": "Supports",
    "magnitudes": "Magnitudes",
    "signs": "Signs",
    "real-signals": "Real signals",
    "pursuits": "Pursuits",
    "figures": "Figures",
}


def picture(figure: str) -> str:
    """Find a picture of a figure among those of the reproduction."""
    found = sorted((DOCS / "images").glob(f"*/*-{figure}.png"), key=lambda path: (len(path.stem), path.stem))
    return f"![{figure}]({os.path.relpath(found[0], PAGES / 'choices')})\n\n" if found else ""


def shown(name: str, call: str, path: Path, caption: str) -> str:
    """Write how a choice is made, its picture and what is on that."""
    return f"{call}\n\n![{name}](pictures/{path.name})\n\n*{caption}*\n"


def write_choices() -> set[Path]:
    """Write a page a kind: everything that a configuration chooses by name."""
    written = set()
    for kind, choices in catalogue.catalogue().items():
        where = catalogue.KINDS[kind][0]
        parts = [f"# {HEADINGS[kind]}", f"{where[0].upper()}{where[1:]}.", ""]
        for choice in choices:
            parts += [f"## {choice.name}", "", choice.meaning, ""]
            parts += [f"**When to take it:** {choice.when}", ""] if choice.when else []
            parts += [catalogue.option_table(choice)] if choice.options else []
            parts += [picture(choice.name)] if kind == "figures" else []
            if kind == "families" and choice.name in family_pictures.SMALL:
                path, caption = family_pictures.draw(choice.name, PAGES / "choices/pictures")
                written.add(path)
                call = family_pictures.call(choice.name)
                parts += [shown(choice.name, f"```python\n{call}\n```", path, caption)]
            if choice.name in code_pictures.PARAMETERS.get(kind, ()):
                path, caption = code_pictures.draw(kind, choice.name, PAGES / "choices/pictures")
                written.add(path)
                call = code_pictures.call(kind, choice.name)
                parts += [shown(choice.name, f"```yaml\n{call}\n```", path, caption)]
        written.add(write(PAGES / "choices" / f"{kind}.md", "\n".join(parts)))
    return written


def setup(app: Any) -> dict[str, Any]:
    """Write the pages before Sphinx looks for them, and remove those of names that are gone."""
    written = write_api() | write_choices()
    for path in PAGES.rglob("*.*"):
        if path not in written:
            path.unlink() if path.is_file() else shutil.rmtree(path)
    app.connect("autodoc-process-docstring", escape, priority=900)  # after numpydoc has read it
    app.connect("html-page-context", without_ways_back)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
