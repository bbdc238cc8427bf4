"""The folder of a report: report.json and report.html."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from enet_ros.errors import EnetError, one_line
from enet_ros.files import check_writable, replacing
from enet_ros.replay.page import check_page_packages, render_page
from enet_ros.replay.page_pictures import BagPictures
from enet_ros.replay.report_file import REPORT_FILE, write_report

PAGE_FILE = 'report.html'
GENERATOR = b'<meta name="generator" content="enet replay">'
"""What the head of every page has."""
_HEAD = 4096


def check_output(folder: Path) -> None:
    """Check that `write_output` can write to `folder`. Call it before the replay.

    Raises:
        EnetError: a file of another program is in the way, the folder cannot be written, or a package is missing.

    """
    check_page_packages()
    if folder.exists() and not folder.is_dir():
        raise EnetError(f'--report {folder} is a file: give a folder')
    for path, is_ours in _files(folder):
        if is_ours is False:
            raise EnetError(f'{path} was not written by "enet replay": remove it or choose another folder')
        check_writable(path)


def remove_output(folder: Path) -> None:
    """Remove the report of an earlier run, so that a run that fails leaves none.

    Raises:
        EnetError: a file cannot be read or removed.

    """
    for path, is_ours in _files(folder):
        if is_ours:
            try:
                path.unlink()
            except OSError as error:
                raise EnetError(f'cannot remove {path}: {one_line(error)}; choose another folder') from error


def _files(folder: Path) -> Iterator[tuple[Path, bool | None]]:
    """Yield both files with whether they were written by `write_output`; None if they do not exist."""
    for name, is_ours in ((REPORT_FILE, _is_report), (PAGE_FILE, _is_page)):
        path = folder / name
        try:
            yield path, is_ours(path) if path.is_file() else None
        except OSError as error:
            raise EnetError(f'cannot read {path}: {one_line(error)}; choose another folder') from error


def write_output(folder: Path, report: dict[str, Any], pictures: Sequence[BagPictures]) -> None:
    """Write both files. `pictures` are those of `render_page`. If one cannot be written, neither is replaced.

    Raises:
        EnetError: a file cannot be written.

    """
    page = render_page(report, pictures)
    with replacing(folder / PAGE_FILE) as written:
        written.write_text(page, 'utf-8', 'replace')
        write_report(folder / REPORT_FILE, report)


def _is_report(path: Path) -> bool:
    """Return whether a file is a report, of any format; `enet evaluate --report` and others use the same name."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {'format', 'enet_ros', 'verdict'} <= content.keys()


def _is_page(path: Path) -> bool:
    with path.open('rb') as file:
        return GENERATOR in file.read(_HEAD)
