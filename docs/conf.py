"""How the documentation is built: `make docs`, or `make html` in this folder."""

import os
import sys
from pathlib import Path

import bijecta

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
# Pages run on one thread: the same figures on every machine, and no fight with the build's own processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Pages that run code find what belongs to them beside this file, wherever the cache executes them.
os.environ["BIJECTA_DOCS"] = str(HERE)

project = "bijecta"
author = "The bijecta developers"
copyright = author  # noqa: A001 (Sphinx's name)
version = release = bijecta.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "myst_nb",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "sphinx-mathjax-offline",  # formulas without a network
    "prose",
    "generated",
]
exclude_patterns = [
    "_build*",
    "jupyter_execute",
    "pictures",
    "images/*.py",
    "gallery/*.ipynb",
    "gallery/*.py",
    "gallery/*.json",
    "gallery/*.md5",
    "gallery/*.zip",
    "**/sg_execution_times.rst",
    "sg_execution_times.rst",
]
nitpicky = False

# Tutorials are executed, once for every change of their code.
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_build" / ".jupyter_cache")
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 300
nb_merge_streams = True
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

sphinx_gallery_conf = {
    "examples_dirs": "pictures",
    "gallery_dirs": "gallery",
    "filename_pattern": "plot_",
    "download_all_examples": False,
    "show_signature": False,
    "min_reported_time": 1e9,
    "plot_gallery": "True",
}

autodoc_typehints = "none"  # the Args parts of the docstrings say it in words
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # an overriding method says nothing new: its contract is that of the base class
autodoc_default_options = {"exclude-members": "set_fit_request, set_score_request, set_predict_request"}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "pydata_sphinx_theme"
html_title = "bijecta"
html_static_path = ["_static"]
html_css_files = ["bijecta.css"]
html_show_sourcelink = False
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "header_links_before_dropdown": 7,
    "navbar_align": "left",
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_context = {"default_mode": "auto"}
