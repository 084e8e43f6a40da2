"""Models, optimizer wrappers and schedulers in MMEngine's words."""
