from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT

from enet_ros.datasets.optional import import_optional
from enet_ros.errors import DatasetError


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    assert import_optional('json.decoder', 'files').__name__ == 'json.decoder'
    with pytest.raises(DatasetError, match=r'^masks need the package no_such_package: pip install no_such_package$'):
        import_optional('no_such_package.masks', 'masks')


@pytest.mark.parametrize(('dataset', 'module', 'package'), [
    ('coco', 'pycocotools', 'pycocotools'), ('labelme', 'PIL', 'pillow'), ('sunrgbd', 'h5py', 'h5py'),
    ('sunrgbd', 'scipy', 'scipy'),
])
def test_convert_says_which_package_it_needs(dataset: str, module: str, package: str, classes: Path, tmp_path: Path) -> None:
    if dataset == 'sunrgbd':
        pytest.importorskip('h5py')
    (tmp_path / 'missing').mkdir()
    (tmp_path / 'missing' / f'{module}.py').write_text('raise ModuleNotFoundError(__name__)')  # found before the real one
    (tmp_path / 'src' / 'SUNRGBDtoolbox' / 'Metadata').mkdir(parents=True)
    (tmp_path / 'src' / 'SUNRGBDtoolbox' / 'Metadata' / 'SUNRGBD2Dseg.mat').touch()
    options = ['--classes', classes] if dataset in ('coco', 'labelme') else []
    done = subprocess.run(
        [sys.executable, '-m', 'enet_ros.cli.main', 'convert', dataset, tmp_path / 'src', tmp_path / 'out', *options],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, 'PYTHONPATH': f'{tmp_path / "missing"}:{ROOT}'},
    )
    assert done.returncode == 1
    assert done.stderr.count('\n') == 1 and done.stderr.endswith(f'pip install {package}\n')
    assert not (tmp_path / 'out').exists()
