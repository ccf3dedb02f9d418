"""The arithmetic that augmentations share."""
