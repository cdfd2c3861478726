"""Packages, built, installed and run. Not part of make test: see make test-packages."""
