from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest

from enet_ros.cli.main import main
from enet_ros.engines import quantization, verification
from enet_ros.engines.create import create_engine
from enet_ros.engines.int8 import PACKAGES, quantize_graph
from enet_ros.engines.onnx_graph import MODEL_KEY
from enet_ros.errors import EngineError
from enet_ros.images.files import write_image
from enet_ros.images.synthetic import draw_scene
from enet_ros.network.model_file import read_model

SIZE = (240, 184)
needs_nncf = pytest.mark.skipif(
    any(find_spec(package) is None for package in PACKAGES), reason=f'needs {", ".join(PACKAGES)}: pip install them'
)


def _scene(number: int) -> np.ndarray:
    return np.ascontiguousarray(draw_scene(number, *SIZE)[0][..., ::-1])


@needs_nncf
def test_int8_is_calibrated_once_and_then_comes_from_the_cache(
    shipped_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv('ENET_CACHE', str(tmp_path / 'cache'))
    model = read_model(shipped_model)
    with pytest.raises(EngineError, match=r'int8 needs calibration images: enet build-engine .*--size 240x184 .*--cal'):
        create_engine(model, SIZE, 'openvino', 'int8')
    for number in range(6):
        write_image(tmp_path / 'images' / f'{number}.png', draw_scene(10 * number, *SIZE)[0])
    build = ['build-engine', '--model', str(shipped_model), '--backend', 'openvino', '--size', '240x184',
             '--precision', 'int8']
    assert main([*build, '--calibration', str(tmp_path / 'images')]) == 0
    verified, ready = capsys.readouterr().out.splitlines()
    assert verified.endswith('% of the pixels of the check images get the label that PyTorch gives')
    assert ready == 'openvino int8 at 240x184 is ready'
    engine = create_engine(model, SIZE, 'openvino', 'int8')
    assert engine.precision == 'int8'
    exact = create_engine(model, SIZE, 'openvino', 'fp32')
    for number in (5, 33):  # not those of the calibration
        labels = exact.infer(_scene(number)).copy()
        assert len(np.unique(labels)) > 4
        agreement = (engine.infer(_scene(number)) == labels).mean()
        # drawings are not what the weights are for; equal in every pixel would mean that nothing was quantised
        assert verification.MINIMUM['int8'] < agreement < 1
    # what fails its check is not left for all to use
    monkeypatch.setitem(verification.MINIMUM, 'int8', 1.01)
    assert main([*build, '--calibration', str(tmp_path / 'images')]) == 1
    assert 'the graph is removed: calibrate with more images' in capsys.readouterr().err
    with pytest.raises(EngineError, match='int8 needs calibration images'):
        create_engine(model, SIZE, 'openvino', 'int8')


@needs_nncf
def test_without_zero_points_all_is_int8_around_zero_as_tensorrt_insists(shipped_model: Path) -> None:
    data = quantize_graph(shipped_model.with_suffix('.onnx').read_bytes(), [_scene(0), _scene(40)], zero_points=False)
    graph = onnx.load_from_string(data)
    assert {entry.key for entry in graph.metadata_props} >= {MODEL_KEY}
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    nodes = [node for node in graph.graph.node if node.op_type in ('QuantizeLinear', 'DequantizeLinear')]
    assert len(nodes) > 100
    for node in nodes:
        zero = constants[node.input[2]]
        assert zero.dtype == np.int8 and not zero.any()


def test_no_images_and_a_missing_package_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, 'find_spec', lambda _: True)
    with pytest.raises(EngineError, match='there are none: check the folder'):
        quantize_graph(b'', [], zero_points=True)
    monkeypatch.setattr(quantization, 'find_spec', lambda name: None if name == 'nncf' else True)
    with pytest.raises(EngineError, match='needs nncf: pip install nncf'):
        quantize_graph(b'', [], zero_points=True)
