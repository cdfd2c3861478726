"""Many processes as one service."""
