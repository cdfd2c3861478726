"""Names to codes."""

from pathlib import Path

import pycountry
import pytest
from babel import Locale

from ipquery.data.blend.blend import blend
from ipquery.data.blend.policy import Policy
from ipquery.data.codes import (
    OperatorLists,
    city_code,
    country_code,
    load_lists,
    province_code,
)
from ipquery.data.codes.china import name_of_china_division
from ipquery.data.record import DataError, Record
from tests.data.blending import coded, everywhere, prepared


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("中国", "CN"),
        ("刚果(金)", "CD"),
        ("刚果（金）", "CD"),
        ("刚果金", "CD"),
        ("刚果(布)", "CG"),
        ("刚果布", "CG"),
        ("留尼汪岛", "RE"),
        ("留尼旺", "RE"),
        ("马其顿", "MK"),
        ("波黑", "BA"),
        ("波斯尼亚和黑塞哥维那", "BA"),
        ("多米尼加", "DO"),
        ("多米尼克", "DM"),
        ("圣马丁", "MF"),
        ("荷属圣马丁", "SX"),
        ("荷兰加勒比", "BQ"),
        ("几内亚", "GN"),
        ("几内亚比绍", "GW"),
        ("尼日尔", "NE"),
        ("尼日利亚", "NG"),
        ("阿联酋", "AE"),
        ("孟加拉", "BD"),
        ("斯威士兰", "SZ"),
        ("科索沃", "XK"),
        ("台湾", "TW"),
        ("香港", "HK"),
        ("印尼", "ID"),
        ("沙特", "SA"),
        ("澳洲", "AU"),
        ("新加披", "SG"),
        ("瓜德罗普岛", "GP"),
        ("格陵兰岛", "GL"),
        ("百慕大群岛", "BM"),
        ("博奈尔", "BQ"),
        ("蒙塞拉特", "MS"),
        ("斯瓦巴和扬马延", "SJ"),
        ("奥兰", "AX"),
        ("赫德岛和麦克唐纳岛", "HM"),
        ("科科斯群岛", "CC"),
        ("美国小离岛", "UM"),
        ("United States", "US"),
        ("united states", "US"),
        ("Russia", "RU"),
        ("Russian Federation", "RU"),
        ("South Korea", "KR"),
        ("Korea, Republic of", "KR"),
        ("Viet Nam", "VN"),
        ("Vietnam", "VN"),
        ("Côte d'Ivoire", "CI"),
        ("Cote d’Ivoire", "CI"),
        ("Türkiye", "TR"),
        ("Turkey", "TR"),
        ("Hong Kong", "HK"),
    ],
)
def test_country_names_as_databases_spell_them(name: str, code: str) -> None:
    assert country_code(name) == code


@pytest.mark.parametrize(
    "name",
    [
        "GOOGLE",
        "LEVEL3 骨干网",
        "亚太地区",
        "欧盟",
        "保留地址",
        "局域网",
        "IPIP.NET",
        "安的列斯",
        "",
    ],
)
def test_owners_and_regions_in_the_country_column_have_no_code(name: str) -> None:
    assert country_code(name) is None


def test_every_country_is_found_by_its_names_in_both_languages() -> None:
    for language in ("zh", "en"):
        names = Locale(language).territories
        for country in pycountry.countries:
            assert country_code(names[country.alpha_2]) == country.alpha_2


_PROVINCES = {
    "北京": "110000", "天津": "120000", "河北": "130000", "山西": "140000", "内蒙古": "150000",
    "辽宁": "210000", "吉林": "220000", "黑龙江": "230000", "上海": "310000", "江苏": "320000",
    "浙江": "330000", "安徽": "340000", "福建": "350000", "江西": "360000", "山东": "370000",
    "河南": "410000", "湖北": "420000", "湖南": "430000", "广东": "440000", "广西": "450000",
    "海南": "460000", "重庆": "500000", "四川": "510000", "贵州": "520000", "云南": "530000",
    "西藏": "540000", "陕西": "610000", "甘肃": "620000", "青海": "630000", "宁夏": "640000",
    "新疆": "650000", "台湾": "710000", "香港": "810000", "澳门": "820000",
}  # fmt: skip


def test_all_34_provinces_by_their_short_and_full_names() -> None:
    assert len(_PROVINCES) == 34
    for name, code in _PROVINCES.items():
        assert province_code(name) == code
    full = {code: name for code, name in _official() if code.endswith("0000")}
    assert {code: province_code(name) for code, name in full.items()} == {c: c for c in full}
    assert all(full[code].startswith(name) for name, code in _PROVINCES.items())


