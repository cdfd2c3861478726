"""Contents of MaxMind's CSV files: blocks and places."""

BLOCKS = (
    "network,geoname_id,registered_country_geoname_id,represented_country_geoname_id,"
    "is_anonymous_proxy,is_satellite_provider,postal_code,latitude,longitude,accuracy_radius,"
    "is_anycast\n"
)

BLOCKS_V4 = BLOCKS + "1.2.3.0/24,1,2,,0,0,476000,34.45,115.65,50,\n1.2.4.0/24,,2,,0,0,,,,,1\n"

BLOCKS_V6 = BLOCKS + "2a00::/16,2,2,,0,0,,,,,\n"

LOCATIONS = (
    "geoname_id,locale_code,continent_code,continent_name,country_iso_code,country_name,"
    "subdivision_1_iso_code,subdivision_1_name,subdivision_2_iso_code,subdivision_2_name,"
    "city_name,metro_code,time_zone,is_in_european_union\n"
)

EN = (
    LOCATIONS + "1,en,AS,Asia,CN,China,HA,Henan,,,Shangqiu,,Asia/Shanghai,0\n"
    "2,en,NA,North America,US,United States,,,,,,,,0\n"
)

ZH = (
    LOCATIONS + "1,zh-CN,AS,亚洲,CN,中国,HA,河南,,,,,Asia/Shanghai,0\n"
    "2,zh-CN,NA,北美洲,US,美国,,,,,,,,0\n"
)
