"""Load on ipquery and its peers, and what it tells.

Imports point one way::

    bench ─▶ cli ─▶ measure ─▶ report ─▶ send
      └────▶ tools ──┴──────▶ peers

``send`` is one process of the generator, ``report`` what is made of a run, ``measure`` runs
and what takes several of them, ``cli`` the ``ipquery-load`` command. ``peers`` are servers to
measure, ``tools`` other generators, ``bench`` the benchmarks of the Makefile.
"""
