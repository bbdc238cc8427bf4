"""The `enet` command: read the arguments, run a subcommand, report an error as one line and an exit code."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from enet_ros.cli import bag, benchmark, build_engine, convert, evaluate, export_graph, info, replay, segment, train
from enet_ros.errors import EnetError, TrainingStopped, UsageError, one_line, printable
from enet_ros.exit_codes import ExitCode
from enet_ros.version import __version__

_EXIT_CODES = (
    'Exit codes: 0 success; 1 error; 2 bad usage; 3 a required result was not reached; 4 the input was incomplete, and '
    'everything readable was processed; 130 interrupted.'
)


class _Parser(argparse.ArgumentParser):
    """An argument parser that reports an error in one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with the code for bad usage."""
        self.exit(ExitCode.USAGE, f'{self.prog}: {message}; see "{self.prog} --help"\n')


class _Formatter(logging.Formatter):
    """Formats a log message as one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return printable(super().format(record))


@contextmanager
def _log_to_stderr() -> Iterator[None]:
    """Print log messages of the package, such as the progress of a long build, to stderr; stdout has the results."""
    logger, handler = logging.getLogger('enet_ros'), logging.StreamHandler()
    level = logger.level
    handler.setFormatter(_Formatter('enet: %(message)s'))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM act as SIGINT, so that temporary files are removed."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `enet` with `arguments` (default: those of the process) and return its exit code.

    Raises:
        SystemExit: bad usage, --help or --version.

    """
    parser = _Parser(prog='enet', description='Semantic segmentation with ENet.', epilog=_EXIT_CODES)
    parser.add_argument('--version', action='version', version=f'enet_ros {__version__}')
    commands = parser.add_subparsers(title='commands', metavar='COMMAND', required=True)
    for module in (segment, convert, train, evaluate, bag, replay, benchmark, build_engine, export_graph, info):
        module.add_command(commands)
    parsed = parser.parse_args(arguments)
    try:
        with _log_to_stderr(), _sigterm_interrupts():
            code: int = parsed.run(parsed)
            if sys.stdout:  # None if the shell closed it
                sys.stdout.flush()  # errors at interpreter exit could not be handled
        return code
    except TrainingStopped as error:
        return _fail(str(error), ExitCode.INTERRUPTED)
    except UsageError as error:
        return _fail(str(error), ExitCode.USAGE)
    except EnetError as error:
        return _fail(str(error))
    except BrokenPipeError:  # the reader of the output, such as head, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes again at exit
        return ExitCode.SUCCESS
    except OSError as error:  # for example a full disk or a folder without permission
        return _fail(f'{error.filename}: {one_line(error)}' if error.filename else one_line(error))
    except KeyboardInterrupt:
        return _fail('interrupted', ExitCode.INTERRUPTED)


def _fail(reason: str, code: ExitCode = ExitCode.ERROR) -> int:
    print(f'enet: {printable(reason)}', file=sys.stderr)
    return code


if __name__ == '__main__':
    sys.exit(main())
