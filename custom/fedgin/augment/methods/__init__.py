"""The augmentations that an experiment can name, one file each."""
