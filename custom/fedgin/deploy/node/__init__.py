"""A DICOM node: studies come in, segmentations go out; what was acknowledged is on disk first."""
