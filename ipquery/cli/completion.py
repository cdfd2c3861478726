"""``ipquery completion``."""

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(context: click.Context, shell: str) -> None:
    """Print the script that has a shell complete this command.

    \b
    bash  into ~/.local/share/bash-completion/completions/ipquery
    zsh   into _ipquery, in a folder of $fpath
    fish  into ~/.config/fish/completions/ipquery.fish

    The script asks ipquery itself, so it needn't be written again after an upgrade.
    """
    kind = get_completion_class(shell)
    assert kind is not None  # one of click's own
    group = context.find_root().command
    # As click itself calls the variable by which the script asks.
    click.echo(kind(group, {}, "ipquery", "_IPQUERY_COMPLETE").source())
