from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest

from enet_ros.engines.cache import EngineKey, check_cache, load_engine, store_engine
from enet_ros.errors import EnetError

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
    lambda data: data[9:], lambda data: b'\xff' + data, lambda data: b'[' * 100_000 + data,
], ids=['short', 'changed', 'empty', 'other header', 'no header', 'not text', 'nested'])
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


def _belongs_to_another_user(path: Path) -> None:
    if os.geteuid():
        pytest.skip('only root can give a file to another user: run the tests as root')
    os.chown(path, 65534, 65534)


def _writable_by_group(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o020)


def _writable_by_all(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o002)


def _link_out_of_the_cache(path: Path) -> None:
    outside = path.parent.parent / f'outside{path.suffix}'
    path.rename(outside)
    path.symlink_to(outside)


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize('change', [
    _belongs_to_another_user, _writable_by_group, _writable_by_all, _link_out_of_the_cache, _fifo,
], ids=lambda change: change.__name__.strip('_'))
def test_an_engine_that_others_could_have_written_is_not_loaded_and_is_replaced(
    change: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    store_engine(KEY, b'engine')
    change(KEY.path)
    assert load_engine(KEY) is None
    (line,) = caplog.messages
    assert str(KEY.path) in line and '\n' not in line
    store_engine(KEY, b'another')
    assert load_engine(KEY) == b'another' and not KEY.path.is_symlink()


@pytest.mark.parametrize('change', [_belongs_to_another_user, _writable_by_group, _writable_by_all],
                         ids=lambda change: change.__name__.strip('_'))
def test_nothing_is_read_from_or_written_into_a_folder_that_others_can_write(
    change: Callable[[Path], None], cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store_engine(KEY, b'engine')
    change(cache)
    before = sorted(cache.iterdir())
    assert load_engine(KEY) is None and store_engine(replace(KEY, gpu='other'), b'engine') is None
    assert sorted(cache.iterdir()) == before
    assert [str(cache) in line and 'not used' in line for line in caplog.messages] == [True, True]
    with pytest.raises(EnetError, match='not used: delete it'):
        check_cache()


@pytest.mark.parametrize('mask', [0o000, 0o002, 0o077])
def test_only_this_user_can_read_and_write_a_new_cache(mask: int, cache: Path) -> None:
    # the mask is read when the package is imported
    script = f"""
import os
os.umask({mask})
from enet_ros.engines.cache import EngineKey, load_engine, store_engine
key = EngineKey(**{KEY.__dict__!r})
store_engine(key, b'engine')
print(load_engine(key), oct(key.path.stat().st_mode & 0o777), oct(key.path.parent.stat().st_mode & 0o777))
"""
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, env=os.environ.copy())
    assert done.stdout == "b'engine' 0o600 0o700\n", done.stderr


def test_a_cache_folder_may_be_a_link(cache: Path, tmp_path: Path) -> None:
    store_engine(KEY, b'engine')
    cache.rename(tmp_path / 'elsewhere')
    cache.symlink_to(tmp_path / 'elsewhere')
    assert load_engine(KEY) == b'engine'


def test_a_full_disk_is_one_warning_and_leaves_no_file(cache: Path) -> None:
    # a limit of the size of files: the kernel refuses the write as on a full disk
    script = f"""
import logging, resource, sys
logging.basicConfig(format='%(levelname)s %(message)s', stream=sys.stdout)
from enet_ros.engines.cache import EngineKey, store_engine
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
store_engine(EngineKey(**{KEY.__dict__!r}), bytes(100_000))
"""
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, env=os.environ.copy())
    (line,) = done.stdout.splitlines()
    assert line.startswith('WARNING the engine is not cached') and str(cache) in line, done.stderr
    assert not list(cache.iterdir())


def test_the_group_cannot_write_an_engine_even_while_it_is_stored(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # who opens the file for writing in that moment could change it later
    modes = []
    replace_file = Path.replace

    def note(path: Path, target: Path) -> Path:
        modes.append(path.stat().st_mode & 0o777)
        return replace_file(path, target)

    monkeypatch.setattr('enet_ros.files._FILE_MODE', 0o664)  # as with the umask of Ubuntu
    monkeypatch.setattr(Path, 'replace', note)
    path = store_engine(KEY, b'engine')
    assert modes == [0o600] and path is not None and path.stat().st_mode & 0o777 == 0o600
