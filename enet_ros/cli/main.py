"""The `enet` command: reads arguments, runs a subcommand, and turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from enet_ros.cli import benchmark, build_engine, convert, evaluate, info, segment, train
from enet_ros.errors import EnetError
from enet_ros.version import __version__


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, like all others of this command."""

    def error(self, message: str) -> NoReturn:
        """Exit with 2, the code for bad usage."""
        self.exit(2, f'{self.prog}: {message}; see "{self.prog} --help"\n')


@contextmanager
def _log_on_stderr() -> Iterator[None]:
    """Show what the package logs, such as how far a long build is, beside the results on stdout."""
    logger, handler = logging.getLogger('enet_ros'), logging.StreamHandler()
    level = logger.level
    handler.setFormatter(logging.Formatter('enet: %(message)s'))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `enet` with `arguments` (default: the process's) and return 0, or 1 for an error; bad usage exits with 2."""
    parser = _Parser(prog='enet', description='Semantic segmentation with ENet.')
    parser.add_argument('--version', action='version', version=f'enet_ros {__version__}')
    commands = parser.add_subparsers(title='commands', metavar='COMMAND', required=True)
    for module in (segment, convert, train, evaluate, benchmark, build_engine, info):
        module.add_command(commands)
    parsed = parser.parse_args(arguments)
    try:
        with _log_on_stderr():
            code: int = parsed.run(parsed)
            if sys.stdout:  # there is none where the shell closed it
                sys.stdout.flush()  # here, where what goes wrong with it is known
    except EnetError as error:
        print(f'enet: {error}', file=sys.stderr)
        return 1
    except BrokenPipeError:  # what reads the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
        return 0
    except OSError as error:  # a disk that is full, a folder that may not be read
        print(f'enet: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('enet: interrupted', file=sys.stderr)
        return 130
    return code


if __name__ == '__main__':
    sys.exit(main())
