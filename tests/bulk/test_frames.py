"""polars and Dask, as the document has them, say of each address what one look-up says."""

from pathlib import Path
from typing import Any

import pytest

from tests.bulk.conftest import Row
from tests.bulk.recipes import module
from tests.programs import require_module

pytestmark = pytest.mark.bulk


def test_polars(folder: Path, wanted: list[Row]) -> None:
    polars = require_module("polars", "polars")
    made = module("polars", folder)
    for engine in ("in-memory", "streaming"):
        assert made.enriched.sort("place").collect(engine=engine).rows() == wanted
    visits = polars.read_parquet("visits.parquet")
    found = polars.from_arrow(made.db.find_many(visits["visitor"]).table(made.FIELDS))
    assert visits.hstack(found).rows() == wanted
    made.db.close()


def test_dask(folder: Path, wanted: list[Row], monkeypatch: pytest.MonkeyPatch) -> None:
    frames = require_module("dask.dataframe", "dask[dataframe]")
    made = module("Dask", folder)
    assert _rows(made.enriched.compute()) == wanted
    # Where processes that it starts look for the module.
    monkeypatch.syspath_prepend(folder)
    parts = frames.read_parquet("visits.parquet", split_row_groups=True)
    assert parts.npartitions > 2
    by_processes = parts.map_partitions(made.with_fields).compute(scheduler="processes")
    assert _rows(by_processes) == wanted
    made.opened("geo.ipq").close()


def _rows(frame: Any) -> list[Row]:
    is_null = require_module("pandas", "pandas").isna
    return [
        tuple(None if is_null(value) else value for value in row)
        for row in frame.itertuples(index=False)
    ]
