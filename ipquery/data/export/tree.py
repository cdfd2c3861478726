"""The search tree of a MaxMind DB, made of steps at once.

A block of addresses is a node of the tree if a step begins inside it, other than at its first
address; else all of it has one value, and it is a leaf or part of one. So each step brings the
nodes around its start that no step before it has brought: a chain of blocks, each half of the one
before. Node numbers follow the steps, which is the order of addresses: on the way to a leaf a
reader finds most nodes one after the other.

Nothing is done node by node: a tree of 12 million takes seconds.
"""

import attrs
import numpy as np
from numpy.typing import NDArray

from ipquery.data.export.halves import BITS, Addresses
from ipquery.data.export.steps import Steps, chunks
from ipquery.data.ranges import Column

V4_DEPTH = 96
"""Where the IPv4 part begins, at ``::/96``."""

_CHUNK = 1 << 20

NOTHING, V4_ALIAS = -1, -2
"""Values of steps without data, and of those that repeat the IPv4 part."""


@attrs.frozen(eq=False)
class Tree:
    """For each node its two children, for bit 0 and for bit 1.

    A child that is a node is its number. A leaf is the count of nodes and one more than its
    value, so that :data:`NOTHING` is the count.
    """

    left: NDArray[np.uint32]
    right: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.left)


@attrs.frozen(eq=False)
class _Chains:
    """The nodes that each boundary, the start of a step but the first, brings.

    ``length`` is that of the shortest prefix that begins at it, ``common`` how many bits it shares
    with the boundary before; it brings the nodes of depths ``top`` to ``length - 1``, and the
    first of them has the number ``number``.
    """

    start: Addresses
    length: Column
    common: Column
    top: Column
    number: Column
    count: int

    @classmethod
    def of(cls, start: Addresses) -> "_Chains":
        length = BITS - start.trailing_zeros()
        shared = BITS - (start[1:] ^ start[:-1]).bit_length()
        common = np.append(np.int16(-1), shared)
        # A block that holds the boundary before holds a start inside, and so is there, unless it
        # begins with it.
        top = np.minimum(common + 1, np.append(np.int16(BITS), length[:-1]))
        ends = np.cumsum(length - top, dtype=np.int64)
        return cls(start, length, common, top, ends - (length - top), int(ends[-1]))


def grow(steps: Steps) -> Tree:
    """The tree of an IPv6 space, in which IPv4 is at ``::/96``.

    :param steps: different from their neighbours. Values are numbers of leaves, or one of the
        two constants.
    :raises OverflowError: nodes and leaves are more than 2**32.
    """
    if len(steps) == 1:
        return Tree(*(np.array([_leaf(steps.value, 1, None)[0]]) for _ in range(2)))
    chains = _Chains.of(steps.start[1:])
    # Nodes there are along the first boundary's way, if it is in the IPv4 part.
    has_v4 = chains.start.high[0] == 0 and chains.start.low[0] < 2**32
    leaf = _leaf(steps.value, chains.count, V4_DEPTH if has_v4 else None)
    return _children(chains, leaf)


def _leaf(value: Column, count: int, v4_root: int | None) -> Column:
    """What stands in a tree of so many nodes for each step."""
    leaf = value.astype(np.int64) + 1 + count
    # Without a node there, all of IPv4 is one step: the first.
    leaf[value == V4_ALIAS] = leaf[0] if v4_root is None else v4_root
    if leaf.max() >= 1 << 32:
        raise OverflowError("a tree with leaves of 2**32 and more")
    narrow: Column = leaf.astype(np.uint32)
    return narrow


def _children(chains: _Chains, leaf: Column) -> Tree:
    brought = chains.length - chains.top
    boundary = np.repeat(np.arange(len(brought), dtype=np.int32), brought)
    # Where the half with the boundary is a node, too, that is the next of the chain.
    left = np.arange(1, chains.count + 1, dtype=np.uint32)
    right = left.copy()
    depth = np.empty(chains.count, np.uint8)
    in_right_half = np.empty(chains.count, bool)
    # Part by part: the starts of all nodes' boundaries would take most of the memory.
    for part in chunks(chains.count, _CHUNK):
        by = boundary[part]
        depth[part] = np.arange(part.start, part.stop) - chains.number[by] + chains.top[by]
        in_right_half[part] = chains.start[by].bit(depth[part].astype(np.int64))
    # Before a boundary in the right half there is nothing but the step before it.
    left[in_right_half] = leaf[boundary[in_right_half]]
    ends = np.flatnonzero(in_right_half)
    ends = ends[depth[ends] + 1 == chains.length[boundary[ends]]]
    right[ends] = _behind(chains, leaf, boundary[ends], depth[ends])
    others = np.flatnonzero(~in_right_half)
    order = others[np.argsort(depth[others], kind="stable")]
    bounds = np.searchsorted(depth[order], np.arange(BITS + 1))
    for level in range(BITS):
        nodes = order[bounds[level] : bounds[level + 1]]
        if len(nodes):
            right[nodes] = _right_of(chains, leaf, boundary[nodes], level)
    return Tree(left, right)


def _right_of(chains: _Chains, leaf: Column, boundary: Column, depth: int) -> Column:
    """The right halves of blocks of one depth whose first boundary is in the left half."""
    last = len(chains.length)
    # The next boundary that isn't in the left half any more, as it differs from the one before
    # it in that bit, or in one above.
    leaving = np.append(np.flatnonzero(chains.common <= depth), last)
    following = leaving[np.searchsorted(leaving, boundary, "right")]
    child: Column = leaf[following]  # of the step before it, if it is outside of the block
    inside = np.flatnonzero(following < last)
    inside = inside[chains.common[following[inside]] == depth]
    found = following[inside]
    begins = chains.length[found] == depth + 1  # with the half
    child[inside] = np.where(
        begins, _behind(chains, leaf, found, np.full(len(found), depth)), chains.number[found]
    )
    return child


def _behind(chains: _Chains, leaf: Column, boundary: Column, depth: Column) -> Column:
    """The half of a block that begins with a boundary: a node, if the next one is inside, too."""
    last = len(chains.length)
    following = np.minimum(boundary + 1, last - 1)
    inside = (boundary + 1 < last) & (chains.common[following] > depth)
    child: Column = np.where(inside, chains.number[following], leaf[boundary + 1])
    return child


def record_size(largest: int) -> int:
    """Bits of a number in a node; of 24, 28 and 32 the fewest that hold the largest.

    :raises OverflowError: none do.
    """
    for bits in (24, 28, 32):
        if largest < 1 << bits:
            return bits
    raise OverflowError("a tree and its data of 2**32 and more")


def pack(left: Column, right: Column, bits: int) -> bytes:
    """Nodes as the file has them.

    :param bits: of a number: 24, 28 or 32.
    """
    pairs = np.stack((left, right), axis=1).astype(">u4")
    octets = pairs.view(np.uint8).reshape(-1, 2, 4)
    if bits == 32:
        return octets.tobytes()
    if bits == 24:
        return octets[:, :, 1:].tobytes()
    middle = octets[:, 0, :1] << 4 | octets[:, 1, :1]
    return np.concatenate((octets[:, 0, 1:], middle, octets[:, 1, 1:]), axis=1).tobytes()
