"""What many nodes do, cost and lose: the tables of docs/scale.md.

python -m loadgen.measure.scale
python -m loadgen.measure.scale --assumed mine.toml --only costs --only rack-lost
python -m loadgen.measure.scale --write docs/scale.md --write docs/scale.zh-CN.md
"""

from collections.abc import Sequence
from pathlib import Path

import attrs
import click

from loadgen.measure.scale.documents import UnknownTable, language_of, with_tables
from loadgen.measure.scale.inputs import (
    ASSUMED,
    MEASURED,
    InputError,
    read_assumed,
    read_measured,
)
from loadgen.measure.scale.tables import TABLES, Study
from loadgen.report.tables import columns

SEED = 1

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.option("--measured", type=_FILE, default=MEASURED, help="Of `loadgen.bench.scale`.")
@click.option("--assumed", type=_FILE, default=ASSUMED, help="Layout, fronts, prices: see there.")
@click.option("--seed", default=SEED, show_default=True, help="The same for the same figures.")
@click.option(
    "--only", "names", multiple=True, type=click.Choice([*TABLES]), help="Not all of the tables."
)
@click.option("--chinese", is_flag=True, help="Say it in Chinese.")
@click.option(
    "--write",
    "documents",
    multiple=True,
    metavar="DOCUMENT",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Put the tables into a document, in place of those that it has; print nothing.",
)
@click.option("--print-assumed", is_flag=True, help="Print the file to change, and nothing else.")
def main(
    measured: Path,
    assumed: Path,
    seed: int,
    names: Sequence[str],
    chinese: bool,
    documents: Sequence[Path],
    print_assumed: bool,
) -> None:
    """Compute what many nodes do, cost and lose: queues, failures, roll-outs, money.

    From what was measured and what is assumed, each a file that says where its figures are from.
    What depends on chance is simulated, and the same for the same seed.
    """
    try:
        if print_assumed:
            click.echo(assumed.read_text("utf-8"), nl=False)
            return
        study = Study(read_measured(measured), read_assumed(assumed), seed)
        for document in documents:
            said = attrs.evolve(study, language=language_of(document))
            text = document.read_text("utf-8")
            document.write_text(with_tables(text, said, names or TABLES), "utf-8")
            click.echo(f"wrote {document}", err=True)
    except (InputError, UnknownTable, OSError) as error:
        raise click.ClickException(str(error)) from None
    if documents:
        return
    study = attrs.evolve(study, language="zh" if chinese else "en")
    click.echo(f"measured: {study.measured.provenance}")
    for name in names or TABLES:
        click.echo(f"\n{name}\n{columns(TABLES[name](study))}")


if __name__ == "__main__":
    main()
