from __future__ import annotations

import pytest

from enet_ros.network.architecture import ARCHITECTURES, Architecture, describe_sizes, is_valid_size
from enet_ros.network.registry import NETWORKS, make_network


def test_every_architecture_has_a_network() -> None:
    assert set(NETWORKS) == set(ARCHITECTURES.values())


@pytest.mark.parametrize('name', ARCHITECTURES)
def test_every_network_is_created_from_its_architecture(name: str) -> None:
    architecture: Architecture = ARCHITECTURES[name](classes=3)
    network = make_network(architecture)
    assert (architecture.network, type(network).__name__) == (name, architecture.title)
    assert network.get_submodule(network.classifier_name).out_channels == 3


@pytest.mark.parametrize(('size', 'smallest', 'valid'), [
    ((640, 360), 8, True), ((8, 8), 8, True), ((0, 8), 8, False),
    ((644, 360), 8, False), ((96, 24), 32, False), ((8192, 8), 8, True),
    ((8, 8200), 8, False), ((65536, 65536), 8, False),
])
def test_sizes_are_multiples_of_8_and_not_below_the_smallest(size: tuple[int, int], smallest: int, valid: bool) -> None:
    assert is_valid_size(size, smallest) is valid


@pytest.mark.parametrize(('near', 'smallest', 'example'), [
    ((644, 361), 8, '640x360'), ((3, 200), 32, '32x200'), ((65536, 10**30), 8, '8192x8192'),
])
def test_the_size_rule_names_the_nearest_valid_size(near: tuple[int, int], smallest: int, example: str) -> None:
    assert f'at least {smallest}, for example {example}' in describe_sizes(near, smallest)
