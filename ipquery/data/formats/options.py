"""How a source is to be read, as far as its operator says so."""

import attrs


@attrs.frozen
class ReadOptions:
    """What a reader can't tell from the file.

    ``columns`` says what each text column holds, see
    :data:`ipquery.data.formats.texts.COLUMN_NAMES`; the format's usual order if
    ``None``. ``language`` chooses among the languages of a file that has
    several: an ISO 639-1 code (``zh``, ``en``), the file's own default if ``None``.
    """

    columns: tuple[str, ...] | None = None
    language: str | None = None
