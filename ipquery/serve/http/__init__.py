"""HTTP as such; knows no path."""
