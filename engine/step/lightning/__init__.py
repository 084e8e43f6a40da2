"""Lightning: modules of Lightning in a step, with their optimizers, their log and their trainer."""
