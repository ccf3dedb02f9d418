"""Plan one experiment for several sites from the fingerprints that they share, by the published rules of nnU-Net."""
