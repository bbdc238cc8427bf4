"""Print the time of each layer of the CamVid model's TensorRT engine as Markdown. The engine is built if necessary."""

from __future__ import annotations

import argparse

from enet_ros.cli.arguments import size
from enet_ros.engines.base import EngineSpec
from enet_ros.engines.cache import load_engine
from enet_ros.engines.create import create_engine
from enet_ros.errors import EnetError
from enet_ros.network.model_file import read_model
from enet_ros.resources import default_model


def main() -> None:
    """Read the arguments, profile and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--size', type=size, default=(640, 360), metavar='WxH', help='network size (default: 640x360)')
    parser.add_argument('--precision', choices=('fp16', 'fp32'), default='fp16', help='data type (default: fp16)')
    arguments = parser.parse_args()
    model = read_model(default_model())
    try:
        spec = create_engine(model, EngineSpec('tensorrt', arguments.precision, *arguments.size)).spec
        # now it can be imported
        from enet_ros.engines.tensorrt.engine import engine_key
        from enet_ros.engines.tensorrt.gpu import find_gpu

        gpu = find_gpu()
        engine = load_engine(engine_key(model, spec, gpu))
        if engine is None:
            parser.error('the engine is not in the cache')
        times = gpu.profile(engine, spec)
    except EnetError as error:
        parser.error(str(error))
    print(f'{len(times)} layers, {sum(times.values()):.3f} ms\n\n| layer | ms |\n|---|---:|')
    for layer, milliseconds in sorted(times.items(), key=lambda item: -item[1]):
        print(f'| {layer.replace("|", "/")} | {milliseconds:.4f} |')


if __name__ == '__main__':
    main()
