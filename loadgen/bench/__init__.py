"""ipquery beside its peers, and what reloads, nodes and a cache cost."""
