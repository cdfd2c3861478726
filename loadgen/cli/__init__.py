"""The ``ipquery-load`` command: a module for each of its commands."""

from loadgen.cli.group import main
from loadgen.cli.manual import manual_command
from loadgen.cli.run import run_command
from loadgen.cli.stages import stages_command
from loadgen.cli.sweep import sweep_command

for _command in (run_command, stages_command, sweep_command, manual_command):
    main.add_command(_command)

__all__ = ["main"]
