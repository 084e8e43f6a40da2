"""Lightning: what a LightningModule, its callbacks and its data bring to a runner."""
