"""Names to codes and back: ISO 3166-1 for countries, ISO 3166-2 for their subdivisions,
GB/T 2260 for Chinese divisions.

Used when a snapshot is built, never while serving.
"""

from ipquery.data.codes.china import city_code, province_code
from ipquery.data.codes.countries import country_code
from ipquery.data.codes.lists import OperatorLists, load_lists

__all__ = ["OperatorLists", "city_code", "country_code", "load_lists", "province_code"]
