"""Line numbers of a TOML or JSON text, by key path.

Only needed to report an error, so the parsers (tree-sitter) are imported here and nowhere else, and
the kernel imports this module when the first error must be located. The text is known to be valid.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator

import tree_sitter_json
import tree_sitter_toml
from tree_sitter import Language, Node, Parser

KeyPath = tuple[str | int, ...]
Lines = dict[KeyPath, int]


def json_lines(source: bytes) -> tuple[Lines, list[tuple[KeyPath, int]]]:
    """Line of every value by key path (from 1), and the keys that an object holds again.

    As for the JSON reader, the last of them is the one that counts.
    """
    lines: Lines = {(): 1}
    twice: list[tuple[KeyPath, int]] = []
    root = Parser(Language(tree_sitter_json.language())).parse(source).root_node
    stack: list[tuple[Node, KeyPath]] = [(node, ()) for node in root.named_children]
    while stack:
        node, path = stack.pop()
        lines.setdefault(path, _line(node))
        if node.type == "object":
            values: dict[KeyPath, Node] = {}
            for pair in _of_type(node, "pair"):
                key, value = pair.child_by_field_name("key"), pair.child_by_field_name("value")
                if key is None or value is None:
                    continue
                inner = (*path, str(json.loads(_text(key))))
                if inner in values:
                    twice.append((inner, _line(pair)))
                values[inner] = value
                lines[inner] = _line(pair)
            stack.extend((value, inner) for inner, value in values.items())
        elif node.type == "array":
            items = [child for child in node.named_children if child.type != "comment"]
            stack.extend((item, (*path, index)) for index, item in enumerate(items))
    return lines, twice


def toml_lines(source: bytes) -> Lines:
    """Line of every table, key and list item by key path (from 1)."""
    lines: Lines = {(): 1}
    last: dict[KeyPath, int] = {}  # array of tables → index of its last element
    root = Parser(Language(tree_sitter_toml.language())).parse(source).root_node
    for node in root.named_children:
        if node.type == "pair":
            _record_pair(node, (), lines)
        elif node.type in {"table", "table_array_element"}:
            path = _header(node, last)
            for size in range(1, len(path) + 1):
                lines.setdefault(path[:size], _line(node))
            for pair in _of_type(node, "pair"):
                _record_pair(pair, path, lines)
    return lines


def _header(node: Node, last: dict[KeyPath, int]) -> KeyPath:
    keys = _keys(node.named_children[0])
    path: KeyPath = ()
    for position, key in enumerate(keys):
        path = (*path, key)
        if node.type == "table_array_element" and position == len(keys) - 1:
            last[path] = last.get(path, -1) + 1
        if path in last:
            path = (*path, last[path])
    return path


def _record_pair(pair: Node, base: KeyPath, lines: Lines) -> None:
    stack: list[tuple[Node, KeyPath]] = [(pair, base)]
    while stack:
        node, path = stack.pop()
        if node.type == "pair":
            key, value = node.named_children[0], node.named_children[-1]
            for part in _keys(key):
                path = (*path, part)
                lines.setdefault(path, _line(node))
            stack.append((value, path))
        elif node.type == "inline_table":
            stack.extend((child, path) for child in _of_type(node, "pair"))
        elif node.type == "array":
            items = [child for child in node.named_children if child.type != "comment"]
            for index, item in enumerate(items):
                lines.setdefault((*path, index), _line(item))
                stack.append((item, (*path, index)))


def _keys(key: Node) -> tuple[str, ...]:
    if key.type == "dotted_key":
        return tuple(part for child in key.named_children for part in _keys(child))
    text = _text(key)
    return (next(iter(tomllib.loads(f"{text} = 0"))) if key.type == "quoted_key" else text,)


def _of_type(node: Node, kind: str) -> Iterator[Node]:
    return (child for child in node.named_children if child.type == kind)


def _text(node: Node) -> str:
    return (node.text or b"").decode()


def _line(node: Node) -> int:
    return int(node.start_point[0]) + 1
