"""Properties of this machine: CPU instructions, an NVIDIA GPU, a compiler."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import shutil
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from enet_ros.errors import EnetError, one_line

log = logging.getLogger(__name__)

CPU_INFO = Path('/proc/cpuinfo')
"""Where Linux describes the CPU, one block for each processor."""


@cache
def cpu_info(path: Path = CPU_INFO) -> dict[str, str]:
    """Return the fields of the first processor in `path`, names in lower case; empty where the file cannot be read."""
    try:
        first = path.read_text(encoding='utf-8').partition('\n\n')[0]
    except OSError:
        return {}
    fields = (line.partition(':') for line in first.splitlines())
    return {name.strip().lower(): value.strip() for name, _, value in fields}


def cpu_name(path: Path = CPU_INFO) -> str:
    """Return the model name of the CPU, or its architecture, such as aarch64, where the system does not give a name."""
    return cpu_info(path).get('model name', platform.machine())


def cpu_flags(path: Path = CPU_INFO) -> frozenset[str]:
    """Return the instruction sets of the CPU under the names that Linux uses, such as avx2; empty where unknown."""
    fields = cpu_info(path)
    return frozenset(fields.get('flags', fields.get('features', '')).split())  # Arm calls them features


def cpu_has_bf16(path: Path = CPU_INFO) -> bool:
    """Return whether an x86 CPU computes in bf16. Without these instructions bf16 is emulated and slower than float32."""
    return not {'avx512_bf16', 'amx_bf16'}.isdisjoint(cpu_flags(path))


def cpu_saturates_int8(path: Path = CPU_INFO) -> bool:
    """Return whether an x86 CPU adds products of 8-bit integers in 16 bits, which overflow: it lacks VNNI and AMX."""
    flags = cpu_flags(path)
    # ssse3: the first set with the instruction (pmaddubsw) that VNNI replaces; CPUs without AVX2 have it, too
    return 'ssse3' in flags and {'avx512_vnni', 'avx_vnni', 'amx_int8'}.isdisjoint(flags)


@cache  # logs its warning once
def has_nvidia_gpu() -> bool:
    """Return whether PyTorch is installed and can use an NVIDIA GPU. Log the reason if there is a GPU it cannot use."""
    try:  # the driver first: importing PyTorch takes seconds and hundreds of megabytes
        ctypes.CDLL('libcuda.so.1')
    except OSError:
        return False
    try:
        import torch

        if torch.cuda.is_available():
            return True
        reason = 'this PyTorch is built without CUDA' if torch.version.cuda is None else 'PyTorch finds no usable GPU'
    except (ImportError, OSError, ValueError, RuntimeError) as error:  # a CUDA library is missing or has another version
        if isinstance(error, ModuleNotFoundError) and error.name == 'torch':
            reason = 'PyTorch is not installed'
        else:
            reason = f'PyTorch cannot be imported ({one_line(error)})'
    log.warning('the NVIDIA GPU is not used: %s; install a PyTorch with CUDA for this machine', reason)
    return False


def check_compiler(on_gpu: bool) -> None:
    """Check that torch.compile can compile for a GPU or for the CPU.

    Raises:
        EnetError: triton (for a GPU) or a compiler is missing.

    """
    if on_gpu and find_spec('triton') is None:
        raise EnetError('torch.compile needs triton on a GPU: pip install triton')
    variable, compilers = ('CC', ('gcc', 'clang')) if on_gpu else ('CXX', ('g++', 'clang++'))
    if not any(map(shutil.which, filter(None, (os.environ.get(variable), *compilers)))):
        raise EnetError(f'torch.compile needs a compiler: install {compilers[0]}')
