from __future__ import annotations

import logging
from dataclasses import fields, replace
from pathlib import Path

import pytest

from enet_ros.engines.cache import EngineKey, load_engine, store_engine

KEY = EngineKey('0123456789abcdef' * 4, '96x64', 'fp16', 'labels', 'parser', '10.3.0', 'Orin 8.7', '0.1.0')


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Path:
    monkeypatch.setenv('ENET_CACHE', str(tmp_path / 'cache'))
    caplog.set_level(logging.INFO, 'enet_ros')
    return tmp_path / 'cache'


def test_an_engine_is_loaded_as_it_was_stored(cache: Path) -> None:
    engine = b'an engine\nwith a line break'
    assert store_engine(KEY, engine) == KEY.path and KEY.path.parent == cache
    assert load_engine(KEY) == engine


@pytest.mark.parametrize('field', [field.name for field in fields(EngineKey)])
def test_any_change_of_the_key_needs_another_engine(field: str, cache: Path) -> None:
    store_engine(KEY, b'one')
    other = replace(KEY, **{field: 'another'})
    assert load_engine(other) is None
    store_engine(other, b'two')
    assert (load_engine(KEY), load_engine(other)) == (b'one', b'two')


def test_one_log_line_says_what_the_cached_engine_was_built_for(caplog: pytest.LogCaptureFixture) -> None:
    store_engine(KEY, b'engine')
    assert load_engine(replace(KEY, tensorrt='10.7.0', gpu='NVIDIA H200 9.0')) is None
    (line,) = caplog.messages
    assert 'for tensorrt 10.3.0, not 10.7.0, for gpu Orin 8.7, not NVIDIA H200 9.0' in line


def test_an_engine_under_another_name_is_not_loaded(caplog: pytest.LogCaptureFixture) -> None:
    other = replace(KEY, gpu='NVIDIA H200 9.0')
    store_engine(KEY, b'engine')
    KEY.path.rename(other.path)
    assert load_engine(other) is None
    assert 'was built for gpu Orin 8.7, not NVIDIA H200 9.0' in caplog.text


@pytest.mark.parametrize('damage', [
    lambda data: data[:-1], lambda data: data[:-1] + b'?', lambda data: b'', lambda data: b'[]\n' + data,
    lambda data: data[9:],
], ids=['short', 'changed', 'empty', 'other header', 'no header'])
def test_a_damaged_engine_is_not_loaded(damage: object, caplog: pytest.LogCaptureFixture) -> None:
    store_engine(KEY, b'engine')
    KEY.path.write_bytes(damage(KEY.path.read_bytes()))
    assert load_engine(KEY) is None
    (line,) = caplog.messages
    assert f'{KEY.path} is damaged' in line


def test_a_cache_that_cannot_be_written_is_one_warning(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache.write_text('a file where the folder should be')  # not a mode, which root ignores
    assert store_engine(KEY, b'engine') is None
    (record,) = caplog.records
    assert record.levelname == 'WARNING' and 'cannot write' in record.getMessage() and str(cache) in record.getMessage()
    assert load_engine(KEY) is None
