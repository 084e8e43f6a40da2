"""Lightning's hooks, and what goes with them, as handlers."""
