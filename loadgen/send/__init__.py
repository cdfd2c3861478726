"""The generator: what one process of a run sends, and what it counts."""
