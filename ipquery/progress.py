"""Progress of a build: a bar on a terminal, plain lines elsewhere."""

from typing import TextIO

import click

from ipquery.data.build import Report

_STEPS = 1000


def reporter(stream: TextIO) -> Report:
    """What to hand to a build so that the user sees it on ``stream``."""
    if not stream.isatty():
        return lambda what, done: print(f"{done:4.0%}  {what}", file=stream, flush=True)
    bar = click.progressbar(
        length=_STEPS, file=stream, show_pos=False, item_show_func=lambda what: what or ""
    )

    def show(what: str, done: float) -> None:
        bar.update(round(done * _STEPS) - bar.pos, what)
        # update() by itself draws nothing while the position stays at 0.
        bar.render_progress()
        if done >= 1:
            bar.render_finish()

    return show
