"""
[PRE17] in a page or a docstring leads to the bibliography, and docs/theory.md, "The ladder" to that section.

The numbers of the statements in that section are shown beside its name. The sources stay readable as they are.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from pybtex.database import parse_file
from pybtex.plugin import register_plugin
from pybtex.style.formatting.unsrt import Style
from pybtex.style.labels import BaseLabelStyle
from sphinx.transforms.post_transforms import SphinxPostTransform
from theory_sections import NUMBERS, SECTION, numbered, slug

PAGE = "docs/site/bibliography"
THEORY = "docs/theory"
FILE = Path(__file__).resolve().parents[1] / "references.bib"
KEYS = sorted(parse_file(str(FILE)).entries)
CITED = re.compile(r"\[(" + "|".join(map(re.escape, KEYS)) + r")\]")


class _KeyLabels(BaseLabelStyle):
    """The labels that the theory page uses: initials and the year."""

    def format_labels(self, sorted_entries: list[Any]) -> Any:
        return (entry.key for entry in sorted_entries)


class _KeyStyle(Style):
    """A list of sources under these labels."""

    default_label_style = _KeyLabels
    default_sorting_style = "author_year_title"


TITLE = re.compile('["“](' + "|".join(map(re.escape, NUMBERS)) + ')["”]')
"""Further sections, named after one."""
LEADS = re.compile(f"{CITED.pattern}|{SECTION.pattern}|{TITLE.pattern}")


class Citations(SphinxPostTransform):
    """Turn [KEY], and the names of sections of the theory, into links."""

    default_priority = 400

    def run(self, **kwargs: Any) -> None:
        """Go through the text of a page that is no code and no link already."""
        if self.env.docname == PAGE:
            return
        for text in list(self.document.findall(nodes.Text)):
            inside = text.parent
            while inside is not None and not isinstance(inside, nodes.literal | nodes.literal_block | nodes.reference):
                inside = inside.parent
            if inside is None and LEADS.search(text):
                text.parent.replace(text, self.linked(str(text)))

    def linked(self, text: str) -> list[nodes.Node]:
        """Cut a text into links and what is between them."""
        parts: list[nodes.Node] = []
        end = 0
        for found in LEADS.finditer(text):
            key, section = found[1], " ".join((found[2] or found[3] or "").split())
            page, place = (PAGE, key.lower()) if key else (THEORY, slug(section))
            uri = self.app.builder.get_relative_uri(self.env.docname, page) + f"#{place}"
            shown = found[0] if key else f"Theory, {section}{numbered(section)}"
            parts += [nodes.Text(text[end : found.start()]), nodes.reference("", shown, refuri=uri, internal=True)]
            end = found.end()
        return [*parts, nodes.Text(text[end:])]


class Anchors(SphinxPostTransform):
    """Give every entry of the bibliography an anchor of its key."""

    default_priority = 401

    def run(self, **kwargs: Any) -> None:
        """Find the entries by their labels."""
        if self.env.docname != PAGE:
            return
        for entry in self.document.findall(nodes.citation):
            label = entry[0].astext()
            if label in KEYS and label.lower() not in entry["ids"]:
                entry["ids"].append(label.lower())


def setup(app: Any) -> dict[str, Any]:
    """Tell Sphinx and pybtex."""
    register_plugin("pybtex.style.formatting", "keys", _KeyStyle)
    app.add_post_transform(Citations)
    app.add_post_transform(Anchors)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
