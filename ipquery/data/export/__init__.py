"""Snapshots in the formats of others, see :mod:`ipquery.data.export.job`.

Not for processes that serve: numpy.
"""
