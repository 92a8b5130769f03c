"""What can be asked about contents: differences, lineage, words. Pure, over the index and bytes."""

from __future__ import annotations

import difflib
import re
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from store_index import Entry, Index
from store_names import Made, bad

LONGEST_TEXT: Final = 1 << 20
LONGEST_DIFF: Final = 1 << 20
MOST_COMPARED: Final = 4_000_000  # pairs of lines, where two texts differ
MOST_NODES: Final = 1_000
MOST_EDGES: Final = 4_000
MOST_ENTRIES: Final = 100
NO_TEXTS: Final = ("audio/", "video/", "image/", "font/", "application/octet-stream")
WORD: Final = re.compile(r"\w+")
LONGEST_WORD: Final = 64
MOST_WORDS: Final = 16
NAMESPACE: Final = "symphony"
PRODUCER: Final = "urn:symphony:folder-store"
SPEC: Final = "https://openlineage.io/spec"


def text_of(content: bytes, media: str | None) -> str | None:
    """A content as text; None if it is none, or declared to be something else."""
    if len(content) > LONGEST_TEXT or b"\0" in content or (media or "").startswith(NO_TEXTS):
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def diff(names: tuple[str, str], texts: tuple[str, str], context: int) -> dict[str, Any]:
    """What changed from the first text to the second, as a unified diff."""
    old, new = (_lines(text) for text in texts)
    added = removed = 0
    parts = []
    for group in _groups(old, new, context):
        (_, from_a, _, from_b, _), (_, _, to_a, _, to_b) = group[0], group[-1]
        parts.append(f"@@ -{_range(from_a, to_a)} +{_range(from_b, to_b)} @@\n")
        for tag, a, a_end, b, b_end in group:
            if tag == "equal":
                parts += [f" {line}" for line in old[a:a_end]]
                continue
            parts += [f"-{line}" for line in old[a:a_end]]
            parts += [f"+{line}" for line in new[b:b_end]]
            removed += a_end - a
            added += b_end - b
    text = "".join([f"--- {names[0]}\n+++ {names[1]}\n", *parts] if parts else [])
    encoded = text.encode()
    more = len(encoded) > LONGEST_DIFF
    if more:
        text = encoded[: encoded.rindex(b"\n", 0, LONGEST_DIFF) + 1].decode()
    told = {"same": texts[0] == texts[1], "diff": text, "added": added, "removed": removed}
    return told | {"more": more}


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    rest = lines.pop()
    ended = [f"{line}\n" for line in lines]
    return [*ended, f"{rest}\n\\ No newline at end of file\n"] if rest else ended


def _range(begin: int, end: int) -> str:
    length = end - begin
    return f"{begin + (length > 0)}" if length == 1 else f"{begin + (length > 0)},{length}"


def _groups(
    old: list[str], new: list[str], context: int
) -> Iterator[list[tuple[str, int, int, int, int]]]:
    """What differs, with the lines around it. Very long differences are told as a whole."""
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    left, right = old[head : len(old) - tail], new[head : len(new) - tail]
    if len(left) * len(right) > MOST_COMPARED:
        around = min(context, head), min(context, tail)
        a_end, b_end = len(old) - tail, len(new) - tail
        yield [
            ("equal", head - around[0], head, head - around[0], head),
            ("replace", head, a_end, head, b_end),
            ("equal", a_end, a_end + around[1], b_end, b_end + around[1]),
        ]
        return
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    yield from (group for group in matcher.get_grouped_opcodes(context) if old != new)


