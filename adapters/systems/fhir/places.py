"""Places in a FHIR resource: where a value lies, as data. Pure.

A path is a tuple of steps. A text is a member; a number, an element of a list; a dictionary, the
one element of a list whose members are so (None: the member is absent)::

    ("name", {"use": "official"}, "given", 0)

Reading takes a value only where it lies once: two official names are for a person to look at, and
the first of them is not taken.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, TypeAlias

Node: TypeAlias = Any
Path: TypeAlias = tuple[Any, ...]
_Place: TypeAlias = tuple[Any, Any]


def found(node: Node, path: Path) -> list[Any]:
    """Every value that lies there."""
    return [container[key] for container, key in _places(node, path)]


def only(node: Node, path: Path) -> Any | None:
    """The value, if there is one and no second."""
    values = found(node, path)
    return values[0] if len(values) == 1 else None


def put(node: Node, path: Path, value: Any) -> bool:
    """Put a value where it belongs, making what it lies in; False if the place cannot be."""
    *way, last = path
    for step, following in zip(way, path[1:], strict=True):
        node = _enter(node, step, [] if isinstance(following, int | dict) else {})
    if not isinstance(node, list if isinstance(last, int) else dict):
        return False
    if isinstance(last, int):
        if last > len(node):
            return False
        node[last:] = [value, *node[last + 1 :]]
    else:
        node[last] = value
    return True


def add(node: Node, path: Path, value: Any) -> None:
    """Put a value into a new element of the list at the path's selector."""
    at = next(index for index, step in enumerate(path) if isinstance(step, dict))
    element = _new(path[at])
    if path[at + 1 :]:
        put(element, path[at + 1 :], value)
    members = node
    for step in path[: at - 1]:
        members = _enter(members, step, {})
    members.setdefault(path[at - 1], []).append(element)


def remove(node: Node, path: Path) -> None:
    """Take away every value that lies there; `pruned` clears what is left empty."""
    for container, key in _places(node, path):
        container[key] = None


def pruned(node: Node) -> Any | None:
    """A copy without members and elements that say nothing; None if nothing is left."""
    if isinstance(node, dict):
        members = {name: pruned(value) for name, value in node.items()}
        return {name: value for name, value in members.items() if value is not None} or None
    if isinstance(node, list):
        return [value for value in map(pruned, node) if value is not None] or None
    return node


def _places(node: Node, path: Path) -> Iterator[_Place]:
    step, rest = path[0], path[1:]
    keys: list[Any]
    if isinstance(step, str):
        keys = [step] if isinstance(node, dict) and node.get(step) is not None else []
    elif not isinstance(node, list):
        keys = []
    elif isinstance(step, int):
        keys = [step] if step < len(node) and node[step] is not None else []
    else:
        keys = [index for index, element in enumerate(node) if _matches(element, step)]
    for key in keys:
        if rest:
            yield from _places(node[key], rest)
        else:
            yield node, key


def _matches(element: Node, selector: dict[str, Any]) -> bool:
    return isinstance(element, dict) and all(
        element.get(name) == value for name, value in selector.items()
    )


def _new(selector: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy({name: value for name, value in selector.items() if value is not None})


def _enter(node: Node, step: Any, empty: Any) -> Any:
    if isinstance(step, str):
        return node.setdefault(step, empty) if isinstance(node, dict) else None
    if not isinstance(node, list):
        return None
    if isinstance(step, int):
        if step > len(node):
            return None
        if step == len(node):
            node.append(empty)
        return node[step]
    for element in node:
        if _matches(element, step):
            return element
    node.append(_new(step))
    return node[-1]
