"""Configuration: where values come from, and the objects that they describe."""
