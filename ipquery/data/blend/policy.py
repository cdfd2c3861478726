"""What the operator decides about a blend: the values of ``[blend]``."""

import attrs

METHODS = ("first", "fill", "vote")
"""How sources are blended.

``first``: the first source with a record answers whole. ``fill``: level by level, the first
source that knows. ``vote``: country and province by weighted majority, the rest as in ``fill``.
"""

LANGUAGES = ("zh", "en")
"""Languages that countries, provinces and Chinese cities are known in."""

FORMS = ("regions", "provinces")
"""How Hong Kong, Macao and Taiwan are answered.

``regions``: with their own country codes, HK, MO and TW. ``provinces``: as provinces of CN.
"""


@attrs.frozen
class Policy:
    """How a blend answers.

    With ``language`` ``None``, texts are in the words of the source that was chosen, and with
    ``hk_mo_tw`` ``None``, Hong Kong, Macao and Taiwan as it has them.
    """

    method: str = attrs.field(default="fill", validator=attrs.validators.in_(METHODS))
    language: str | None = attrs.field(
        default=None, validator=attrs.validators.in_((None, *LANGUAGES))
    )
    hk_mo_tw: str | None = attrs.field(default=None, validator=attrs.validators.in_((None, *FORMS)))
