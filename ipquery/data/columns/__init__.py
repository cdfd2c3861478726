"""Whole columns of addresses looked up at once, see :mod:`ipquery.data.columns.index`.

Not for processes that serve: numpy.
"""
