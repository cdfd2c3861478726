"""Servers to measure ipquery against, each as its users would run it."""
