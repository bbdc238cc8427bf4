"""What several test modules share and is not a fixture."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

from enet_ros.datasets.prepared import Dataset
from enet_ros.datasets.source import Pair, SourceDataset
from enet_ros.datasets.writing import write_dataset
from enet_ros.images.files import read_labels, write_image
from enet_ros.images.synthetic import draw_scene
from enet_ros.labels import CAMVID
from enet_ros.network.architecture import Architecture, ENetArchitecture
from enet_ros.network.model_file import ModelInfo, write_model
from enet_ros.network.registry import make_network

ROOT = Path(__file__).resolve().parents[1]


def randomize(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give normalisations and slopes values as training does: as initialised, mistakes with them would not show."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            nn.init.normal_(module.weight, 1, 0.3, generator=generator)
            nn.init.normal_(module.bias, 0, 0.3, generator=generator)
        elif isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, -0.3, 0.5, generator=generator)
    return network.eval()


def make_model(path: Path, seed: int = 0, architecture: Architecture | None = None, **options: object) -> Path:
    """Write a model file of an untrained CamVid network for small images: of `architecture`, or an ENet with `options`."""
    torch.manual_seed(seed)
    architecture = architecture or ENetArchitecture(len(CAMVID), **options)
    network = randomize(make_network(architecture), seed)
    info = ModelInfo(architecture, CAMVID, (96, 64), 'none', {'seed': seed}, 'untrained')
    write_model(path, info, {k: v.numpy() for k, v in network.state_dict().items() if v.is_floating_point()})
    return path


def draw_dataset(folder: Path, train: int = 6, val: int = 2, width: int = 96, height: int = 64) -> Dataset:
    """Make a prepared dataset of drawn scenes in `folder`/dataset."""
    splits = {}
    for split, count in (('train', train), ('val', val)):
        pairs = []
        for number in range(count):
            image, labels = draw_scene(number * 9, width, height)
            name = f'{split}{number}'
            pair = Pair.of(folder / 'drawn' / f'{name}.png', folder / 'drawn' / f'{name}_labels.png')
            write_image(pair.image_path, image)
            write_image(pair.labels_path, labels)
            pairs.append(pair)
        splits[split] = pairs
    drawn = SourceDataset('drawn', CAMVID, splits, lambda pair, _: read_labels(pair.labels_path), 'drawn', 'free')
    return write_dataset(folder / 'dataset', drawn)


_HIDE = """
import sys
from importlib.machinery import PathFinder

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition('.')[0] == 'matplotlib' else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
"""


def without_matplotlib(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process that does not find matplotlib, as where it is not installed."""
    return subprocess.run([sys.executable, '-c', f'{_HIDE}\n{code}'], capture_output=True, text=True)
