"""Hostile input for the readers of foreign data, and the property that each of them must have.

Sources of inputs: valid files with damaged bytes, and valid JSON or YAML with changed values.
"""

from __future__ import annotations

import copy
import json
import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from hypothesis import strategies as st

from enet_ros.errors import EnetError

MEGABYTE = 2**20
MEMORY = 400 * MEGABYTE
"""How much more memory than before a reader may use for inputs of some kilobytes."""
SECONDS = 60
"""A reader that takes longer hangs: the inputs take milliseconds, also on a loaded machine."""
_ERROR_LENGTH = 4000
COUNTS: dict[str, Counter[str]] = {}
"""Inputs that were read and refused, by test."""

T = TypeVar('T')


class _TooSlow(BaseException):
    """Not an Exception: readers catch those of libraries."""


def reads(read: Callable[[], T], memory: int = MEMORY) -> T | None:
    """Return what a reader returns, or None if it raises an EnetError of one line. Anything else fails the test."""
    test = os.environ['PYTEST_CURRENT_TEST'].rpartition('::')[2].partition(' ')[0]
    counts = COUNTS.setdefault(test, Counter())
    handler = signal.signal(signal.SIGALRM, _too_slow)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    before = _memory('VmRSS', reset=True)
    try:
        result = read()
        counts['read'] += 1
        return result
    except EnetError as error:
        counts['refused'] += 1
        text = str(error)
        assert text and '\n' not in text, f'not one line: {text!r}'
        assert len(text) <= _ERROR_LENGTH, f'an error of {len(text)} characters: {text[:200]!r}'
        return None
    except _TooSlow:
        raise AssertionError(f'the reader took more than {SECONDS} s') from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        used = _memory('VmHWM') - before
        assert used <= memory, f'the reader used {used // MEGABYTE} MB'


def _too_slow(_: int, __: FrameType | None) -> None:
    raise _TooSlow


def _memory(field: str, reset: bool = False) -> int:
    """Return a figure of /proc/self/status in bytes: VmRSS, or VmHWM, the most since the last `reset`."""
    if reset:
        with suppress(PermissionError):  # without it, only a new record of the process is found
            Path('/proc/self/clear_refs').write_bytes(b'5')
    status = Path('/proc/self/status').read_bytes()
    return int(status.split(f'{field}:'.encode(), 1)[1].split(None, 1)[0]) * 1024


_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**63, 2**64 - 1)


@st.composite
def damaged(draw: st.DrawFn, content: bytes, head: int = 256) -> bytes:
    """Return `content` after one to four damages, half of them in its first `head` bytes."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        size = len(data)
        at = draw(st.integers(0, size) | st.integers(0, min(size, head)))
        count = draw(st.integers(1, 64))
        kind = draw(st.sampled_from(('flip', 'number', 'write', 'insert', 'remove', 'repeat', 'zero', 'cut')))
        if kind == 'flip' and size:
            data[at % size] ^= 1 << draw(st.integers(0, 7))
        elif kind == 'number':
            width, order = draw(st.sampled_from((1, 2, 4, 8))), draw(st.sampled_from(('little', 'big')))
            data[at : at + width] = (draw(st.sampled_from(_NUMBERS)) % 256**width).to_bytes(width, order)
        elif kind in ('write', 'insert'):
            data[at : at + (count if kind == 'write' else 0)] = draw(st.binary(max_size=count))
        elif kind == 'remove':
            del data[at : at + count]
        elif kind == 'repeat':
            data[at:at] = data[at : at + count] * draw(st.integers(1, 20))
        elif kind == 'zero':
            data[at : at + count] = bytes(len(data[at : at + count]))
        elif kind == 'cut':
            del data[at:]
    return bytes(data)


def raw(text: str) -> str:
    """Return a value that `json_text` and `yaml_text` replace by `text`, which json.dumps could not write."""
    _SNIPPETS[name := f'@{len(_SNIPPETS)}@'] = text
    return name


_SNIPPETS: dict[str, str] = {}
_JSON_VALUES = [raw(text) for text in (
    '[' * 5000, '[' * 900 + ']' * 900, '{"a":' * 5000, '9' * 5000, '1e999', '-',
)]
_YAML_VALUES = [raw(text) for text in (
    '!!int ""', '!!float x', '!!timestamp x', '2001-13-45', '2001-01-01 00:00:00 +99:99', '!!binary "?"', '!!set {a, b}',
    '!!python/object/apply:os.getcwd []', '&a [*a]', '&b {b: *b}', '*none', '{<<: 1}', '{? [a] : b}', '{? {a: b} : c}',
    '1:99', '!!omap [a]', '!!pairs [a]', '.inf', '0x', '0b', '~', '=', '!!bool x', '!!null x', '!x y', '{a: 1, a: 2}',
    '[&c [x,x,x,x,x,x,x,x,x], &d [*c,*c,*c,*c,*c,*c,*c,*c,*c], &e [*d,*d,*d,*d,*d,*d,*d,*d,*d], '
    '&f [*e,*e,*e,*e,*e,*e,*e,*e,*e], &g [*f,*f,*f,*f,*f,*f,*f,*f,*f], &h [*g,*g,*g,*g,*g,*g,*g,*g,*g], '
    '&i [*h,*h,*h,*h,*h,*h,*h,*h,*h], &j [*i,*i,*i,*i,*i,*i,*i,*i,*i], [*j,*j,*j,*j,*j,*j,*j,*j,*j]]',
)]
_TEXTS = ('', ' ', '..', '/', '../../x', '/dev/zero', 'C:\\x\\y', 'a\0b', 'a\nb', '\x1b[31m', '\ud800', '\u202e', 'x' * 300,
          'x' * 5000, '%s{}', ',', '=', 'nan', '-1', 'null', '~', 'é' * 200, '٣')
_SCALARS: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-300, 300) | st.sampled_from((*_NUMBERS, -1, -2**31, -2**63, 2**70, 10**400))
    | st.floats() | st.sampled_from(_TEXTS) | st.text(max_size=20)
)
values: st.SearchStrategy[Any] = st.recursive(
    _SCALARS, lambda part: st.lists(part, max_size=4) | st.dictionaries(st.text(max_size=8), part, max_size=3), max_leaves=8)
"""Any value of JSON."""


_CHANGES = ('nudge', 'nudge', 'nudge', 'value', 'value', 'part', 'snippet', 'remove', 'repeat', 'wrap', 'rename')


@st.composite
def _changed(draw: st.DrawFn, tree: object, snippets: Sequence[str], keys: st.SearchStrategy[str]) -> object:
    """Return a JSON value with one to three changes, each as likely near its root as in its largest list."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3)))):
        if not tree or not isinstance(tree, (dict, list)) or draw(st.integers(0, 50)) == 50:
            return draw(values | st.sampled_from(snippets))
        place, key = _place(draw, tree)
        kind = draw(st.sampled_from(_CHANGES))
        if kind == 'nudge':
            place[key] = draw(_near(place[key]))
        elif kind == 'value':
            place[key] = draw(values)
        elif kind == 'snippet':
            place[key] = draw(st.sampled_from(snippets))
        elif kind == 'part':
            other, its_key = _place(draw, tree)
            place[key] = copy.deepcopy(other[its_key])
        elif kind == 'wrap':
            place[key] = [place[key]]
        elif kind == 'remove':
            del place[key]
        elif isinstance(place, list):
            place.append(copy.deepcopy(place[key]))
        else:
            place[draw(keys)] = place.pop(key) if kind == 'rename' else copy.deepcopy(place[key])
    return tree


