"""Run the segmentation node as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from enet_ros.errors import EnetError

_MODULE = ('-m', 'enet_ros.ros.segment_node')
_END_WITH_PARENT = ('setpriv', '--pdeathsig', 'TERM')
"""Runs a command that gets SIGTERM when the thread that started it ends, even if that is killed: setpriv(1), util-linux."""
_TICKS = os.sysconf('SC_CLK_TCK')
_PATIENCE = 20.0
"""Seconds that the node has to end before it is killed."""


class NodeProcess:
    """A node that runs as a process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """Represent `process`."""
        self._process = process

    @property
    def pid(self) -> int:
        """Return the id of the process."""
        return self._process.pid

    def cpu_seconds(self) -> float:
        """Return the CPU time that it has used. Source: proc(5)."""
        fields = Path(f'/proc/{self.pid}/stat').read_text().rpartition(')')[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory_mb(self) -> dict[str, float]:
        """Return its resident memory in MiB, `now` and at its `peak`. Source: proc(5)."""
        fields = dict(line.split(':', 1) for line in Path(f'/proc/{self.pid}/status').read_text().splitlines())
        return {'now': int(fields['VmRSS'].split()[0]) / 1024, 'peak': int(fields['VmHWM'].split()[0]) / 1024}

    def check(self) -> None:
        """Check that the node still runs.

        Raises:
            EnetError: it has stopped.

        """
        if (code := self._process.poll()) is not None:
            raise EnetError(f'the node stopped with exit code {code}: see its messages above')


@contextmanager
def running_node(
    parameters: Mapping[str, object], *, remappings: Mapping[str, str] | None = None, parameter_files: Sequence[Path] = (),
    log_folder: Path, environment: Mapping[str, str] | None = None, program: Sequence[str] = _MODULE,
) -> Iterator[NodeProcess]:
    """Run the segmentation node for the duration of the block, then end it. Its messages go to the standard streams.

    Call it on the main thread: if this program is killed, the node ends, too.

    Args:
        parameters: Parameters by name; they override those of `parameter_files`. Values are text, numbers, truth values or
            paths.
        remappings: Names of the node, such as image, and the names to use instead; also __ns and __node.
        parameter_files: ROS parameter files.
        log_folder: Folder for the log files of ROS.
        environment: Variables to set beside those of this process.
        program: Arguments of Python that run the node.

    """
    command = [*_END_WITH_PARENT, sys.executable, *program, '--ros-args']
    for file in parameter_files:
        command += ['--params-file', str(file)]
    for name, value in parameters.items():
        # JSON is YAML that keeps the types: the text "7" does not become a number
        command += ['-p', f'{name}:={json.dumps(value, default=str, ensure_ascii=False)}']
    for name, replacement in (remappings or {}).items():
        command += ['-r', f'{name}:={replacement}']
    process = subprocess.Popen(command, env={**os.environ, 'ROS_LOG_DIR': str(log_folder), **(environment or {})})
    try:
        yield NodeProcess(process)
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