def test_full_names_of_autonomous_regions() -> None:
    for name, code in (
        ("广西壮族自治区", "450000"),
        ("宁夏回族自治区", "640000"),
        ("新疆维吾尔自治区", "650000"),
        ("内蒙古自治区", "150000"),
        ("西藏自治区", "540000"),
    ):
        assert province_code(name) == code


def test_a_country_is_no_province() -> None:
    assert province_code("中国") is None


def _official() -> list[tuple[str, str]]:
    table = Path(__file__).parents[2] / "ipquery/data/codes/gbt2260.tsv"
    lines = table.read_text("utf-8").split("# Renamed")[0].splitlines()
    return [tuple(line.split("\t")) for line in lines if not line.startswith("#")]  # type: ignore[misc] # two columns


def test_the_table_has_every_division_down_to_the_prefecture() -> None:
    # Ministry of Civil Affairs, end of 2020: 34 provinces, 333 prefectures, of
    # which 293 cities, 7 areas, 30 autonomous prefectures, 3 leagues.
    rows = _official()
    prefectures = [name for code, name in rows if code[2:4] != "00" and code[4:] == "00"]
    assert sum(code.endswith("0000") for code, _ in rows) == 34
    assert len(prefectures) == 333
    for suffix, count in (("市", 293), ("地区", 7), ("自治州", 30), ("盟", 3)):
        assert sum(name.endswith(suffix) for name in prefectures) == count


def test_every_prefecture_is_found_by_its_name_with_and_without_suffix() -> None:
    for code, name in _official():
        if code[2:4] == "00" or code[4:] != "00":
            continue
        province = code[:2] + "0000"
        assert city_code(province, name) == code
        for suffix in ("自治州", "地区", "盟", "市"):
            if name.endswith(suffix) and suffix != "自治州":
                assert city_code(province, name.removesuffix(suffix)) == code
                break


@pytest.mark.parametrize(
    ("province", "city", "code"),
    [
        ("吉林省", "延边", "222400"),
        ("吉林", "延边州", "222400"),
        ("吉林", "延边朝鲜族自治州", "222400"),
        ("湖北", "恩施", "422800"),
        ("贵州", "黔西南", "522300"),
        ("新疆", "克孜勒苏", "653000"),
        ("新疆", "巴音郭楞", "652800"),
        ("内蒙古", "锡林郭勒", "152500"),
        ("黑龙江省", "大兴安岭", "232700"),
        # One name, two places
        ("青海省", "海南", "632500"),
        ("吉林", "吉林", "220200"),
        ("河北", "邢台", "130500"),
        # County level, where databases name it
        ("贵州", "凯里", "522601"),
        ("新疆", "五家渠", "659004"),
        ("河南", "济源", "419001"),
        ("新疆", "伊宁", "654002"),
        ("北京", "海淀", "110108"),
        # Renamed or withdrawn
        ("湖北", "襄樊", "420600"),
        ("山东省", "莱芜市", "371200"),
        # Municipalities fall back to the province
        ("北京", "北京市", "110000"),
        ("重庆", "重庆", "500000"),
        ("上海", "某地", "310000"),
        ("香港", "香港", "810000"),
        # Not in GB/T 2260, or not one place
        ("台湾", "台北", None),
        ("香港", "荃湾", None),
        ("江苏", "鼓楼区", None),
        ("广东", "北京", None),
    ],
)
def test_city_names_as_databases_spell_them(province: str, city: str, code: str | None) -> None:
    given = province_code(province)
    assert given is not None
    assert city_code(given, city) == code


@pytest.mark.parametrize(
    ("province", "code", "chinese", "latin", "former"),
    [
        ("420000", "420600", "襄阳市", "Xiangyang", "Xiangfan"),
        ("530000", "530800", "普洱市", "Pu'er", "Simao"),
    ],
)
def test_a_city_that_was_renamed_has_its_present_name_and_is_found_by_both(
    province: str, code: str, chinese: str, latin: str, former: str
) -> None:
    assert name_of_china_division(code, "zh") == chinese
    assert name_of_china_division(code, "en") == latin
    assert city_code(province, chinese) == code
    assert city_code(province, latin) == city_code(province, former) == code


NONE = OperatorLists()


def fill(record: Record, lists: OperatorLists) -> Record:
    """A record as it is answered."""
    (answered,) = coded([record], lists)
    return answered


def test_a_record_gets_its_codes() -> None:
    record = fill(Record(country="中国", province="河南省", city="商丘市", isp="联通"), NONE)
    assert record == Record(
        "中国", "CN", "河南省", "410000", "商丘市", "411400", None, "联通", subdivision_code="CN-HA"
    )


