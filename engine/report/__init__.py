"""The report: a run's folder as one page to look at."""
