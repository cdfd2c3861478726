"""Keeping databases current: where to get them, getting them, how old they are."""