def test_division_codes_are_for_china_only() -> None:
    assert fill(Record(country="日本", province="海南", city="三亚"), NONE) == Record(
        country="日本", country_code="JP", province="海南", city="三亚"
    )


def test_a_code_the_database_has_stands() -> None:
    given = Record(country="中国", country_code="HK", province="河南", province_code="1", city="x")
    assert fill(given, NONE) == given


def test_a_city_code_that_the_database_has_stands() -> None:
    given = Record(country="中国", province="河南省", city="商丘市", city_code="999999")
    assert fill(given, NONE).city_code == "999999"


def test_a_province_known_by_its_code_alone_has_that_of_iso_3166_2_too() -> None:
    assert fill(Record(country="中国", province_code="410000"), NONE).subdivision_code == "CN-HA"


def test_a_list_may_have_a_city_as_the_answer_spells_it(lists: OperatorLists) -> None:
    record = Record(country_code="CN", province="Henan", city="Shangqiu")
    given = [everywhere(record, "one"), everywhere(Record(isp="x"), "other")]
    (place,) = blend(prepared(given, Policy(language="zh"), lists)).places
    assert (place.city, place.city_code) == ("商丘市", "4114")


def test_a_province_that_repeats_the_country_has_no_code() -> None:
    assert fill(Record(country="中国", province="中国"), NONE).province_code is None


@pytest.fixture
def lists(tmp_path: Path) -> OperatorLists:
    (tmp_path / "countries").write_text("\ufeff中国\tCHN\n\n# note\nGOOGLE\tGG\n", "utf-8")
    (tmp_path / "provinces").write_text("41\tx\t河南省\n36\tx\t江西省\tmore\n", "utf-8")
    (tmp_path / "cities").write_text(
        "3601\tx\tx\t吉安\n4114\tx\tx\t商丘市\n2202\tx\tx\t朝阳\n2113\tx\tx\t朝阳\n", "utf-8"
    )
    return load_lists(tmp_path / "countries", tmp_path / "provinces", tmp_path / "cities")


def test_the_operators_lists_come_first(lists: OperatorLists) -> None:
    record = fill(Record(country="中国", province="河南省", city="商丘市"), lists)
    assert (record.country_code, record.province_code, record.city_code) == ("CHN", "41", "4114")
    assert fill(Record(country="GOOGLE"), lists).country_code == "GG"


def test_names_the_lists_leave_out_keep_the_built_in_codes(lists: OperatorLists) -> None:
    record = fill(Record(country="日本"), lists)
    assert record.country_code == "JP"
    record = fill(Record(country="中国", province="河北", city="邢台"), lists)
    assert (record.province_code, record.city_code) == ("130000", "130500")


def test_only_lists_leaves_the_built_in_codes_out(tmp_path: Path) -> None:
    lists = OperatorLists(provinces={"河南": "41"}, only=True)
    record = fill(Record(country="中国", province="河南", city="商丘"), lists)
    assert (record.country_code, record.province_code, record.city_code) == (None, "41", None)


def test_a_city_name_that_stands_twice_is_told_by_its_province(lists: OperatorLists) -> None:
    assert fill(Record(country="中国", province="辽宁", city="朝阳"), lists).city_code == "2113"
    assert fill(Record(country="中国", province="吉林", city="朝阳"), lists).city_code == "2202"
    assert fill(Record(country="中国", city="朝阳"), lists).city_code == "2202"


@pytest.mark.parametrize(
    ("kind", "content", "complaint"),
    [
        (0, "中国", "line 1 needs 2 tab-separated columns"),
        (0, "中国\t ", "line 1 needs 2 tab-separated columns"),
        (1, "41\tx\t河南\n42\t湖北", "line 2 needs 3 tab-separated columns"),
        (2, "4114\t商丘", "line 1 needs 4 tab-separated columns"),
    ],
)
def test_a_short_line_is_refused(tmp_path: Path, kind: int, content: str, complaint: str) -> None:
    path = tmp_path / "list"
    path.write_text(content, "utf-8")
    countries, provinces, cities = (path if k == kind else None for k in range(3))
    with pytest.raises(DataError, match=complaint):
        load_lists(countries, provinces, cities)


def test_a_list_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing: can't read this list of codes: No such file"):
        load_lists(tmp_path / "missing", None, None)
    (tmp_path / "gbk").write_bytes("中国\tCN".encode("gbk"))
    with pytest.raises(DataError, match="gbk: can't read this list of codes: not UTF-8"):
        load_lists(tmp_path / "gbk", None, None)