def lineage(index: Index, ref: str, depth: int, way: str) -> tuple[dict[str, Any], list[Entry]]:
    """What a content was made from and what was made from it, breadth first; and those entries."""
    queue = deque([(ref, 0, way != "outputs", way != "inputs")])
    seen = {ref}
    nodes: list[dict[str, Any]] = []
    edges: list[dict[str, Any]] = []
    entries: dict[int, Entry] = {}
    more = False
    while queue:
        current, away, up, down = queue.popleft()
        nodes.append(_node(index, current, away))
        if away == depth:
            continue
        met: list[tuple[str, str, Entry, bool]] = []
        if up:
            own = index.entries_of(current)[-MOST_ENTRIES:]
            met += [(each, current, entry, True) for entry in own for each in _inputs(entry)]
            entries |= {entry.number: entry for entry in own}
        if down:
            made = index.made_from(current)
            more |= len(made) > MOST_ENTRIES
            met += [(current, entry.ref, entry, False) for entry in made[-MOST_ENTRIES:]]
            entries |= {entry.number: entry for entry in made[-MOST_ENTRIES:]}
        for source, target, entry, is_up in met:
            edge = {"from": source, "to": target, "made": _made(entry)}
            if edge not in edges:
                more |= len(edges) >= MOST_EDGES
                edges += [edge] if len(edges) < MOST_EDGES else []
            other = source if is_up else target
            if other not in seen:
                more |= len(seen) >= MOST_NODES
                if len(seen) < MOST_NODES:
                    seen.add(other)
                    queue.append((other, away + 1, is_up, not is_up))
    return {"nodes": nodes, "edges": edges, "more": more}, list(entries.values())


def openlineage(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """One event for each attempt of a step, OpenLineage 2-0-2."""
    steps: dict[tuple[object, ...], list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.about.ts):
        made = entry.about.made
        if made is not None:
            key = made.run, made.step, made.attempt, made.player, made.version
            steps.setdefault((entry.about.ts, *key), []).append(entry)
    return [_event(key[1:], group) for key, group in steps.items()]


def _event(key: tuple[object, ...], group: Sequence[Entry]) -> dict[str, Any]:
    run, step, _, player, _ = key
    name = ".".join(str(word) for word in (step or "put", player) if word)
    facets = {}
    if run is not None:
        facets["parent"] = {
            "_producer": PRODUCER,
            "_schemaURL": f"{SPEC}/facets/1-0-1/ParentRunFacet.json#/$defs/ParentRunFacet",
            "run": {"runId": _uuid([run])},
            "job": {"namespace": NAMESPACE, "name": str(run)},
        }
    return {
        "eventType": "COMPLETE",
        "eventTime": group[0].about.ts,
        "run": {"runId": _uuid(key), "facets": facets},
        "job": {"namespace": NAMESPACE, "name": name},
        "inputs": _datasets(each for entry in group for each in _inputs(entry)),
        "outputs": _datasets(entry.ref for entry in group),
        "producer": PRODUCER,
        "schemaURL": f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent",
    }


def _datasets(refs: Iterator[str]) -> list[dict[str, str]]:
    return [{"namespace": NAMESPACE, "name": ref} for ref in sorted(set(refs))]


def _uuid(parts: Sequence[object]) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{PRODUCER}:{msgspec.json.encode(parts).hex()}"))


def _inputs(entry: Entry) -> list[str]:
    return (entry.about.made or Made()).inputs or []


def _made(entry: Entry) -> dict[str, Any]:
    made: dict[str, Any] = msgspec.to_builtins(entry.about.made or Made())
    made.pop("inputs", None)
    return made


def _node(index: Index, ref: str, depth: int) -> dict[str, Any]:
    node: dict[str, Any] = {"ref": ref, "depth": depth, "there": index.blob(ref) is not None}
    blob = index.blobs.get(ref)
    if blob is not None:
        node["bytes"] = blob.length if blob.size is None else blob.size
    names = [entry.about.name for entry in index.entries_of(ref) if entry.about.name]
    return node | ({"name": names[-1]} if names else {})


def words_of(text: str) -> Counter[str]:
    """How often each word stands in a text, whatever its case."""
    return Counter(
        word.lower() for word in WORD.findall(text) if len(word.encode()) <= LONGEST_WORD
    )


def fits(
    query: str, documents: Mapping[str, Counter[str]], order: Callable[[str], int]
) -> dict[str, int]:
    """The contents that have all words, the best first; the newest first of equals."""
    words = words_of(query)
    if not 1 <= len(words) <= MOST_WORDS:
        raise bad("text", f"there are not 1 to {MOST_WORDS} words in it")
    holding = {word: sum(word in counts for counts in documents.values()) for word in words}
    found = {
        ref: sum(
            counts[word] * (1 + (len(documents) // holding[word]).bit_length() - 1)
            for word in words
        )
        for ref, counts in documents.items()
        if all(word in counts for word in words)
    }
    best = sorted(found, key=lambda ref: (found[ref], order(ref)), reverse=True)
    return {ref: found[ref] for ref in best}
