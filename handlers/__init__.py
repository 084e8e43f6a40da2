"""Handlers: one concern a file, each attached to the events of an engine."""
