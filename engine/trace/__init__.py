"""Where the time of a run goes: watching it, and showing what was seen."""
