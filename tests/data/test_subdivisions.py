"""Names of subdivisions and of Chinese divisions in both languages, to codes and back."""

import pycountry
import pytest

from ipquery.data.codes import china
from ipquery.data.codes.china import division_code, province_code
from ipquery.data.codes.countries import name_of_country
from ipquery.data.codes.subdivisions import (
    HAN,
    is_subdivision,
    name_of_subdivision,
    region_of,
    subdivision_code,
)


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("US-CA", ["California", "State of California", "加利福尼亚", "加利福尼亚州", "加州"]),
        ("FR-IDF", ["Ile-de-France", "Île-de-France", "ile de france", "法兰西岛"]),
        ("JP-13", ["Tokyo", "Tokyo Prefecture", "东京", "东京都"]),
        ("JP-06", ["Yamagata", "山形县", "山形", "山行县"]),
        ("GB-ENG", ["England", "英格兰"]),
        ("GB-KEN", ["Kent"]),
        ("RU-SVE", ["Sverdlovskaya", "Sverdlovskaya oblast'", "Sverdlovsk Oblast"]),
        ("RU-MOW", ["Moscow", "莫斯科"]),
        ("RU-MOS", ["Moscow Oblast", "Moskovskaya oblast'"]),
        ("DE-BY", ["Bavaria", "Bayern", "巴伐利亚", "巴伐利亚州"]),
        ("KR-11", ["Seoul", "Seoul-teukbyeolsi", "首尔"]),
        ("KR-44", ["Chungcheongnam-do", "South Chungcheong"]),
        ("BR-SP", ["Sao Paulo", "São Paulo", "圣保罗"]),
        ("SE-W", ["Dalarna", "Dalarnas län"]),
        ("TW-TPE", ["Taipei", "Taipei City", "台北", "台北市"]),
        ("CN-HA", ["河南", "河南省", "Henan", "Henan Sheng", "Henan Province"]),
        ("CN-SN", ["陕西", "Shaanxi", "Shaanxi Province"]),
        ("CN-SX", ["山西", "Shanxi", "Shanxi Sheng"]),
        ("CN-NM", ["内蒙古", "Inner Mongolia", "Nei Mongol", "Nei Mongol Zizhiqu"]),
        ("CN-XZ", ["西藏自治区", "Tibet", "Xizang", "Xizang Zizhiqu"]),
        ("CN-GX", ["广西", "Guangxi", "Guangxi Zhuangzu Zizhiqu", "Guangxi Zhuang"]),
        ("CN-XJ", ["新疆", "Xinjiang", "Xinjiang Uygur Autonomous Region"]),
        ("CN-HK", ["香港", "Hong Kong"]),
    ],
)
def test_subdivisions_as_databases_spell_them(code: str, names: list[str]) -> None:
    assert {name: subdivision_code(code[:2], name) for name in names} == dict.fromkeys(names, code)


@pytest.mark.parametrize(
    ("country", "name"),
    [("US", "Bavaria"), ("DE", "法兰克福"), ("HK", "Kowloon"), ("CN", "中国"), ("US", "")],
)
def test_what_is_no_subdivision_has_no_code(country: str, name: str) -> None:
    assert subdivision_code(country, name) is None


def test_most_subdivisions_are_found_by_their_official_name() -> None:
    # What is not: two of one country with one name, as the Hungarian county and city of
    # Pécs are in some editions, and names that another subdivision bears as its usual one.
    entries = [entry for entry in pycountry.subdivisions if entry.country_code != "CN"]
    wrong = [
        entry.code
        for entry in entries
        if subdivision_code(entry.country_code, entry.name) not in (None, entry.code)
    ]
    found = [entry for entry in entries if subdivision_code(entry.country_code, entry.name)]
    assert len(found) > 0.97 * len(entries)
    assert len(wrong) < 0.02 * len(entries), wrong


def test_a_part_of_a_region_is_in_the_region() -> None:
    assert region_of("GB-KEN") == "GB-ENG"
    assert region_of("FR-92") == "FR-IDF"
    assert region_of("GB-ENG") == "GB-ENG"
    assert region_of("US-CA") == "US-CA"


def test_names_in_both_languages() -> None:
    assert [name_of_subdivision("DE-BY", language) for language in ("en", "zh")] == [
        "Bavaria",
        "巴伐利亚",
    ]
    assert name_of_subdivision("CN-HA", "en") == "Henan"
    assert name_of_subdivision("CN-HA", "zh") == "河南省"
    assert name_of_subdivision("XX-YY", "en") is None
    assert name_of_country("CN", "zh") == "中国"
    assert name_of_country("CN", "en") == "China"
    assert name_of_country("HK", "zh") == "香港"
    assert name_of_country("ZZ!", "en") is None


def test_names_lead_back_to_their_codes() -> None:
    for entry in pycountry.subdivisions:
        name = name_of_subdivision(entry.code, "zh")
        if name is not None:
            assert HAN.search(name)
    for code, name in (("410000", "Henan"), ("150000", "Inner Mongolia"), ("610000", "Shaanxi")):
        assert china.name_of_china_division(code, "en") == name
        assert province_code(name) == code
    assert not is_subdivision("US-XX")
    assert is_subdivision("US-CA")


def test_provinces_have_a_code_in_both_standards() -> None:
    codes = {entry.code for entry in pycountry.subdivisions if entry.country_code == "CN"}
    provinces = {china.from_subdivision(code) for code in codes}
    assert None not in provinces
    assert len(provinces) == 34
    assert {china.to_subdivision(code or "") for code in provinces} == codes


@pytest.mark.parametrize(
    ("province", "names", "code"),
    [
        ("河南", ["Shangqiu", "Shangqiu Shi", "Shangqiu City", "shangqiushi"], "411400"),
        ("陕西", ["Xi'an", "Xi\u2019an", "Xian", "Xi'an Shi"], "610100"),
        ("新疆", ["Urumqi", "Ürümqi", "Wulumuqi"], "650100"),
        ("内蒙古", ["Hohhot", "Huhehaote"], "150100"),
        ("黑龙江", ["Harbin"], "230100"),
        ("河南", ["Luohe"], "411100"),
        ("山西", ["Lüliang", "Luliang"], "141100"),
        ("山东", ["Jinan", "Jinan (Lixia Qu)"], "370100"),
        ("西藏", ["Lhasa", "Lasa"], "540100"),
        ("北京", ["Beijing"], "110000"),
        ("北京", ["Haidian", "Haidian Qu", "Haidian District"], "110108"),
        ("上海", ["Pudong", "Pudong New Area"], "310115"),
        ("北京", ["Jinrongjie"], None),
        ("广东", ["Shangqiu"], None),
    ],
)
def test_romanised_names_of_chinese_cities(
    province: str, names: list[str], code: str | None
) -> None:
    given = province_code(province)
    assert given is not None
    assert {name: division_code(given, name) for name in names} == dict.fromkeys(names, code)


def test_every_prefecture_is_found_by_its_romanised_name() -> None:
    for code, (name, *_) in china._latin().items():
        if code.endswith("00"):
            province = code[:2] + "0000"
            found = province_code(name) if code == province else division_code(province, name)
            assert found == code, name
