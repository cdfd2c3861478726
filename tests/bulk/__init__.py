"""Columns looked up by the engines that people have. Not part of make test: see make test-bulk."""
