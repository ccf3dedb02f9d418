"""From an unknown DICOM tree to a dataset; what is left out is listed with its reason."""
