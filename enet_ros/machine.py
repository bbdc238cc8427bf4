"""Describe the machine that figures were measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from enet_ros.hardware import cpu_flags, cpu_name, has_nvidia_gpu
from enet_ros.version import __version__

_PACKAGES = ('torch', 'tensorrt', 'torch2trt', 'openvino', 'nncf', 'numpy')
_FLAGS = ('avx2', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'amx_bf16', 'amx_int8', 'asimd', 'bf16', 'i8mm')
"""The CPU instructions that decide which precision is fast."""


def describe_machine() -> dict[str, str]:
    """Return CPU, GPU, system and package versions, each as one line of text."""
    flags = cpu_flags()
    instructions = ', '.join(flag for flag in _FLAGS if flag in flags)
    machine = {'CPU': f'{cpu_name()} ({instructions}), {len(os.sched_getaffinity(0))} cores for this process'}
    if (tegra := Path('/etc/nv_tegra_release')).is_file():
        machine['Jetson'] = tegra.read_text(encoding='utf-8').partition('\n')[0].strip('# ')
    if has_nvidia_gpu():
        import torch  # optional, and large: only where it is in use anyway

        major, minor = torch.cuda.get_device_capability()
        machine['GPU'] = f'{torch.cuda.get_device_name()}, compute capability {major}.{minor}, CUDA {torch.version.cuda}'
    versions = [f'enet_ros {__version__}']
    for package in _PACKAGES:
        try:
            versions.append(f'{package} {version(package)}')
        except PackageNotFoundError:
            continue
    return machine | {'system': f'{platform.system()} {platform.release()}, Python {platform.python_version()}',
                      'packages': ', '.join(versions)}
