"""Take the system to a site: is the machine ready, and what leaves training as a product."""
