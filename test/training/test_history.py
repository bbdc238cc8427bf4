from __future__ import annotations

from pathlib import Path

import pytest

from enet_ros.errors import TrainingError
from enet_ros.training.history import read_history


def _log(folder: Path, version: int | str, *rows: str) -> None:
    path = folder / 'log' / f'version_{version}' / 'metrics.csv'
    path.parent.mkdir(parents=True)
    path.write_text('\n'.join(('epoch,learning_rate,loss,step,val_mean_iou', *rows)) + '\n')


def test_history_joins_the_logs_of_a_resumed_stage(tmp_path: Path) -> None:
    stage = tmp_path / 'decoder'
    _log(stage, 0, '0,0.1,3.0,1,', '0,,,1,0.25', '1,0.2,2.0,3,')
    _log(stage, 2, '1,0.2,1.5,3,', '2,0.1,1.0,5,', '2,,,5,0.5')
    _log(stage, 10, '3,0.05,0.5,7,')  # after version 2, not before
    history = read_history(stage)
    assert history.name == 'decoder'
    assert history.loss == [(1, 3.0), (2, 1.5), (3, 1.0), (4, 0.5)]  # a repeated epoch counts once, as last measured
    assert history.mean_iou == [(1, 0.25), (3, 0.5)]
    assert history.learning_rate == [(1, 0.1), (2, 0.2), (3, 0.1), (4, 0.05)]


def test_history_of_a_stage_that_has_not_started_is_empty(tmp_path: Path) -> None:
    history = read_history(tmp_path / 'decoder')
    assert not history.loss and not history.mean_iou and not history.learning_rate


def test_a_renamed_log_is_left_out(tmp_path: Path) -> None:
    _log(tmp_path, 0, '0,0.1,3.0,1,')
    for name in ('old', '0_old', '1_2', '٣'):  # int() reads the last two
        _log(tmp_path, name, '0,0.1,9.0,1,')
    assert read_history(tmp_path).loss == [(1, 3.0)]


@pytest.mark.parametrize('row', ['x,0.1,3.0,1,', '0,0.1,loss,1,', '0,0.1,\x00', ',0.1,3.0,1,', 'nan,0.1,3.0,1,'],
                         ids=['epoch', 'loss', 'nul', 'no-epoch', 'nan'])
def test_a_damaged_log_is_named_with_the_remedy(row: str, tmp_path: Path) -> None:
    _log(tmp_path, 0, row)
    path = tmp_path / 'log' / 'version_0' / 'metrics.csv'
    with pytest.raises(TrainingError, match=f'cannot read {path}: .*; remove it and add --resume'):
        read_history(tmp_path)
