"""Where ``ipquery-load`` begins: says in one line which extra is missing."""

# What the extra "load" brings, by the name that is imported.
_BROUGHT = "hdrh"


def main() -> None:
    """Run the command.

    :raises SystemExit: it has ended, or what only the generator needs isn't installed.
    """
    try:
        # Not at the top: this imports what may be missing.
        from loadgen.cli import main as command
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != _BROUGHT:
            raise
        raise SystemExit(
            "ipquery-load: hdrhistogram is not installed; pip install 'ipquery[load]' brings "
            "what the load generator needs"
        ) from None
    command()
