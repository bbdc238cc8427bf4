"""`enet export-graph`: write the ONNX graph of a model file beside it, for machines without PyTorch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from enet_ros.engines.onnx_graph import add_graph
from enet_ros.exit_codes import ExitCode

if TYPE_CHECKING:
    from enet_ros.cli.arguments import Commands


def add_command(commands: Commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'export-graph', help='write the ONNX graph of a model file beside it',
        description='Write the ONNX graph of a model file beside it, so that OpenVINO runs the model without PyTorch, and '
                    'record the digest of the graph in the model file. "enet train" does this, too. Weights do not change.',
    )
    parser.add_argument('model', type=Path, metavar='MODEL', help='model file (.safetensors)')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the graph and print its path."""
    print(f'wrote {add_graph(arguments.model)}; {arguments.model} records its digest')
    return ExitCode.SUCCESS
