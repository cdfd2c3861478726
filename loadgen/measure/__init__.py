"""Runs, and what is found with several of them or without any."""
