from importlib import metadata

project = "Footplate"
author = copyright = "The Footplate authors"
version = release = metadata.version("footplate")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
autodoc_typehints = "description"

html_theme = "furo"
html_title = project
