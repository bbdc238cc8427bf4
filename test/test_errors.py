from __future__ import annotations

import errno

from enet_ros import errors
from enet_ros.errors import QUOTED_LENGTH, EnetError, described, one_line, quoted


def test_every_exception_of_the_package_is_an_enet_error() -> None:
    found = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(found) > 10
    assert all(issubclass(value, EnetError) for value in found)


def test_one_line_joins_the_lines_of_a_foreign_error() -> None:
    assert one_line(ValueError('first\n   second\t third\n')) == 'first second third'


def test_one_line_of_an_error_without_text_is_its_type() -> None:
    assert one_line(MemoryError()) == 'MemoryError'


def test_one_line_of_a_system_error_is_its_reason_without_number_and_path() -> None:
    assert one_line(OSError(errno.ENOSPC, 'No space left on device', '/data/x')) == 'No space left on device'


def test_one_line_cuts_long_texts() -> None:
    line = one_line(RuntimeError('x' * 10_000))
    assert len(line) == 300 and line.endswith('...')


def test_the_type_is_named_for_other_exceptions_only() -> None:
    assert described(EnetError('no such file')) == 'no such file'
    assert described(KeyError('model')) == "KeyError: 'model'"


def test_quoted_text_is_short_and_cannot_forge_log_lines() -> None:
    text = quoted('rgb8\n\x1b[31m[FATAL] "motors" off' + 'x' * 1000)
    assert '\n' not in text and '\x1b' not in text
    assert text.count('"') == 2 and text.startswith('"') and text.endswith('"')
    assert len(quoted('x' * 1000)) == QUOTED_LENGTH + 2
    assert quoted('mono8') == '"mono8"'
