"""Data: the order of samples, loaders that resume exactly, and batches on their way to a device."""
