"""What a run needs from the machine: a precision it computes in, processes that torchrun starts, a compiler."""

from __future__ import annotations

import os
from typing import Literal, TypeAlias

import torch

from enet_ros.errors import EnetError, TrainingError
from enet_ros.hardware import check_compiler, cpu_has_bf16

Precision: TypeAlias = Literal['32-true', 'bf16-mixed', '16-mixed']
"""Precisions of Lightning; the weights stay float32."""


def has_bf16() -> bool:
    """Return whether the device that trains has bf16 arithmetic. Emulated bf16 is slower than float32."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return cpu_has_bf16()


def choose_precision(precision: Literal['auto'] | Precision, bf16: bool) -> Precision:
    """Return `precision`, or for auto bf16-mixed where there is bf16 arithmetic, else 32-true."""
    if precision != 'auto':
        return precision
    return 'bf16-mixed' if bf16 else '32-true'


def process_counts() -> tuple[int, int]:
    """Return how many processes torchrun started, on all machines and on this one."""
    return int(os.environ.get('WORLD_SIZE', '1')), int(os.environ.get('LOCAL_WORLD_SIZE', '1'))


def is_main_process() -> bool:
    """Return whether this process writes the files: the only one, or the first that torchrun started."""
    return os.environ.get('RANK', '0') == '0'


def check_machine(batch_size: int, samples: int, gpus: int, precision: Precision, compiled: bool) -> None:
    """Check that all processes have work, that each has a GPU if there are `gpus`, and that the other two are possible.

    Raises:
        TrainingError: one of these does not hold.

    """
    processes, here = process_counts()
    if min(batch_size, samples) < processes:
        raise TrainingError(f'{processes} processes have no work with batch_size {batch_size} and {samples} samples: '
                            f'start at most {min(batch_size, samples)}')
    if 0 < gpus < here:
        raise TrainingError(f'{here} processes for {gpus} GPUs: use --nproc_per_node {gpus}')
    if precision == '16-mixed' and not gpus:
        raise TrainingError('precision 16-mixed needs a GPU: use auto')  # Lightning would use bf16 instead
    if compiled:
        try:
            check_compiler(gpus > 0)
        except EnetError as error:
            raise TrainingError(f'{error}, or train without --compile') from error
