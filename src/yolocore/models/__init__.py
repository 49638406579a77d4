"""The model families and their tasks, each a folder with trainer, validator and predictor."""
