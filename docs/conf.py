import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "Footplate"
author = copyright = "The Footplate authors"
version = release = metadata.version("footplate")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sections"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_use_ivar = True

html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["footplate.css"]
