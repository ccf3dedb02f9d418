"""Public data sets and common layouts as sites."""
