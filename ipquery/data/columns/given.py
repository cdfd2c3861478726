"""What callers have for a column of addresses, as batches.

pandas, polars and pyarrow hand over their columns by the Arrow PyCapsule interface, for which
none but pyarrow is loaded.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ipquery.address import parse
from ipquery.data.columns.batch import Batch, of_numbers, of_packed, of_parts
from ipquery.data.columns.texts import Texts, read
from ipquery.data.ranges import Column
from ipquery.data.record import DataError

BATCH = 1 << 16
"""Addresses of a batch: what is in between then mostly stays in the processor's caches."""

_V4_AFTER = 1 << 32
_V6_AFTER = 1 << 128


def batches(addresses: Any) -> Iterator[Batch]:
    """The addresses, in order.

    :param addresses: see :meth:`ipquery.data.snapshot.Snapshot.find_many`.
    :raises TypeError: no column of addresses.
    :raises DataError: pyarrow is needed, and isn't installed.
    """
    if isinstance(addresses, (str, bytes, bytearray, memoryview)):
        raise TypeError("find_many() takes a column of addresses; for one there is find()")
    if isinstance(addresses, np.ndarray):
        return _of_array(addresses)
    if hasattr(addresses, "__arrow_c_stream__") or hasattr(addresses, "__arrow_c_array__"):
        return _of_arrow(addresses)
    if hasattr(addresses, "__array__"):  # pandas, as long as it has no Arrow interface
        return _of_array(np.asarray(addresses))
    if isinstance(addresses, Iterable):
        return _of_list(addresses if isinstance(addresses, Sequence) else list(addresses))
    raise TypeError(f"not a column of addresses: {type(addresses).__name__}")


def _parts(count: int) -> Iterator[slice]:
    return (slice(at, at + BATCH) for at in range(0, count, BATCH))


def _of_array(array: Column) -> Iterator[Batch]:
    """
    :raises TypeError: of a kind that holds no addresses.
    """
    if array.ndim != 1:
        raise TypeError(f"a column of addresses has one dimension, not {array.ndim}")
    kind = array.dtype.kind
    if kind in "ui":
        return (_of_integers(array[part]) for part in _parts(len(array)))
    if kind in "SV" and array.dtype.itemsize == 16 and array.dtype.names is None:
        whole = np.ascontiguousarray(array).view("V16")
        return (_of_packed(whole[part]) for part in _parts(len(array)))
    if kind in "OT":
        return _of_list(array.tolist())
    if kind == "U":
        return (_of_characters(array[part]) for part in _parts(len(array)))
    raise TypeError(
        f"a numpy array of {array.dtype} holds no addresses: they are unsigned integers, "
        "str, or S16 (packed IPv6)"
    )


def _of_integers(numbers: Column) -> Batch:
    if numbers.dtype == np.uint32:
        return of_numbers(np.ascontiguousarray(numbers))
    known = numbers >= 0 if numbers.dtype.kind == "i" else np.ones(len(numbers), bool)
    wide = numbers.astype(np.uint64)
    is_v4 = known & (wide < _V4_AFTER)
    if is_v4.all():
        return of_numbers(wide.astype(np.uint32))
    v4_at, v6_at = np.flatnonzero(is_v4), np.flatnonzero(known & ~is_v4)
    low = wide[v6_at]
    return of_parts(len(wide), wide[v4_at].astype(np.uint32), v4_at, (low * 0, low), v6_at)


_NOTHING = np.empty(0, np.uint32)
_NOWHERE = np.empty(0, np.int64)


def _of_packed(packed: Column) -> Batch:
    count = len(packed)
    return of_parts(count, _NOTHING, _NOWHERE, of_packed(packed), np.arange(count))


def _of_characters(array: Column) -> Batch:
    """Of an array of ``str``, which has four bytes for each character."""
    width = array.dtype.itemsize // 4
    native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    characters = native.view(np.uint32).reshape(len(array), width)
    # What isn't ASCII becomes a character that is in no address.
    narrow = np.where(characters < 128, characters, ord("?")).astype(np.uint8)
    length = np.where(
        narrow.any(axis=1), width - np.argmax(narrow[:, ::-1] != 0, axis=1) if width else 0, 0
    )
    texts = Texts.of(narrow.reshape(-1), np.arange(len(array) + 1) * width)
    return read(Texts(texts.data, texts.start, length))


def _of_list(addresses: Sequence[Any]) -> Iterator[Batch]:
    for part in _parts(len(addresses)):
        some = addresses[part]
        yield _of_texts(some) or _of_numbers(some) or _of_each(some)


def _of_texts(some: Sequence[Any]) -> Batch | None:
    """Of a list of ``str``; ``None`` if it is another one."""
    try:
        whole = "\n".join(some).encode("utf-8", "replace")
    except TypeError:
        return None
    ends = np.flatnonzero(np.frombuffer(whole, np.uint8) == ord("\n"))
    if len(ends) != len(some) - 1:
        return None
    bounds = np.concatenate(([0], ends + 1, [len(whole) + 1]))
    texts = Texts.of(whole, bounds)
    return read(Texts(texts.data, texts.start, texts.length - 1, some))


def _of_numbers(some: Sequence[Any]) -> Batch | None:
    """Of a list of ``int`` below 2**64; ``None`` if it is another one."""
    if {*map(type, some)} != {int}:
        return None
    try:
        return _of_integers(np.array(some, np.uint64))
    except OverflowError:
        return None


