"""One small file of each format that the tests can write, for what they have in common."""

from tests.data.files import ipip_dat, xdb
from tests.data.files_ip2location import ip2location
from tests.data.files_ipip import datx, district_datx, ipdb
from tests.data.files_qqwry import UNKNOWN, qqwry

_LAST = 2**32 - 1
_TEXT = "中国\t河南\t商丘\t百度\t联通"
_PLACES = {
    "country_short": "CN",
    "country_long": "China",
    "region": "Henan",
    "city": "Shangqiu",
    "latitude": "34.4",
    "longitude": "115.6",
    "isp": "China Unicom",
    "asn": "4837",
}


def samples(count: int) -> dict[str, tuple[str, bytes]]:
    """A label to the name of the format and a file of about ``count`` ranges."""
    starts = [k * (2**31 // count) for k in range(count)]
    ends = [*(start - 1 for start in starts[1:]), _LAST]
    texts = [f"{_TEXT}{k}" for k in range(count)]
    short = [(start, start + 9, text) for start, text in zip(starts, texts, strict=True)]
    v6 = [(start << 96, (start << 96) + 2**80 - 1, text) for start, _, text in short]
    columns = ("country_name", "region_name", "city_name", "owner_domain", "isp_domain")
    places = [(start, _PLACES | {"isp": f"isp {start}"}) for start in starts]
    pairs = [
        (start, end, ("河南省商丘市", f"电信/{k}" if k % 3 else UNKNOWN))
        for k, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]
    return {
        "dat": ("ipip-dat", ipip_dat(list(zip(ends, texts, strict=True)))),
        "datx": ("ipip-datx", datx(list(zip(ends, texts, strict=True)))),
        "district datx": (
            "ipip-datx",
            district_datx([(a, b, "中国\t河南\t商丘\t夏邑县\t411426") for a, b, _ in short]),
        ),
        "ipdb": ("ipdb", ipdb(short, v6, columns)),
        "IPv4 xdb": ("xdb", xdb([(a, b, "中国|0|河南省|商丘市|联通") for a, b, _ in short])),
        "IPv6 xdb": (
            "xdb",
            xdb([(a, a + 9, "中国|0|河南省|商丘市|联通") for a, _, _ in v6], 3, 6),
        ),
        "qqwry": ("qqwry", qqwry(pairs, lambda ways: len(pairs) % ways)),
        "ip2location": (
            "ip2location",
            ip2location(places, [(start << 96, fields) for start, fields in places], 26),
        ),
        "IPv6 ip2location": (
            "ip2location",
            ip2location([], [(start << 96, fields) for start, fields in places], 1),
        ),
    }
