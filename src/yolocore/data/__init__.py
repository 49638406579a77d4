"""Data on disk to what a network reads: scanning, samples, augmentation, batches; and the sources of a prediction."""
