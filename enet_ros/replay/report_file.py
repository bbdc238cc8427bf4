"""Write and read report.json. report_schema.json describes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema

from enet_ros.errors import EnetError, one_line, printable
from enet_ros.files import read_bytes, write_bytes
from enet_ros.parsing import MAX_JSON_BYTES, parse_json
from enet_ros.replay.report import FORMAT

REPORT_FILE = 'report.json'
_REMEDY = 'use the report.json of an "enet replay"'


def report_schema() -> dict[str, Any]:
    """Return the JSON Schema of a report."""
    return json.loads(Path(__file__).with_name('report_schema.json').read_text(encoding='utf-8'))


def check_report(report: object) -> None:
    """Check a report against the schema.

    Raises:
        EnetError: it does not fit. The text names the place.

    """
    # the schema means the same in draft 7, which is the newest that Ubuntu 22.04's jsonschema knows
    validator = getattr(jsonschema, 'Draft202012Validator', jsonschema.Draft7Validator)
    if error := jsonschema.exceptions.best_match(validator(report_schema()).iter_errors(report)):
        place = '.'.join(map(str, error.absolute_path))
        raise EnetError(f'{place}: {error.message}' if place else error.message)


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write a report, completely or not at all.

    Raises:
        EnetError: the file cannot be written.

    """
    write_bytes(path, (json.dumps(report, indent=1, allow_nan=False) + '\n').encode())


def read_report(path: Path) -> dict[str, Any]:
    """Read and check a report: a file, or the report.json of a folder. Of the columns of frames, only the start is checked.

    Raises:
        EnetError: it cannot be read, is not a report, or has another format.

    """
    path = path / REPORT_FILE if path.is_dir() else path
    try:
        report = parse_json(read_bytes(path, MAX_JSON_BYTES), finite=True)
    except FileNotFoundError as error:
        raise EnetError(f'there is no report {path}: check the path') from error
    except OSError as error:
        raise EnetError(f'cannot read report {path}: {one_line(error)}') from error
    except ValueError as error:
        raise EnetError(f'{path} is not JSON ({one_line(error)}): {_REMEDY}') from error
    if not isinstance(report, dict) or 'format' not in report or 'verdict' not in report:
        raise EnetError(f'{path} is not the report of a replay: {_REMEDY}')
    if (found := report['format']) != FORMAT:
        raise EnetError(f'{path} has report format {printable(f"{found!s:.40}")}, this package reads {FORMAT}: '
                        'replay with the same version of enet_ros again')
    try:
        check_report(_shortened(report))
    except EnetError as error:
        raise EnetError(f'{path} is not a valid report ({one_line(error)}): {_REMEDY}') from error
    return report


def _shortened(report: dict[str, Any], entries: int = 100) -> dict[str, Any]:
    """Return a report with short columns. All of a long drive would take seconds to check, and a comparison reads none."""
    columns = report.get('frames')
    if not isinstance(columns, dict):
        return report
    return report | {'frames': {name: column[:entries] if isinstance(column, list) else column
                                for name, column in columns.items()}}
