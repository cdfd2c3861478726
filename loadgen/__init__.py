"""Load on ipquery and its peers, and what it tells."""
