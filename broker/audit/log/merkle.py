"""RFC 6962 hash trees: hashes, plans of proofs, and their verification. Pure.

A proof is planned before it is computed: the plan names the complete subtrees that each hash is
made of, so that the caller can fetch the few tiles that hold them (SQL, files or HTTP) and
evaluate the plan afterwards. Verification needs no tree at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of the tree without leaves (RFC 6962, 2.1)."""


class Node(NamedTuple):
    """The complete subtree over leaves `number << height` up to `(number + 1) << height`."""

    height: int
    number: int


Plan = list[list[Node]]
"""One entry per hash of a proof: the complete subtrees, left to right, that the hash folds."""

Lookup = Callable[[Node], bytes]


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf (RFC 6962, 2.1; the prefix keeps leaves and nodes apart)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node (RFC 6962, 2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over `2**n` hashes of complete subtrees of one height."""
    count = len(hashes)
    if count == 0 or count & (count - 1):
        raise ValueError("not a power of two")
    row = list(hashes)
    while len(row) > 1:
        row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row), 2)]
    return row[0]


def join(peaks: Sequence[bytes]) -> bytes:
    """The root over complete subtrees of falling size, left to right."""
    if not peaks:
        return EMPTY_ROOT
    rest = list(peaks)
    root = rest.pop()
    while rest:
        root = node_hash(rest.pop(), root)
    return root


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes, straight from the definition; for auditors, linear time."""
    peaks, start, size = [], 0, len(leaves)
    while start < size:
        width = 1 << ((size - start).bit_length() - 1)
        peaks.append(fold(leaves[start : start + width]))
        start += width
    return join(peaks)


# --- plans ---------------------------------------------------------------------------------


def range_nodes(start: int, end: int) -> list[Node]:
    """The complete subtrees that leaves `start` to `end` fall into, left to right.

    `start` must be a place where RFC 6962 splits; then the subtrees only get smaller.
    """
    nodes, at = [], start
    while at < end:
        height = (end - at).bit_length() - 1
        if at:
            height = min(height, (at & -at).bit_length() - 1)
        nodes.append(Node(height, at >> height))
        at += 1 << height
    return nodes


def root_plan(size: int) -> Plan:
    """What the root of the first `size` leaves is made of: a plan with one hash, none if empty."""
    return [range_nodes(0, size)] if size else []


def inclusion_plan(index: int, size: int) -> Plan:
    """PATH(index, D[size]) of RFC 6962, 2.1.1, from the leaf's sibling up.

    Raises:
        ValueError: The index is not in the tree.
    """
    if not 0 <= index < size:
        raise ValueError("no such leaf in a tree of this size")
    plan: Plan = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            plan.append(range_nodes(middle, end))
            end = middle
        else:
            plan.append(range_nodes(start, middle))
            start = middle
    plan.reverse()
    return plan


def consistency_plan(old: int, new: int) -> Plan:
    """PROOF(old, D[new]) of RFC 6962, 2.1.2; empty when `old` is 0 or equals `new`.

    Raises:
        ValueError: The old tree is the larger one.
    """
    if not 0 <= old <= new:
        raise ValueError("the old tree is larger than the new one")
    if old in (0, new):
        return []
    plan: Plan = []
    start, end, whole = 0, new, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            plan.append(range_nodes(middle, end))
            end = middle
        else:
            plan.append(range_nodes(start, middle))
            start, whole = middle, False
    if not whole:
        plan.append(range_nodes(start, end))
    plan.reverse()
    return plan


def evaluate(plan: Plan, lookup: Lookup) -> list[bytes]:
    """Turn a plan into hashes."""
    return [join([lookup(node) for node in nodes]) for nodes in plan]


# --- verification --------------------------------------------------------------------------


def verify_inclusion(
    index: int, size: int, leaf: bytes, path: Sequence[bytes], root: bytes
) -> bool:
    """True if the path leads from the leaf's hash at `index` to the root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size or not _are_hashes(leaf, root, *path):
        return False
    at, last, found = index, size - 1, leaf
    for step in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_hash(step, found)
            while at and not at & 1:
                at >>= 1
                last >>= 1
        else:
            found = node_hash(found, step)
        at >>= 1
        last >>= 1
    return last == 0 and found == root


def verify_consistency(
    old: int, new: int, path: Sequence[bytes], old_root: bytes, new_root: bytes
) -> bool:
    """True if the tree of `new` leaves begins with the tree of `old` leaves (RFC 9162, 2.1.4.2).

    Every tree begins with the empty one, whose root must be `EMPTY_ROOT`.
    """
    if not 0 <= old <= new or not _are_hashes(old_root, new_root, *path):
        return False
    if old == new:
        return not path and old_root == new_root
    if old == 0:
        return not path and old_root == EMPTY_ROOT
    steps = list(path)
    if old & (old - 1) == 0:
        steps.insert(0, old_root)
    if not steps:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at >>= 1
        last >>= 1
    old_found = new_found = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old_found = node_hash(step, old_found)
            new_found = node_hash(step, new_found)
            while at and not at & 1:
                at >>= 1
                last >>= 1
        else:
            new_found = node_hash(new_found, step)
        at >>= 1
        last >>= 1
    return last == 0 and old_found == old_root and new_found == new_root


def _split(count: int) -> int:
    # The largest power of two smaller than `count` (RFC 6962, 2.1).
    return 1 << ((count - 1).bit_length() - 1)


def _are_hashes(*values: bytes) -> bool:
    return all(len(value) == HASH_SIZE for value in values)
