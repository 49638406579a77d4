"""The engines: trainer, validator, predictor, exporter, and the model facade that drives them."""
