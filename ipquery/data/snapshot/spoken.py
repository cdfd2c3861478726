"""Names of places in the languages that callers may ask for.

Build time only: pycountry and Babel, which take 30 MB, stay out of the processes that serve.
"""

from collections.abc import Callable, Iterable, Mapping

from ipquery.data.answers import Place
from ipquery.data.codes.china import name_of_china_division
from ipquery.data.codes.countries import name_of_country
from ipquery.data.codes.subdivisions import name_of_subdivision
from ipquery.data.snapshot.layout import LANGUAGES


def names_by_code(places: Iterable[Place], own_codes: bool) -> Mapping[str, Mapping[str, str]]:
    """By language, the names of the codes of countries, provinces and cities that occur.

    Those of ISO 3166-1, of ISO 3166-2 and of GB/T 2260 can't be taken for each other.

    :param own_codes: whether codes of provinces and cities may be the operator's own, which
        GB/T 2260 would give wrong names.
    """
    countries: set[str] = set()
    subdivisions: set[str] = set()
    divisions: set[str] = set()
    for place in places:
        countries.add(place.country_code or "")
        subdivisions.add(place.subdivision_code or "")
        divisions.update((place.province_code or "", place.city_code or ""))
    kinds: list[tuple[set[str], Callable[[str, str], str | None]]] = [
        (countries, name_of_country),
        (subdivisions, name_of_subdivision),
    ]
    if not own_codes:
        kinds.append((divisions, name_of_china_division))
    return {
        language: {
            code: name
            for codes, name_of in kinds
            for code in sorted(codes - {""})
            if (name := name_of(code, language)) is not None
        }
        for language in LANGUAGES
    }
