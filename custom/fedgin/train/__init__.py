"""Train and evaluate one segmentation network with MONAI. Knows nothing of FLARE, so it is the baseline too."""
