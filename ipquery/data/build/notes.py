"""Notes: small JSON files beside the snapshots, about them."""

import json
import os
from pathlib import Path
from typing import Any

from cattrs import BaseValidationError, Converter

from ipquery.data.build.cache_folder import ours
from ipquery.data.build.parent import publish, temporary_beside
from ipquery.data.record import DataError

_MODE = 0o644

_converter = Converter()


def read_note(path: Path, kind: Any, nothing: Any) -> Any:
    """What a note says.

    :param kind: an attrs class, or a tuple or dict of such.
    :param nothing: what it says if there is none.
    :raises DataError: it can't be told, or others than we may have written it.
    """
    if not os.path.lexists(path):
        return nothing
    if ours(path) is None:
        raise DataError(
            f"{path}: others may change it, or it is another user's; remove it, which forgets what "
            "it says"
        )
    try:
        content = json.loads(path.read_text("utf-8"))
        # cattrs takes an empty list for an object that has nothing but defaults.
        if type(content) is not type(_converter.unstructure(nothing)):
            raise ValueError("another kind of JSON")
        return _converter.structure(content, kind)
    except OSError as error:
        raise DataError(f"{path}: can't read it: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, BaseValidationError):
        raise DataError(
            f"{path}: not what ipquery wrote; remove it, which forgets what it says"
        ) from None


def keep_note(path: Path, value: Any) -> None:
    """Write a note that survives a power cut.

    :raises DataError: it can't be written.
    """
    with temporary_beside(path) as temporary:
        temporary.path.write_text(_text(value), "utf-8")
        publish(temporary, path, _MODE)


def jot_down(path: Path, value: Any) -> None:
    """Write a note for which no disk is waited for; a power cut may take it.

    :raises DataError: it can't be written.
    """
    try:
        with temporary_beside(path) as temporary:
            temporary.path.write_text(_text(value), "utf-8")
            temporary.path.chmod(_MODE)
            temporary.path.replace(path)
    except OSError as error:
        raise DataError(f"{path}: can't write it: {error.strerror}") from None


def _text(value: Any) -> str:
    return json.dumps(_converter.unstructure(value), ensure_ascii=False, indent=1) + "\n"
