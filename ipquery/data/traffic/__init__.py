"""Traffic: where and whose the addresses of a log or a table are, counted.

:mod:`ipquery.data.traffic.job` is where it begins. Not for processes that serve: numpy.
"""
