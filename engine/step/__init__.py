"""Steps: process functions for training, evaluation and prediction, and their parts."""
