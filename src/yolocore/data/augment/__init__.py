"""Augmentation of images with boxes, polygons and keypoints: one family a file, `pipeline` has the order."""
