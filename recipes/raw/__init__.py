"""The parts of a raw loop: where it stands, its model, its processes, and how it stops."""
