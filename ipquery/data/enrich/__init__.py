"""Logs and tables with what is known about their addresses, see :mod:`ipquery.data.enrich.job`.

Not for processes that serve: numpy.
"""
