"""Reads one YAML file as plain text values and remembers the line and column of each.

Every scalar stays the text that stands in the file: `NO` is not false, `22:00` no number and `0.05` no float. What a text
means is decided by the field it is given to. Empty values and `null` are None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from catalog.problems import Problems, Step

MAX_BYTES = 64 * 1024 * 1024


@dataclass
class YamlSource:
    """A YAML file: its data and where each part of it stands."""

    path: Path
    data: object = None
    values: dict[tuple[Step, ...], tuple[int, int]] = field(default_factory=dict)
    keys: dict[tuple[Step, ...], tuple[int, int]] = field(default_factory=dict)

    def locate(self, steps: Sequence[Step], *, key: bool) -> tuple[int, int]:
        wanted = tuple(steps)
        if key and wanted in self.keys:
            return self.keys[wanted]
        while wanted and wanted not in self.values:
            wanted = wanted[:-1]
        return self.values.get(wanted, (1, 1))

    def label(self, steps: Sequence[Step]) -> str:
        return ".".join(str(step) for step in steps)


def read_yaml(path: Path, problems: Problems) -> YamlSource | None:
    """The file's data and positions, or None with the mistakes noted when it cannot be read."""
    text = read_text(path, problems)
    if text is None:
        return None
    try:
        root = YAML(typ="rt").compose(StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problems.add_at(
            path, position, f"not valid YAML: {error.problem or error.context}; check indentation, quotes and brackets"
        )
        return None
    except (YAMLError, ValueError) as error:
        problems.add_at(path, (1, 1), f"not valid YAML: {str(error).splitlines()[0]}; save it as plain UTF-8 text")
        return None
    except RecursionError:
        problems.add_at(path, (1, 1), "nested too deeply; lists and mappings here are at most a few levels deep")
        return None
    source = YamlSource(path)
    source.data = _NodeReader(source, problems).read(root, ()) if root is not None else {}
    return source


def read_text(path: Path, problems: Problems) -> str | None:
    """The file as text, or None with the mistake noted."""
    try:
        if path.stat().st_size > MAX_BYTES:
            problems.add_at(path, (1, 1), f"larger than {MAX_BYTES // 2**20} MB; split it into several files")
            return None
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        position = (before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1)
        problems.add_at(path, position, "not UTF-8 text; save the file with the encoding UTF-8")
    except OSError as error:
        problems.add_at(path, (1, 1), f"cannot be read ({error.strerror}); check its name and permissions")
    return None


class _NodeReader:
    """Turns YAML nodes into text, lists and dicts; notes duplicate keys, aliases and tags, which have no place here."""

    def __init__(self, source: YamlSource, problems: Problems) -> None:
        self.source = source
        self.problems = problems
        self.seen: set[int] = set()

    def read(self, node: Node, steps: tuple[Step, ...]) -> object:
        position = _position(node)
        self.source.values[steps] = position
        if id(node) in self.seen:
            self.note(node, steps, f"refers to '&{node.anchor}'; write the value out, references are not read")
            return str(node.value) if isinstance(node, ScalarNode) else None
        self.seen.add(id(node))
        if not str(node.tag).startswith("tag:yaml.org,2002:"):
            self.note(node, steps, f"has the tag '{node.tag}'; remove it, tags are not read")
        if isinstance(node, MappingNode):
            return self.read_mapping(node, steps)
        if isinstance(node, SequenceNode):
            return [self.read(item, (*steps, index)) for index, item in enumerate(node.value)]
        if isinstance(node, ScalarNode) and node.style is None and node.value in ("", "~", "null"):
            return None
        return self.whole_text(node, steps)

    def whole_text(self, node: Node, steps: tuple[Step, ...]) -> str:
        """The scalar's text; two escapes that make one character (as JSON writes them) become that character."""
        try:
            return str(node.value).encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self.note(node, steps, "holds half a character; write the character itself and not its escape")
            return ""

    def read_mapping(self, node: MappingNode, steps: tuple[Step, ...]) -> dict[str, object]:
        data: dict[str, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self.note(key_node, steps, "a key must be a plain word")
                continue
            key = str(key_node.value)
            inner = (*steps, key)
            if key in data:
                self.note(key_node, inner, "stands here twice; keep one")
                continue
            self.source.keys[inner] = _position(key_node)
            data[key] = self.read(value_node, inner)
            if data[key] is None and isinstance(value_node, ScalarNode) and value_node.value == "":
                self.source.values[inner] = _position(key_node)
        return data

    def note(self, node: Node, steps: tuple[Step, ...], message: str) -> None:
        self.problems.add_at(self.source.path, _position(node), f"{self.source.label(steps)}: {message}".removeprefix(": "))


def _position(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