def _of_each(some: Iterable[Any]) -> Batch:
    """Of whatever there is, one by one."""
    found = [_number(one) for one in some]
    v4 = [(at, one[1]) for at, one in enumerate(found) if one and one[0] == 4]
    v6 = [(at, one[1]) for at, one in enumerate(found) if one and one[0] == 6]
    packed = np.frombuffer(b"".join(number.to_bytes(16, "big") for _, number in v6), "V16")
    return of_parts(
        len(found),
        np.array([number for _, number in v4], np.uint32),
        np.array([at for at, _ in v4], np.int64),
        of_packed(packed),
        np.array([at for at, _ in v6], np.int64),
    )


def _number(given: Any) -> tuple[int, int] | None:
    """Version and number of an address."""
    if isinstance(given, str):
        try:
            return parse(given)
        except ValueError:
            return None
    if isinstance(given, (ipaddress.IPv4Address, ipaddress.IPv6Address)):
        # One with a zone (RFC 4007) isn't an address to find() either.
        return (given.version, int(given)) if not getattr(given, "scope_id", None) else None
    if isinstance(given, (int, np.integer)) and not isinstance(given, bool):
        number = int(given)
        if 0 <= number < _V6_AFTER:
            return (4 if number < _V4_AFTER else 6), number
    return None


def _of_arrow(column: Any) -> Iterator[Batch]:
    try:
        import pyarrow
    except ImportError:
        raise DataError("Arrow columns need pyarrow: pip install 'ipquery[bulk]'") from None
    if not isinstance(column, (pyarrow.Array, pyarrow.ChunkedArray)):
        is_stream = hasattr(column, "__arrow_c_stream__")
        column = (pyarrow.chunked_array if is_stream else pyarrow.array)(column)
    chunks = column.chunks if isinstance(column, pyarrow.ChunkedArray) else [column]
    read_chunk = _reader(pyarrow, column.type)
    return (
        read_chunk(chunk[at : at + BATCH]) for chunk in chunks for at in range(0, len(chunk), BATCH)
    )


def _reader(arrow: Any, kind: Any) -> Any:
    """What makes a batch of an Arrow array of some type.

    :raises TypeError: of a type that holds no addresses.
    """
    types = arrow.types
    if isinstance(kind, arrow.BaseExtensionType):
        inner = _reader(arrow, kind.storage_type)
        return lambda array: inner(array.storage)
    if types.is_dictionary(kind):
        # Views (of polars' categories) can't be taken by number.
        of_views = types.is_string_view(kind.value_type)
        inner = _reader(arrow, arrow.string() if of_views else kind.value_type)
        return lambda array: inner(
            (_without_views(arrow, array) if of_views else array).dictionary_decode()
        )
    if types.is_integer(kind):
        return _of_arrow_integers
    if types.is_fixed_size_binary(kind) and kind.byte_width == 16:
        return _of_arrow_packed
    if types.is_string(kind) or types.is_large_string(kind):
        return _of_arrow_texts
    if types.is_string_view(kind) or types.is_null(kind):
        return lambda array: _of_arrow_texts(array.cast(arrow.string()))
    raise TypeError(
        f"an Arrow column of {kind} holds no addresses: they are strings, integers, or "
        "fixed_size_binary[16] (packed IPv6)"
    )


def _without_views(arrow: Any, array: Any) -> Any:
    texts = array.dictionary.cast(arrow.string())
    return arrow.DictionaryArray.from_arrays(array.indices, texts)


def _of_arrow_texts(array: Any) -> Batch:
    count = len(array)
    _, offsets, data = array.buffers()
    item = np.int64 if str(array.type) == "large_string" else np.int32
    if offsets is None or not count:
        bounds = np.zeros(count + 1, np.int64)
    else:
        whole = np.frombuffer(offsets, item)
        bounds = whole[array.offset : array.offset + count + 1].astype(np.int64)
    used = np.frombuffer(data or b"", np.uint8)[bounds[0] : bounds[-1]]
    texts = Texts.of(used, bounds - bounds[0])
    if array.null_count:
        known = array.is_valid().to_numpy(zero_copy_only=False)
        texts = Texts(texts.data, texts.start, texts.length * known)
    return read(texts)


def _of_arrow_integers(array: Any) -> Batch:
    if not array.null_count:
        return _of_integers(array.to_numpy())
    known = array.is_valid().to_numpy(zero_copy_only=False)
    return _only(known, _of_integers(array.fill_null(0).to_numpy()))


def _of_arrow_packed(array: Any) -> Batch:
    count = len(array)
    data = array.buffers()[1] if count else b""
    packed = np.frombuffer(data, "V16", count, array.offset * 16) if count else _NO_PACKED
    batch = _of_packed(packed)
    if not array.null_count:
        return batch
    return _only(array.is_valid().to_numpy(zero_copy_only=False), batch)


_NO_PACKED = np.empty(0, "V16")


def _only(known: Column, batch: Batch) -> Batch:
    """Without the addresses that stand where nothing is known."""
    at = np.arange(batch.count) if batch.v4_at is None else batch.v4_at
    v4, v6 = known[at], known[batch.v6_at]
    return Batch(batch.count, batch.v4[v4], at[v4], batch.high[v6], batch.low[v6], batch.v6_at[v6])
