from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from helpers import ROOT

import enet_ros
from enet_ros.resources import default_model, share_folder


def test_the_ament_index_finds_the_installed_share_files() -> None:
    packages = pytest.importorskip('ament_index_python.packages', reason='needs ROS 2: scripts/test.sh installs it')
    share = Path(packages.get_package_share_directory('enet_ros'))
    assert share == share_folder()
    for name in ('package.xml', 'launch/segment.launch.py', 'config/segment.yaml', 'config/fastdds.xml', 'models/README.md',
                 'config/train/camvid.yaml', 'config/security/enet_policy.xml', 'models/enet_camvid.safetensors',
                 'models/enet_camvid.onnx'):
        assert (share / name).is_file(), name


def test_executables_are_where_ros2_run_and_launch_look() -> None:
    packages = pytest.importorskip('ament_index_python.packages', reason='needs ROS 2: scripts/test.sh installs it')
    folder = Path(packages.get_package_prefix('enet_ros')) / 'lib' / 'enet_ros'
    done = subprocess.run([str(folder / 'enet'), '--version'], capture_output=True, text=True)
    assert done.stdout == f'enet_ros {enet_ros.__version__}\n', done.stderr
    assert (folder / 'segment_node').stat().st_mode & 0o111


def test_share_files_are_found_without_an_ament_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('AMENT_PREFIX_PATH', raising=False)
    installed = Path(sys.prefix) / 'share' / 'enet_ros'
    assert share_folder() == (installed if installed.is_dir() else ROOT)  # colcon installs elsewhere
    assert default_model().is_file()


def test_a_build_in_the_checkout_does_not_hide_the_installation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv('AMENT_PREFIX_PATH', raising=False)
    expected = share_folder()
    (tmp_path / 'enet_ros.egg-info').mkdir()
    (tmp_path / 'enet_ros.egg-info' / 'PKG-INFO').write_text('Metadata-Version: 2.1\nName: enet_ros\nVersion: 0.1.0\n')
    monkeypatch.syspath_prepend(tmp_path)
    assert share_folder() == expected


def test_one_version_everywhere() -> None:
    version = enet_ros.__version__
    assert ElementTree.parse(ROOT / 'package.xml').findtext('version') == version
    assert f"version='{version}'" in (ROOT / 'setup.py').read_text()
    assert re.search(rf'^{re.escape(version)} ', (ROOT / 'CHANGELOG.rst').read_text(), re.MULTILINE)


