"""Sockets and loops. Knows nothing of HTTP or of IP data."""
