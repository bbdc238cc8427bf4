"""`enet replay`: how good and how fast the segmentation of recorded drives is."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enet_ros.cli.arguments import engine_spec
from enet_ros.cli.replay_arguments import add_arguments, check_usage
from enet_ros.cli.replay_live import replay_live
from enet_ros.engines.base import EngineSpec
from enet_ros.errors import EnetError
from enet_ros.exit_codes import ExitCode
from enet_ros.files import check_writable
from enet_ros.labels import LabelSet
from enet_ros.network.model_file import read_model
from enet_ros.replay.class_map import ClassMap, read_class_map
from enet_ros.replay.compare import Allowance, check_comparable, compare, parse_allow
from enet_ros.replay.criteria import Criteria, Limit, parse_fail_under, read_criteria
from enet_ros.replay.dataset_bag import seen_in_training
from enet_ros.replay.fingerprint import find_equal
from enet_ros.replay.job import BAG_FAILURES, Job, Outcome, create_segmenters, failure, replay_bag
from enet_ros.replay.output import PAGE_FILE, check_output, remove_output, write_output
from enet_ros.replay.parallel import replay_parallel
from enet_ros.replay.progress import ProgressBars
from enet_ros.replay.ray_cluster import replay_on_ray
from enet_ros.replay.recording import Selection, open_recording
from enet_ros.replay.report import build_report
from enet_ros.replay.report_file import REPORT_FILE, read_report, write_report
from enet_ros.replay.results import ReplayResult
from enet_ros.replay.summary import summarize
from enet_ros.replay.verdict import exit_code, judge
from enet_ros.segmenter import Segmenter

if TYPE_CHECKING:
    from enet_ros.cli.arguments import Commands


def add_command(commands: Commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'replay', help='measure accuracy and speed on recorded drives',
        description='Segment the images of ROS 2 bags and write report.json, for programs, and report.html, for people: '
                    'accuracy where the bag has ground truth, stability and confidence everywhere, latency.',
        epilog='The exit code is 3 if a gate was not passed, and else 4 if anything that was selected could not be read or '
               'compared; the report says what.',
    )
    add_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Replay the bags, write the report and print a summary."""
    check_usage(arguments)
    remove_output(arguments.report)
    model = read_model(arguments.model)
    gates = _Gates.of(arguments, model.info.labels.names)
    class_map = read_class_map(arguments.class_map) if arguments.class_map else None
    check_output(arguments.report)
    for path in (arguments.json, arguments.save_bag, arguments.video):
        if path:
            check_writable(path)
    spec, labels, segmenters = engine_spec(arguments, confidence=True), model.info.labels, None
    if arguments.mode == 'offline':
        # the processes of this machine share its cores
        threads = arguments.threads or max(1, len(os.sched_getaffinity(0)) // arguments.jobs)
        segmenters = create_segmenters(model, replace(spec, threads=threads), arguments.resize_mode)
        # the engine that was chosen here: every process and machine must use the same one
        spec = replace(segmenters[0].engine.spec, threads=threads)
    jobs = [_job(path, arguments, spec, class_map, gates.criteria) for path in arguments.bag]
    configuration = _configuration(arguments, class_map, gates.criteria)
    if gates.other:
        gates.check_comparable(jobs, arguments.mode, labels, configuration)
    if same := find_equal(arguments.bag):
        raise _equal(same.name)
    live = None
    if segmenters:
        outcomes = _replay_all(arguments, jobs, segmenters)
        configuration |= {'backend': spec.backend, 'precision': spec.precision, 'device': segmenters[0].engine.device,
                          'width': spec.width, 'height': spec.height}
    else:
        outcomes, live, engine = replay_live(arguments, jobs, model)
        configuration |= engine
    results = [outcome for outcome in outcomes if isinstance(outcome, ReplayResult)]
    failed = [(job.path.name, outcome) for job, outcome in zip(jobs, outcomes) if isinstance(outcome, EnetError)]
    if not results:
        for name, error in failed:
            print(f'enet: {error if name in str(error) else f"{name}: {error}"}', file=sys.stderr)
        return ExitCode.ERROR
    digests = [result.bag.sha256 for result in results]
    if same_bag := next((result.bag for result in results if digests.count(result.bag.sha256) > 1), None):
        raise _equal(same_bag.name)  # on machines of a cluster
    replayed = [job.path for job, outcome in zip(jobs, outcomes) if isinstance(outcome, ReplayResult)]
    configuration['trained_on'] = sorted({seen for path in replayed if (seen := seen_in_training(model.info, path))})
    report = build_report(results, failed, model, configuration, arguments.mode, live)
    judge(report, gates.limits, gates.criteria, compare(report, gates.other, gates.allowed) if gates.other else None)
    write_output(arguments.report, report, [(result.worst, result.typical) for result in results])
    if arguments.json:
        write_report(arguments.json, report)
    print(summarize(report, labels))
    if arguments.find_rate and live:
        print(f'highest rate with under 1 % drops: {live["highest_rate_hz"] or "none"} Hz')
    print(f'report: {arguments.report / REPORT_FILE}\npage:   {arguments.report / PAGE_FILE}')
    return exit_code(report)


def _equal(name: str) -> EnetError:
    return EnetError(f'two bags have the content of {name}: its frames would count twice; give it once')


@dataclass(frozen=True)
class _Gates:
    limits: Sequence[Limit]
    criteria: Criteria | None
    other: dict[str, Any] | None
    allowed: Sequence[Allowance]

    @staticmethod
    def of(arguments: argparse.Namespace, classes: Sequence[str]) -> _Gates:
        return _Gates(
            parse_fail_under(arguments.fail_under, classes) if arguments.fail_under is not None else (),
            read_criteria(arguments.criteria, classes) if arguments.criteria else None,
            read_report(arguments.compare) if arguments.compare else None,
            parse_allow(arguments.allow, classes) if arguments.allow is not None else (),
        )

    def check_comparable(
        self, jobs: Sequence[Job], mode: str, labels: LabelSet, configuration: Mapping[str, Any]
    ) -> None:
        """Refuse to compare before the bags are replayed. A bag that cannot be opened is reported later."""
        bags = []
        for job in jobs:
            try:
                bags.append(asdict(open_recording(job.path, job.selection, job.class_map, labels).info))
            except BAG_FAILURES:
                return
        assert self.other is not None
        known = {'mode': mode, 'model': {'classes': labels.names}, 'configuration': configuration, 'bags': bags}
        check_comparable(known, self.other)


def _job(
    path: Path, arguments: argparse.Namespace, spec: EngineSpec, class_map: ClassMap | None, criteria: Criteria | None
) -> Job:
    selection = Selection(
        arguments.image_topic, arguments.labels_topic, arguments.tolerance, arguments.start, arguments.duration,
        arguments.every, arguments.max_frames, criteria.ignored_in(path.name) if criteria else (),
    )
    return Job(path, selection, class_map, arguments.model, spec, arguments.resize_mode)


def _configuration(
    arguments: argparse.Namespace, class_map: ClassMap | None, criteria: Criteria | None
) -> dict[str, Any]:
    """Return what is replayed, and how; that of the engine is added once it is known."""
    keys = ('resize_mode', 'threads', 'image_topic', 'labels_topic', 'tolerance', 'start', 'duration', 'every', 'max_frames')
    return {
        **{key: getattr(arguments, key) for key in keys},
        'node': arguments.node, 'rate': arguments.rate or 1.0 if arguments.mode == 'live' else None,
        'class_map': class_map.as_json() if class_map else None,
        'ignore': [asdict(part) for part in criteria.ignored] if criteria else [],
    }


def _replay_all(arguments: argparse.Namespace, jobs: Sequence[Job], segmenters: Sequence[Segmenter]) -> list[Outcome]:
    with ProgressBars(min(arguments.jobs, len(jobs))) as bars:
        if arguments.ray:
            return replay_on_ray(jobs, arguments.ray, bars)
        if arguments.jobs > 1:
            return replay_parallel(jobs, arguments.jobs, bars)
        return [_replay(job, segmenters, bars, arguments.save_bag, arguments.video) for job in jobs]


def _replay(
    job: Job, segmenters: Sequence[Segmenter], bars: ProgressBars, save_bag: Path | None, video: Path | None
) -> Outcome:
    def show(done: int, total: int) -> None:
        bars.show(0, job.path.name, done, total)

    try:
        return replay_bag(job, segmenters, show, save_bag, video)
    except BAG_FAILURES as error:
        return failure(error)