def _place(draw: st.DrawFn, tree: Any) -> tuple[Any, Any]:  # noqa: ANN401 - JSON
    """Return container and key of a value in a container that is not empty."""
    while True:
        key = draw(st.sampled_from(list(tree) if isinstance(tree, dict) else range(len(tree))))
        part = tree[key]
        if not isinstance(part, (dict, list)) or not part or draw(st.integers(0, 3)) == 3:
            return tree, key
        tree = part


def _near(value: object) -> st.SearchStrategy[Any]:
    """Return values like `value`, of its type or almost."""
    if isinstance(value, (bool, type(None))):
        return st.sampled_from((True, False, None, 0, 1))
    if isinstance(value, (int, float)) and abs(value) < 2**62:
        return st.sampled_from((value + 1, value - 1, -value, 2 * value, value / 2, 0, float(value), str(value), 1e300,
                                float('nan'), float('inf'), 65536 * (1 + abs(int(value)))))
    if isinstance(value, str):
        return st.sampled_from((value + 'x', value[:-1], value.upper(), '', ' ', [value], value + '\n', value * 20))
    return st.sampled_from(([], {}, None, '', [value], [value, value], {'x': value}))


def _text(tree: object) -> bytes:
    text = json.dumps(tree)
    for name, snippet in _SNIPPETS.items():
        text = text.replace(f'"{name}"', snippet)
    return text.encode()


@st.composite
def texts(draw: st.DrawFn, text: str) -> bytes:
    """Return `text` with one to three other words, numbers or marks between them, or as it is."""
    parts = re.split(r'(\W)', text)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(parts) - 1))
        kind = draw(st.sampled_from(('text', 'number', 'part', 'remove', 'repeat')))
        if kind == 'text':
            parts[at] = draw(st.sampled_from(_TEXTS) | st.text(max_size=5))
        elif kind == 'number':
            parts[at] = str(draw(st.sampled_from((*_NUMBERS, -1, 10**400, 0.5))))
        elif kind == 'part':
            parts[at] = draw(st.sampled_from(parts))
        elif kind == 'remove':
            parts[at] = ''
        else:
            parts[at] = (parts[at] * draw(st.sampled_from((2, 10_000))))[:20_000]
    return ''.join(parts).encode(errors='replace')


def json_files(tree: object) -> st.SearchStrategy[bytes]:
    """Return files like the JSON of `tree`, with other values or damaged."""
    return _files(tree, _JSON_VALUES, _TEXTS)


def yaml_files(tree: object) -> st.SearchStrategy[bytes]:
    """Return files like the YAML of `tree`, with other values or damaged. YAML has all of JSON."""
    return _files(tree, (*_JSON_VALUES, *_YAML_VALUES), (*_TEXTS, *_YAML_VALUES))


def _files(tree: object, snippets: Sequence[str], keys: Sequence[str]) -> st.SearchStrategy[bytes]:
    changed = _changed(tree, snippets, st.sampled_from(keys)).map(_text)
    return st.one_of(changed, changed, changed, damaged(_text(tree), 10_000))
