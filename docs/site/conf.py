"""Sphinx's settings of the site: sources are the Markdown pages of the repository and the docstrings of the library."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE / "_ext")]
# The examples run in a kernel of their own, and bits must not depend on the cores.
os.environ["PYTHONPATH"] = str(ROOT)
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import dcsc  # noqa: E402

project = "dcsc"
author = "The dcsc developers"
copyright = author
version = release = dcsc.__version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_nb",
    "sphinxcontrib.bibtex",
    "references",
    "from_registries",
    "mathml",
]

# The whole repository is the source folder, so that pages link to each other on the site as they do in the repository.
root_doc = "docs/site/index"
include_patterns = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "config/README.md", "docs/**"]
exclude_patterns = ["**/_build", ".*", "results*", "tests", "dist", "dcsc", "docs/site/README.md"]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb", ".ipynb": "myst-nb"}
nitpicky = False
default_role = "py:obj"

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_build/executed")
nb_execution_excludepatterns = ["docs/tutorial.ipynb"]  # executed by `make tutorial`, it needs a study's results
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
nb_execution_show_tb = True
nb_render_image_options = {"align": "center"}

autodoc_typehints = "none"  # the docstrings tell types, with shapes
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "keys"
bibtex_reference_style = "label"

html_math_renderer = "mathml"
html_theme = "pydata_sphinx_theme"
html_title = "dcsc"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["_extra"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
suppress_warnings = ["config.cache"]
templates_path = ["_templates"]
