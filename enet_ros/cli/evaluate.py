"""`enet evaluate`: measure a model on the ground truth of a prepared split."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from enet_ros.cli.arguments import add_json_argument, add_segmenter_arguments, make_segmenter
from enet_ros.datasets.prepared import read_dataset
from enet_ros.evaluation.cityscapes import check_exportable, write_label_ids
from enet_ros.evaluation.evaluate import check_labels, evaluate, trained_on
from enet_ros.evaluation.report import REPORT_FILES, results, write_report
from enet_ros.exit_codes import ExitCode
from enet_ros.files import check_writable, write_json

if TYPE_CHECKING:
    from enet_ros.cli.arguments import Commands


def add_command(commands: Commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'evaluate', help='measure a model on a prepared split',
        description='Print IoU and accuracy of each class, their means, and the global accuracy. Void ground truth does not '
                    'count. Pixels outside the centre that "--resize-mode crop" evaluates are misses.',
    )
    parser.add_argument('--data', type=Path, required=True, metavar='DIR', help='prepared dataset, see "enet convert"')
    parser.add_argument('--split', default='val', metavar='NAME', help='split to measure: train, val or test (default: val)')
    parser.add_argument('--report', type=Path, metavar='DIR',
                        help='write report.json, table.md and, if matplotlib is installed, confusion.png to this folder')
    parser.add_argument('--export', type=Path, metavar='DIR',
                        help='write the predictions to this folder in the format of the official Cityscapes scripts')
    add_segmenter_arguments(parser)
    add_json_argument(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, print the table and write the requested files."""
    report, export = arguments.report, arguments.export
    dataset = read_dataset(arguments.data)
    samples = dataset.samples(arguments.split)
    if export:
        check_exportable(dataset)
    segmenter = make_segmenter(arguments)
    check_labels(segmenter, dataset)
    # before the evaluation, which may take minutes
    reports = [report / name for name in REPORT_FILES] if report else []
    for path in (arguments.json, *reports, export and export / f'{samples[0].stem}.png'):
        if path:
            check_writable(path)
    evaluation = evaluate(segmenter, samples, partial(write_label_ids, export) if export else None)
    seen = trained_on(segmenter.model.info, dataset.name, (sample.key for sample in samples))
    engine = segmenter.engine.spec
    split = f'{arguments.split} (trained on)' if seen else arguments.split
    heading = (f'{segmenter.model.path.name} on {split} of {dataset.name}: {evaluation.images} images at '
               f'{engine.size[0]}x{engine.size[1]} ({arguments.resize_mode}), {engine.backend} {engine.precision}')
    print(f'{heading}\n{evaluation.table()}')
    details = {
        'model': str(segmenter.model.path), 'sha256': segmenter.model.sha256, 'data': str(arguments.data),
        'split': arguments.split, 'trained_on': seen, 'backend': engine.backend, 'precision': engine.precision,
        'width': engine.size[0], 'height': engine.size[1],
        'resize_mode': arguments.resize_mode,
    }
    if arguments.json:
        write_json(arguments.json, results(evaluation, details))
    if report:
        write_report(report, heading, evaluation, details)
    if export:
        print('for the official IoU and iIoU of val, see docs/evaluation.md: CITYSCAPES_DATASET=/path/to/cityscapes '
              f'CITYSCAPES_RESULTS={quote(str(export.resolve()))} csEvalPixelLevelSemanticLabeling')
    return ExitCode.SUCCESS
