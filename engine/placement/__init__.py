"""Where a run takes place: devices and processes."""
