"""What IPIP's columns hold, by the names that its .ipdb files give them.

Names and meaning from the vendor's readers (ipip-ipdb, datx-go).
"""

import datetime
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ipquery.data.formats.texts import to_record
from ipquery.data.record import UNKNOWN, Record

_FIELDS = {
    "country_name": "country",
    "region_name": "province",
    "city_name": "city",
    "district_name": "district",
    "owner_domain": "org",
    "isp_domain": "isp",
    "latitude": "latitude",
    "longitude": "longitude",
    "timezone": "time_zone",
}
# Checked before they are believed: reserved and anycast addresses have * there.
_CODES = {
    "country_code": ("country_code", re.compile("[A-Z]{2}")),
    "continent_code": ("continent_code", re.compile("AF|AN|AS|EU|NA|OC|SA")),
    "china_region_code": ("province_code", re.compile("[1-8][0-9]{5}")),
    "china_city_code": ("city_code", re.compile("[1-8][0-9]{5}")),
    # Several numbers stand where several systems announce the network; which one
    # is meant can't be told, so only a single one counts.
    "asn": ("asn", re.compile("(?:AS)?[0-9]{1,10}")),
}
_ADMIN_CODE = re.compile("[1-8][0-9]{5}")
_UNKNOWN_TEXTS = ("", "*")

_MUNICIPALITIES = ("11", "12", "31", "50")
_DIRECT = "90"
"""Third and fourth digit of counties that no prefecture stands above (429004 仙桃市)."""


def is_municipality(code: str) -> bool:
    """Whether a GB/T 2260 code lies in 北京, 天津, 上海 or 重庆: provinces without prefectures."""
    return code.startswith(_MUNICIPALITIES)


def admin_codes(code: str) -> dict[str, str]:
    """GB/T 2260 codes of the province and city that a division lies in.

    :param code: of a province (xx0000), a prefecture (xxyy00) or a county, six
        digits. A municipality has no prefectures: its city is itself.
    :returns: ``province_code`` and ``city_code`` as far as ``code`` tells; none
        if it isn't one.
    """
    if not _ADMIN_CODE.fullmatch(code):
        return {}
    province = f"{code[:2]}0000"
    if code == province:
        return {"province_code": province}
    if is_municipality(code):
        return {"province_code": province, "city_code": province}
    city = code if code[2:4] == _DIRECT else f"{code[:4]}00"
    return {"province_code": province, "city_code": city}


def ipip_record(path: Path, texts: Mapping[str, str]) -> Record:
    """The record of one line, from its texts by the vendor's names of the columns.

    :raises DataError: a coordinate is no number or out of bounds.
    """
    values = admin_codes(texts.get("china_admin_code", ""))
    for name, field in _FIELDS.items():
        text = texts.get(name, "")
        if text not in _UNKNOWN_TEXTS:
            values[field] = text
    for name, (field, shape) in _CODES.items():
        if shape.fullmatch(texts.get(name, "")):
            values[field] = texts[name]
    return to_record(path, values) if values else UNKNOWN


def version_date(row: Sequence[str]) -> datetime.date | None:
    """The date in the version record, ``IPIP.NET<TAB>yyyymmdd[hh]`` at 255.255.255.0/24."""
    for text in row[1:2]:
        try:
            return datetime.datetime.strptime(text[:8], "%Y%m%d").date()
        except ValueError:
            return None
    return None
