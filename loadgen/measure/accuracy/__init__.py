"""How accurate the default database is: what ``make accuracy`` writes to docs/accuracy.md.

Every figure is of all addresses, by arithmetic on ranges; nothing is sampled.
"""
