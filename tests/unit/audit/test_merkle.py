"""The tree is RFC 6962's, its proofs hold for every size, and nothing else passes for a proof."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.audit.log.merkle import (
    EMPTY_ROOT,
    Node,
    consistency_plan,
    evaluate,
    fold,
    inclusion_plan,
    leaf_hash,
    node_hash,
    root_plan,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

# The inputs and root that the certificate-transparency world tests with.
KNOWN_INPUTS = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
KNOWN_ROOT = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"

LEAVES = [leaf_hash(number.to_bytes(4, "big")) for number in range(600)]


def mth(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = largest_power_below(len(leaves))
    return node_hash(mth(leaves[:k]), mth(leaves[k:]))


def path(m: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962, 2.1.1."""
    if len(leaves) == 1:
        return []
    k = largest_power_below(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    """RFC 6962, 2.1.2."""
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = largest_power_below(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def largest_power_below(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def lookup(node: Node) -> bytes:
    return fold(LEAVES[node.number << node.height : (node.number + 1) << node.height])


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def test_the_root_of_the_known_leaves_is_the_known_root() -> None:
    hashes = [leaf_hash(bytes.fromhex(text)) for text in KNOWN_INPUTS]
    assert tree_root(hashes).hex() == KNOWN_ROOT
    assert tree_root([]) == EMPTY_ROOT


def test_roots_and_proofs_are_those_of_the_definition_for_every_small_size() -> None:
    for size in range(66):
        leaves = LEAVES[:size]
        assert tree_root(leaves) == mth(leaves)
        assert evaluate(root_plan(size), lookup) == ([mth(leaves)] if size else [])
        for index in range(size):
            assert evaluate(inclusion_plan(index, size), lookup) == path(index, leaves)
        for old in range(1, size):
            assert evaluate(consistency_plan(old, size), lookup) == subproof(old, leaves, True)


@given(st.data(), st.integers(1, len(LEAVES)))
def test_an_inclusion_proof_holds_at_its_index_and_at_no_other(
    data: st.DataObject, size: int
) -> None:
    index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(0, size))
    steps = evaluate(inclusion_plan(index, size), lookup)
    root = tree_root(LEAVES[:size])
    assert verify_inclusion(index, size, LEAVES[index], steps, root)
    assert (index == other) == verify_inclusion(other, size, LEAVES[index], steps, root)


@given(st.data(), st.integers(1, len(LEAVES)))
def test_an_inclusion_proof_with_any_bit_flipped_fails(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    steps = evaluate(inclusion_plan(index, size), lookup)
    parts = [LEAVES[index], tree_root(LEAVES[:size]), *steps]
    which = data.draw(st.integers(0, len(parts) - 1))
    parts[which] = flip(parts[which], data.draw(st.integers(0, 255)))
    leaf, root, *steps = parts
    assert not verify_inclusion(index, size, leaf, steps, root)


@given(st.data(), st.integers(1, len(LEAVES)))
def test_a_consistency_proof_holds_and_with_any_bit_flipped_fails(
    data: st.DataObject, new: int
) -> None:
    old = data.draw(st.integers(0, new))
    steps = evaluate(consistency_plan(old, new), lookup)
    parts = [tree_root(LEAVES[:old]), tree_root(LEAVES[:new]), *steps]
    assert verify_consistency(old, new, parts[2:], parts[0], parts[1])
    # Every tree begins with the empty one, so nothing ties the new root to an old size of 0.
    which = data.draw(st.sampled_from([0] if old == 0 else range(len(parts))))
    parts[which] = flip(parts[which], data.draw(st.integers(0, 255)))
    assert not verify_consistency(old, new, parts[2:], parts[0], parts[1])


@given(st.integers(2, len(LEAVES)), st.data())
def test_a_proof_that_is_longer_or_shorter_fails(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    steps = evaluate(inclusion_plan(index, size), lookup)
    root = tree_root(LEAVES[:size])
    assert not verify_inclusion(index, size, LEAVES[index], steps[:-1], root)
    assert not verify_inclusion(index, size, LEAVES[index], [*steps, root], root)
    old = data.draw(st.integers(1, size - 1))
    steps = evaluate(consistency_plan(old, size), lookup)
    old_root = tree_root(LEAVES[:old])
    assert not verify_consistency(old, size, steps[:-1], old_root, root)
    assert not verify_consistency(old, size, [*steps, root], old_root, root)


def test_another_history_of_the_same_size_is_not_consistent() -> None:
    forked = [*LEAVES[:99], leaf_hash(b"other"), *LEAVES[100:200]]
    steps = evaluate(consistency_plan(150, 200), lookup)
    assert verify_consistency(150, 200, steps, tree_root(LEAVES[:150]), tree_root(LEAVES[:200]))
    assert not verify_consistency(150, 200, steps, tree_root(forked[:150]), tree_root(LEAVES[:200]))
    assert not verify_consistency(150, 200, steps, tree_root(LEAVES[:150]), tree_root(forked))


def test_equal_sizes_need_equal_roots_and_no_proof() -> None:
    root = tree_root(LEAVES[:9])
    assert verify_consistency(9, 9, [], root, root)
    assert not verify_consistency(9, 9, [root], root, root)
    assert not verify_consistency(9, 9, [], root, tree_root(LEAVES[:10]))
    assert not verify_consistency(10, 9, [], root, root)


def test_a_leaf_cannot_pass_for_a_node() -> None:
    left, right = LEAVES[0], LEAVES[1]
    assert leaf_hash(left + right) != node_hash(left, right)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5)])
def test_there_is_no_plan_for_a_leaf_outside_the_tree(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="no such leaf"):
        inclusion_plan(index, size)
    assert not verify_inclusion(index, size, LEAVES[0], [], LEAVES[0])


def test_there_is_no_plan_from_a_larger_tree_to_a_smaller() -> None:
    with pytest.raises(ValueError, match="larger"):
        consistency_plan(6, 5)


def test_only_a_power_of_two_folds() -> None:
    with pytest.raises(ValueError, match="power"):
        fold(LEAVES[:3])
