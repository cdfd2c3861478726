"""Guards: whose requests a worker answers; off by default."""
