"""The rules of docs/architecture.md: imports go down the layers, without circles, and only ros/ needs ROS."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from helpers import ROOT

PACKAGE = 'enet_ros'
LAYERS: tuple[tuple[str, ...], ...] = (
    ('errors', 'exit_codes', 'version'),
    ('labels', 'files', 'hardware', 'resources'),
    ('parsing',),
    ('machine',),
    ('images',),
    ('network',),
    ('engines',),
    ('segmenter',),
    ('datasets',),
    ('evaluation',),
    ('training',),
    ('replay',),
    ('benchmark',),
    ('ros',),
    ('cli',),
)
"""Modules and folders of the package, lowest layer first. A module imports from its own folder and from lower layers."""


def modules(root: Path) -> dict[str, Path]:
    """Return all modules of the package below `root` by their dotted names."""
    found = {}
    for path in (root / PACKAGE).rglob('*.py'):
        parts = path.relative_to(root).with_suffix('').parts
        found['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Yield the modules of the package that a file imports, also inside functions and for type checkers only."""
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}:{node.lineno}: relative import'
            names = [f'{node.module}.{alias.name}' for alias in node.names]
            yield from {name if name in known else str(node.module) for name in names} & known.keys()
        elif isinstance(node, ast.Import):
            yield from {alias.name for alias in node.names} & known.keys()


def graph(root: Path) -> dict[str, set[str]]:
    """Return which modules of the package each of its modules imports."""
    known = modules(root)
    return {name: set(imports(path, known)) for name, path in known.items()}


def layer(module: str) -> int:
    """Return the layer of a module: its index in `LAYERS`; the package itself is the highest."""
    _, _, rest = module.partition('.')
    if not rest:
        return len(LAYERS)
    return next(index for index, names in enumerate(LAYERS) if rest.partition('.')[0] in names)


def circle(imported: dict[str, set[str]]) -> list[str]:
    """Return the modules of one circle of imports; empty if there is none."""
    try:
        TopologicalSorter(imported).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def upward(imported: dict[str, set[str]]) -> list[str]:
    """Return the imports that go to a higher layer or to another folder of the same layer."""
    def folder(module: str) -> str:
        return '.'.join(module.split('.')[:2])

    return [
        f'{name} imports {other}' for name, others in sorted(imported.items()) for other in sorted(others)
        if layer(other) > layer(name) or (layer(other) == layer(name) and folder(other) != folder(name))
    ]


def test_every_module_has_a_layer() -> None:
    assert {layer(name) for name in modules(ROOT)} <= set(range(len(LAYERS) + 1))


def test_imports_have_no_circle() -> None:
    assert circle(graph(ROOT)) == []


def test_imports_go_down_the_layers() -> None:
    assert upward(graph(ROOT)) == []


@pytest.mark.parametrize(('lower', 'higher'), [
    ('from enet_ros.cli import main\n', ''),
    ('def later() -> None:\n    import enet_ros.cli.main\n', ''),
    ('from enet_ros.cli.main import run\n', 'from enet_ros.images.resize import fit\n'),
], ids=['at the top', 'inside a function', 'in a circle'])
def test_a_wrong_import_is_found(tmp_path: Path, lower: str, higher: str) -> None:
    for name, text in (('__init__', ''), ('images/__init__', ''), ('images/resize', lower), ('cli/__init__', ''),
                       ('cli/main', higher)):
        path = tmp_path / PACKAGE / f'{name}.py'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    imported = graph(tmp_path)
    assert upward(imported)
    assert bool(circle(imported)) == bool(higher)


def test_only_the_ros_folder_imports_ros() -> None:
    ros = ('rclpy', 'sensor_msgs', 'std_msgs', 'builtin_interfaces', 'rcl_interfaces', 'diagnostic_msgs')
    importers = set()
    for name, path in modules(ROOT).items():
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            names = [node.module or ''] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if any(imported.partition('.')[0] in ros for imported in names):
                importers.add('.'.join(name.split('.')[:2]))
    assert importers == {f'{PACKAGE}.ros'}


def test_segmenting_with_openvino_imports_no_pytorch(shipped_model: Path) -> None:
    code = f'''
import sys
from pathlib import Path
import numpy as np
from enet_ros import EngineSpec, Segmenter, read_model
segmenter = Segmenter(read_model(Path({str(shipped_model)!r})), EngineSpec('openvino', width=96, height=64))
segmenter.segment(np.zeros((64, 96, 3), np.uint8), 'rgb')
sys.exit('torch' in sys.modules)
'''
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
