"""What the processor can do."""

from __future__ import annotations

from pathlib import Path


def cpu_has_bf16() -> bool:
    """Return whether an x86 processor has instructions for bf16; without them it is emulated, slower than float32."""
    try:
        flags = Path('/proc/cpuinfo').read_text(encoding='utf-8').split()
    except OSError:
        return False
    return not {'avx512_bf16', 'amx_bf16'}.isdisjoint(flags)
