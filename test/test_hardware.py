from __future__ import annotations

import platform
from pathlib import Path

import pytest

from enet_ros.errors import EnetError
from enet_ros.hardware import check_compiler, cpu_flags, cpu_has_bf16, cpu_info, cpu_name, cpu_saturates_int8

X86 = '''processor\t: 0
model name\t: AMD EPYC 9R14
flags\t\t: fpu sse2 ssse3 sse4_1 avx2 avx512f {more}
bugs\t\t: spectre_v1

processor\t: 1
model name\t: another
flags\t\t: fpu
'''
ARM = '''processor\t: 0
BogoMIPS\t: 62.50
Features\t: fp asimd bf16 i8mm
CPU implementer\t: 0x41
'''


@pytest.fixture
def cpuinfo(tmp_path: Path) -> Path:
    return tmp_path / 'cpuinfo'


def test_name_and_flags_of_an_x86_cpu_are_those_of_its_first_processor(cpuinfo: Path) -> None:
    cpuinfo.write_text(X86.format(more=''))
    assert cpu_name(cpuinfo) == 'AMD EPYC 9R14'
    assert cpu_flags(cpuinfo) == {'fpu', 'sse2', 'ssse3', 'sse4_1', 'avx2', 'avx512f'}
    assert cpu_info(cpuinfo)['bugs'] == 'spectre_v1'


def test_an_arm_cpu_has_features_and_is_named_by_its_architecture(cpuinfo: Path) -> None:
    cpuinfo.write_text(ARM)
    assert cpu_name(cpuinfo) == platform.machine()
    assert cpu_flags(cpuinfo) == {'fp', 'asimd', 'bf16', 'i8mm'}


@pytest.mark.parametrize(('more', 'has'), [('', False), ('avx512_vnni', False), ('avx512_bf16', True), ('amx_bf16', True)])
def test_bf16_needs_an_instruction_that_computes_in_it(more: str, has: bool, cpuinfo: Path) -> None:
    cpuinfo.write_text(X86.format(more=more))
    assert cpu_has_bf16(cpuinfo) is has


@pytest.mark.parametrize(('cpu', 'saturates'), [
    (X86.format(more=''), True), (X86.format(more='avx512_vnni'), False), (X86.format(more='avx_vnni'), False),
    (X86.format(more='amx_int8'), False), (ARM, False), (X86.format(more='').replace(' avx2 avx512f', ''), True),
], ids=['AVX2', 'AVX-512 VNNI', 'AVX VNNI', 'AMX', 'Arm', 'SSE4'])
def test_only_x86_cpus_without_vnni_saturate_sums_of_int8(cpu: str, saturates: bool, cpuinfo: Path) -> None:
    cpuinfo.write_text(cpu)
    assert cpu_saturates_int8(cpuinfo) is saturates


def test_a_system_without_cpuinfo_has_no_flags(cpuinfo: Path) -> None:
    assert cpu_info(cpuinfo) == {}
    assert cpu_name(cpuinfo) == platform.machine()
    assert cpu_flags(cpuinfo) == frozenset() and not cpu_has_bf16(cpuinfo)


def test_this_machine_has_flags() -> None:
    assert bool(cpu_flags()) == Path('/proc/cpuinfo').is_file()


def test_a_compiler_is_found_on_the_path_or_by_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.delenv('CXX', raising=False)
    with pytest.raises(EnetError, match=r'install g\+\+'):
        check_compiler(on_gpu=False)
    compiler = tmp_path / 'clang++-18'
    compiler.touch(0o755)
    monkeypatch.setenv('CXX', compiler.name)
    check_compiler(on_gpu=False)
