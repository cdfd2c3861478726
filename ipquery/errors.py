"""Errors that a user can mend: each message is one line for the user."""


class ConfigError(Exception):
    """A setting or a configuration that can't be used."""
