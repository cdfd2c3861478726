"""Places and owners in one piece, taken apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery.data.formats.free_text import owner, place

LEVELS = ("country", "province", "city", "district")


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("中国", "中国"),
        ("河南省", "中国 河南省"),
        ("河南省商丘市", "中国 河南省 商丘市"),
        ("河南省商丘市夏邑县", "中国 河南省 商丘市 夏邑县"),
        ("北京市", "中国 北京市 北京市"),
        ("北京市海淀区", "中国 北京市 北京市 海淀区"),
        ("上海市卢湾区", "中国 上海市 上海市 卢湾区"),  # no longer in GB/T 2260
        ("内蒙古呼和浩特市", "中国 内蒙古 呼和浩特市"),
        ("内蒙古锡林郭勒盟", "中国 内蒙古 锡林郭勒盟"),
        ("内蒙古自治区包头市", "中国 内蒙古自治区 包头市"),
        ("广西南宁市", "中国 广西 南宁市"),
        ("新疆伊犁州奎屯市", "中国 新疆 伊犁州 奎屯市"),
        ("吉林省延边州延吉市", "中国 吉林省 延边州 延吉市"),
        ("吉林省吉林市", "中国 吉林省 吉林市"),
        ("新疆阿克苏地区库车县", "中国 新疆 阿克苏地区 库车县"),
        ("湖南省邵阳市邵阳县", "中国 湖南省 邵阳市 邵阳县"),
        ("湖北省荆州", "中国 湖北省 荆州"),
        ("海南省琼海市", "中国 海南省 琼海市"),
        ("河北省邢台县", "中国 河北省  邢台县"),
        ("广西南宁市横州市", "中国 广西 南宁市 横州市"),
        ("湖北省襄樊市", "中国 湖北省 襄樊市"),  # renamed since
        ("广西南宁/桂林市", "中国 广西"),
        ("香港", "中国 香港"),
        ("香港新界荃湾区", "中国 香港  新界荃湾区"),
        ("台湾省台北市", "中国 台湾省 台北市"),
        ("中国台湾省台北市", "中国 台湾省 台北市"),
        ("中国河北张家口", "中国 河北 张家口"),
        ("中国–河南–商丘", "中国 河南 商丘"),
        ("中国–河南–商丘–夏邑县", "中国 河南 商丘 夏邑县"),
        ("中国–北京–朝阳区", "中国 北京 北京 朝阳区"),
        ("中国–北京–北京–朝阳区", "中国 北京 北京 朝阳区"),
        ("中国-香港-香港岛-中西区", "中国 香港 香港岛 中西区"),
        ("美国–加利福尼亚州–洛杉矶", "美国 加利福尼亚州 洛杉矶"),
        ("美国", "美国"),
        ("印度尼西亚", "印度尼西亚"),
        ("美国弗吉尼亚州梅克伦堡县博伊顿", "美国 弗吉尼亚州 博伊顿"),
        ("美国艾奥瓦州得梅因县", "美国 艾奥瓦州  得梅因县"),
        ("美国缅因州/新罕布什尔州", "美国"),
        ("荷兰北荷兰省阿姆斯特丹", "荷兰 北荷兰省 阿姆斯特丹"),
        ("日本岩手县一关市", "日本 岩手县 一关市"),
        ("日本京都府京都市", "日本 京都府 京都市"),
        ("韩国京畿道城南市", "韩国 京畿道 城南市"),
        ("英国苏格兰爱丁堡", "英国 苏格兰 爱丁堡"),
        ("英国伦敦", "英国  伦敦"),
        ("北美地区", "北美地区"),
        ("局域网", "局域网"),
        ("", ""),
    ],
)
def test_places(text: str, levels: str) -> None:
    expected = dict(zip(LEVELS, levels.split(" "), strict=False))
    assert place(text) == {level: name for level, name in expected.items() if name}


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("华东师范大学", {"org": "华东师范大学"}),
        ("四川大学华西校区", {"country": "中国", "org": "四川大学华西校区"}),
        ("中国农业科学院", {"country": "中国", "org": "中国农业科学院"}),
        ("中国电信", {"country": "中国", "isp": "电信"}),
        ("电信", {"isp": "电信"}),
        ("CoreLink骨干网", {"org": "CoreLink骨干网"}),
        (
            "山东省济南市山东大学",
            {"country": "中国", "province": "山东省", "city": "济南市", "org": "山东大学"},
        ),
        (
            "江西九江学院",
            {"country": "中国", "province": "江西", "city": "九江", "org": "九江学院"},
        ),
        (
            "河北保定市移动",
            {"country": "中国", "province": "河北", "city": "保定市", "isp": "移动"},
        ),
        (
            "美国北达科他州斯塔克县迪金森市Consolidated电信公司",
            {"country": "美国", "province": "北达科他州", "org": "迪金森市Consolidated电信公司"},
        ),
    ],
)
def test_owners_in_the_text_of_a_place(text: str, fields: dict[str, str]) -> None:
    assert place(text) == fields


@pytest.mark.parametrize(
    ("text", "isp", "org"),
    [
        ("电信", "电信", None),
        ("中国电信", "电信", None),
        ("中移铁通", "中移铁通", None),
        ("中华电信", "中华电信", None),
        ("教育网", "教育网", None),
        ("电信/IDC机房", "电信", "IDC机房"),
        ("联通/", "联通", None),
        ("电信 暨南大学", "电信", "暨南大学"),
        ("电信/东方 网吧", "电信", "东方 网吧"),
        ("联通骨干网", "联通", "联通骨干网"),
        ("联通(蓝汛云分发平台)", "联通", "联通(蓝汛云分发平台)"),
        ("电信实业公司", None, "电信实业公司"),
        ("中国移动通信研究院", None, "中国移动通信研究院"),
        ("Microsoft", None, "Microsoft"),
        ("谷歌公司/DNS", None, "谷歌公司/DNS"),
        ("", None, None),
    ],
)
def test_owners(text: str, isp: str | None, org: str | None) -> None:
    found = owner(text)
    assert (found.get("isp"), found.get("org")) == (isp, org)


@given(st.text("中国河南省商丘市北京香港台湾大学美州县区/–- 电信a", max_size=20))
def test_words_stay_those_of_the_text(text: str) -> None:
    for name, words in [*place(text).items(), *owner(text).items()]:
        assert words
        assert words in text or (name == "country" and words == "中国")
