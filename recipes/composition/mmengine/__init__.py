"""MMEngine: its models, hooks, loops, schedules and wrappers in a runner."""
