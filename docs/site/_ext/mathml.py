"""Formulas as MathML, written when the site is built: no script, nothing from a network, and searchable text."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)


SPELLED = {r"\dots": r"\ldots"}
"""Commands that the converter knows under another name."""


def _converted(node: nodes.Element, as_block: bool) -> str:
    formula = node.astext()
    for command, known in SPELLED.items():
        formula = formula.replace(command, known)
    try:
        return tex2mathml(formula, as_block=as_block)
    except MathError as error:
        LOGGER.warning("the formula %r is not understood: %s", formula, error, location=node)
        return ""


def visit_math(writer: Any, node: nodes.math) -> None:
    """Write a formula within a line."""
    writer.body.append(_converted(node, as_block=False))
    raise nodes.SkipNode


def visit_math_block(writer: Any, node: nodes.math_block) -> None:
    """Write a formula of its own, which may be wider than a narrow screen."""
    writer.body.append(writer.starttag(node, "div", CLASS="math-block"))
    writer.body.append(_converted(node, as_block=True) + "</div>\n")
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, Any]:
    """Tell Sphinx."""
    app.add_html_math_renderer("mathml", inline_renderers=(visit_math, None), block_renderers=(visit_math_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
