"""The site's data: contract, datalist, volumes, preprocessing, cache and slices. Knows nothing of training or FLARE."""
