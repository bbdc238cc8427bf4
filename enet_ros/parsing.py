"""Read JSON and YAML of bounded size and depth, whoever wrote it.

Without bounds, nested brackets exhaust the stack, and YAML's aliases make gigabytes of a few hundred bytes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from enet_ros.errors import one_line, quoted
from enet_ros.files import read_bytes

MAX_DEPTH = 100
"""Most levels of nested lists and mappings."""
MAX_YAML_BYTES = 2**20
"""Most bytes of YAML, which PyYAML reads at some 100 kB/s."""
MAX_JSON_BYTES = 2**31
"""Most bytes of JSON. The annotations of large public datasets have a gigabyte."""
_MAX_YAML_NODES = 200_000
"""Most values after each alias was replaced by what it stands for."""


def read_json(path: Path) -> Any:  # noqa: ANN401 - JSON
    """Read a JSON file.

    Raises:
        OSError: the file cannot be read, is not a regular file, or is too large.
        ValueError: it is not JSON, or nested too deeply.

    """
    return parse_json(read_bytes(path, MAX_JSON_BYTES))


def read_yaml(path: Path) -> Any:  # noqa: ANN401 - YAML
    """Read a YAML file.

    Raises:
        OSError: the file cannot be read, is not a regular file, or is too large.
        ValueError: `parse_yaml` refuses it.

    """
    return parse_yaml(read_bytes(path, MAX_YAML_BYTES).decode())


def parse_json(text: str | bytes, *, finite: bool = False) -> Any:  # noqa: ANN401 - JSON
    """Return the value of JSON text. `finite` refuses NaN and infinity, which Python writes although JSON lacks them.

    Raises:
        ValueError: it is not JSON, or nested too deeply.

    """
    try:
        value = json.loads(text, parse_constant=_refuse if finite else None)
    except RecursionError as error:
        raise _too_deep() from error
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [part for parent in level if isinstance(parent, (dict, list))
                 for part in (parent.values() if isinstance(parent, dict) else parent) if isinstance(part, (dict, list))]
        if not level:
            return value
    raise _too_deep()


def parse_yaml(text: str) -> Any:  # noqa: ANN401 - YAML
    """Return the value of YAML text, of plain types only.

    Raises:
        ValueError: it is not YAML, is nested too deeply, has a key twice in a mapping, or aliases that refer to themselves
            or make it too large.

    """
    try:
        return yaml.load(text, _Loader)
    except Exception as error:  # PyYAML raises exceptions of many types for values that contradict their tag
        raise ValueError(one_line(error)) from error


class _Loader(yaml.SafeLoader):
    """Refuses what is nested too deeply or too large, and a key that a mapping has twice, of which YAML keeps the last."""

    def __init__(self, text: str) -> None:
        """Read `text`."""
        super().__init__(text)
        self._depth = self._nodes = 0
        self._sizes: dict[int, int] = {}  # nodes of each complete node, by its identity

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401 - so in PyYAML's stubs
        """Read a value."""
        if self._depth > MAX_DEPTH:
            raise _too_deep()
        is_alias, before = self.check_event(yaml.AliasEvent), self._nodes
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias and id(node) not in self._sizes:
            raise ValueError('an alias refers to the value that it is in')
        self._nodes += self._sizes[id(node)] if is_alias else 1
        if self._nodes > _MAX_YAML_NODES:
            raise ValueError(f'it has more than {_MAX_YAML_NODES} values')
        if not is_alias:
            self._sizes[id(node)] = self._nodes - before
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401 - so in PyYAML's stubs
        """Read a mapping."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise ValueError(f'key {quoted(key.value)} occurs twice, last in line {key.start_mark.line + 1}')
                seen.add((key.tag, key.value))
        return node


def _refuse(constant: str) -> None:
    raise ValueError(f'{constant} is not a number of JSON')


def _too_deep() -> ValueError:
    return ValueError(f'it has more than {MAX_DEPTH} levels of nested lists and mappings')
