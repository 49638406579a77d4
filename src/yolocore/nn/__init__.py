"""Networks: layers, model files, the detection model, its assigner and its losses."""
