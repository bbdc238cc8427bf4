from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest
from command import refused

from enet_ros.cli.arguments import (
    add_segmenter_arguments,
    fraction,
    make_segmenter,
    natural_number,
    positive_integer,
    positive_number,
    size,
)
from enet_ros.engines.base import EngineSpec


def test_arguments_are_read() -> None:
    assert size('640x360') == size('640X360') == (640, 360)
    assert positive_integer('12') == 12 and natural_number('0') == 0
    assert positive_number('0.5') == 0.5
    assert fraction('0') == 0 and fraction('1') == 1


@pytest.mark.parametrize(('read', 'text', 'reason'), [
    (size, 'big', '"big" is not a size; use WxH, for example 640x360'),
    (size, '640', '"640" is not a size'),
    (size, '640x360x3', '"640x360x3" is not a size'),
    (size, '100x64', '100x64: .*multiples of 8'),
    (size, '65536x65536', '65536x65536: .*at most 8192'),
    (size, '0x64', '0x64: .*at least 8'),
    (size, '-64x64', '-64x64: .*at least 8'),
    (positive_integer, '0', '"0" is not an integer of at least 1'),
    (positive_integer, '1.5', '"1.5" is not an integer'),
    (positive_integer, '\u00b2', 'is not an integer'),
    (natural_number, '-1', '"-1" is not an integer of at least 0'),
    (positive_number, '0', '"0" is not a number above 0'),
    (positive_number, 'inf', '"inf" is not a number above 0'),
    (positive_number, 'nan', '"nan" is not a number above 0'),
    (fraction, '2', r'"2" is not a number in \[0, 1\]'),
    (fraction, 'half', '"half" is not a number'),
], ids=lambda value: getattr(value, '__name__', value))
def test_an_invalid_argument_is_named(read: Callable[[str], object], text: str, reason: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=reason):
        read(text)


def test_the_segmenter_is_made_as_the_arguments_say(small_model: Path) -> None:
    parser = argparse.ArgumentParser()
    add_segmenter_arguments(parser)
    texts = f'--model {small_model} --backend openvino --precision fp32 --size 64x32 --threads 1'.split()
    segmenter = make_segmenter(parser.parse_args(texts), ['Road'])
    assert segmenter.model.path == small_model
    assert segmenter.engine.spec == EngineSpec('openvino', 'fp32', 64, 32, threads=1)


def test_invalid_arguments_are_bad_usage_in_one_line() -> None:
    segment = ('segment', 'x.png', '--out', 'out')
    assert 'use WxH' in refused(*segment, '--size', 'big', code=2)
    assert 'multiples of 8' in refused(*segment, '--size', '100x64', code=2)
    assert '"2"' in refused(*segment, '--alpha', '2', code=2)
    assert 'tensorflow' in refused(*segment, '--backend', 'tensorflow', code=2)
    assert '"-1" is not an integer of at least 0' in refused(*segment, '--threads', '-1', code=2)
