"""Recipes: engines and handlers composed; each script is one to copy."""
