"""Checkpoints on disk: files, directories, and which of them to go on from."""
