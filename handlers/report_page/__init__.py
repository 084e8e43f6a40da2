"""The inside of the report: reading a run's folder, drawing, the page."""
