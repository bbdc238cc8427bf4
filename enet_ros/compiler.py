"""What torch.compile needs beside PyTorch."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec

from enet_ros.errors import EnetError


def check_compiler(on_gpu: bool) -> None:
    """Make sure that torch.compile can compile for a GPU or for the CPU.

    Raises:
        EnetError: triton, which GPUs want, or a compiler is missing.

    """
    if on_gpu and find_spec('triton') is None:
        raise EnetError('torch.compile needs triton on a GPU: pip install triton')
    variable, compilers = ('CC', ('gcc', 'clang')) if on_gpu else ('CXX', ('g++', 'clang++'))
    if not any(map(shutil.which, filter(None, (os.environ.get(variable), *compilers)))):
        raise EnetError(f'torch.compile needs a compiler: install {compilers[0]}')
