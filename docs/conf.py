"""Sphinx configuration; built with warnings as errors by ``tox -e docs``."""

from importlib.metadata import version as version_of

project = "napari-ssim-defects"
author = "napari-ssim-defects developers"
copyright = "2026, napari-ssim-defects developers"
release = version = version_of("napari-ssim-defects")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_google_docstring = False
napoleon_use_ivar = True  # attributes are described once, in their class
# Names in these descriptions are looked up as if they were references, and some are ambiguous.
suppress_warnings = ["ref.python"]

html_theme = "pydata_sphinx_theme"
html_title = project
html_theme_options = {
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
}
html_show_sourcelink = False
