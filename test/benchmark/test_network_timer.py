from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import make_model

from enet_ros.benchmark.eager import EagerEngine
from enet_ros.benchmark.measure import is_out_of_memory
from enet_ros.benchmark.network_timer import network_timer
from enet_ros.engines.base import EngineSpec
from enet_ros.engines.create import create_engine
from enet_ros.errors import EngineError
from enet_ros.images.synthetic import draw_scene
from enet_ros.network.architecture import SegNetArchitecture
from enet_ros.network.inference import InferenceNetwork
from enet_ros.network.model_file import read_model


def _images(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.stack([draw_scene(10 * number, 96, 64)[0][..., ::-1] for number in range(count)])


class CountingEngine:
    """An engine on the CPU that counts the runs of its network and the images it got."""

    spec = EngineSpec('torch', 'fp32', 96, 64)
    device = 'cpu'
    graph = None

    def __init__(self) -> None:
        self.runs: list[torch.Tensor] = []

    def network(self, images: torch.Tensor) -> torch.Tensor:
        self.runs.append(images)
        return images[..., 0]


def test_each_time_is_of_one_run_of_the_network_on_the_images() -> None:
    engine, images = CountingEngine(), _images(2)
    times = network_timer(engine, images)(3)
    assert len(times) == len(engine.runs) == 3 and min(times) > 0
    assert all(np.array_equal(run.numpy(), images) for run in engine.runs)


def test_openvino_is_timed_by_running_its_network_on_the_last_images(small_model: Path) -> None:
    engine, images = create_engine(read_model(small_model), EngineSpec('openvino', 'fp32', batch=2)), _images(2)
    labels = engine.infer(images).labels
    expected = labels.copy()
    labels[:] = 77  # the memory of the engine, which the next run overwrites
    assert len(network_timer(engine, images)(3)) == 3
    assert np.array_equal(labels, expected)


def test_eager_gives_the_labels_of_the_inference_network(small_model: Path) -> None:
    model, images = read_model(small_model), _images(2)
    engine = EagerEngine(model, EngineSpec('torch-eager', 'fp32', batch=2))
    assert (engine.spec.backend, engine.spec.size, engine.device) == ('torch-eager', (96, 64), 'cpu')
    prediction = engine.infer(images)
    with torch.inference_mode():
        expected = InferenceNetwork(model)(torch.from_numpy(images)).numpy()
    assert prediction.confidence is None and prediction.labels.dtype == np.uint8
    assert np.mean(prediction.labels == expected) > 0.999
    assert len(network_timer(engine, images)(2)) == 2


def test_eager_refuses_a_size_that_the_network_does_not_take(tmp_path: Path) -> None:
    model = read_model(make_model(tmp_path / 's.safetensors', architecture=SegNetArchitecture(11)))
    with pytest.raises(EngineError, match=r'96x24.* at least 32'):
        EagerEngine(model, EngineSpec('torch-eager', 'fp32', 96, 24))


@pytest.mark.parametrize(('cause', 'expected'), [
    (MemoryError(), True), (RuntimeError('CUDA out of memory. Tried to allocate 2 GiB'), True), (RuntimeError('no'), False),
])
def test_an_engine_error_for_lack_of_memory_is_known_by_its_cause(cause: Exception, expected: bool) -> None:
    error = EngineError('backend torch fails')
    error.__cause__ = cause
    assert is_out_of_memory(error) is expected and is_out_of_memory(cause) is expected
