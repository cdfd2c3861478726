"""What stands in a column of answer numbers where there is none."""

NO_RECORD = -1
"""An address of which nothing is known."""

NOT_AN_ADDRESS = -2
"""No address, or nothing at all."""
