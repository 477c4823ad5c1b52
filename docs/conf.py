"""Configuration of Sphinx for `make docs`."""

import re
import runpy
from pathlib import Path
from urllib.request import urlopen

from docutils import nodes

import mmfusion

REFERENCE = Path(__file__).parent / "reference"
DEVELOPMENT = Path(__file__).parent / "development"
LIST = runpy.run_path(str(REFERENCE / "api.py"))
PARTS = runpy.run_path(str(DEVELOPMENT / "generate.py"))

project = "mmfusion"
author = copyright = "The mmfusion developers"
release = version = mmfusion.__version__

extensions = [
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",  # formulas need no network
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_templates"]
default_role = "py:obj"

autodoc_typehints = "none"  # types are in the docstrings
toc_object_entries_show_parents = "hide"  # 'fit()', as the class is the page
numpydoc_show_class_members = False  # the class template lists them
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "reference_url": {"mmfusion": None},
    "abort_on_example_error": True,
    "write_computation_times": False,
}

# the copied text is what was typed, without prompts and results
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = project
html_theme_options = {
    "header_links_before_dropdown": 6,
    "logo": {"text": f"{project} {release}"},
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": False,
}
html_sidebars = {"glossary": [], "install": []}  # they have no pages below them
html_static_path = ["_static"]
html_css_files = ["mmfusion.css"]
html_show_sourcelink = False

OTHER_PACKAGES = {
    "joblib": "https://joblib.readthedocs.io/en/stable/",
    "matplotlib": "https://matplotlib.org/stable/",
    "numpy": "https://numpy.org/doc/stable/",
    "pandas": "https://pandas.pydata.org/docs/",
    "python": "https://docs.python.org/3/",
    "scipy": "https://docs.scipy.org/doc/scipy/",
    "sklearn": "https://scikit-learn.org/stable/",
    "skops": "https://skops.readthedocs.io/en/stable/",
}


def is_reachable(url):
    """Return whether the inventory of names at an address can be read."""
    try:
        with urlopen(f"{url}objects.inv", timeout=5):
            return True
    except OSError:
        return False


# names of packages that cannot be reached stay without a link: no error without network
intersphinx_mapping = {
    name: (url, None) for name, url in OTHER_PACKAGES.items() if is_reachable(url)
}

PATHS = {
    name: f"{module}.{name}" for module, names in LIST["API"].items() for name in names
}


def resolve_public_name(app, env, node, contnode):
    """Link a public name from docstrings of any topic."""
    name, _, member = node["reftarget"].partition(".")
    if node.get("refdomain") != "py" or name not in PATHS:
        return None
    path = f"{PATHS[name]}.{member}" if member else PATHS[name]
    return env.domains["py"].resolve_xref(
        env, node["refdoc"], app.builder, "obj", path, node, contnode
    )


def unlink(app, what, name, obj, options, lines):
    """Make plain text of labels that point into the pages of scikit-learn."""
    labels = re.compile(r":(?:ref|term):`([^`<]+?)(?: *<[^>]*>)?`", re.DOTALL)
    lines[:] = labels.sub(r"\1", "\n".join(lines)).split("\n")


def keep_spreads(app, document, name):
    """Keep a mean and its spread in one line of a table."""
    for entry in document.findall(nodes.entry):
        for text in entry.findall(nodes.Text):
            if " ± " in text:
                text.parent.replace(text, nodes.Text(text.replace(" ± ", "\xa0±\xa0")))


def write_generated(app, config):
    """Write what is made from other files before Sphinx looks for pages."""
    LIST["write_pages"](REFERENCE)
    PARTS["write_parts"](DEVELOPMENT / "generated")


def setup(app):
    app.connect("autodoc-process-docstring", unlink)
    app.connect("config-inited", write_generated)
    app.connect("doctree-resolved", keep_spreads)
    app.connect("missing-reference", resolve_public_name)
