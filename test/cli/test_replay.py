from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command import ENET, Done, enet, enet_process, refused
from recordings import cut, recorded_at, write_bag, write_mcap
from resource_limits import file_size_limit
from truth_bags import IMAGE, LABEL_INFO, frame, image, label_info, write_entries

from enet_ros.datasets.prepared import Dataset
from enet_ros.images.sources import open_frames
from enet_ros.labels import CAMVID
from enet_ros.replay.report_file import check_report

Report = dict[str, object]


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return write_mcap(tmp_path / 'drive.mcap', 8)


def replay(*arguments: object, code: int = 0) -> Done:
    return enet('replay', *arguments, '--backend', 'openvino', '--size', '96x64', '--threads', 1, code=code)


def read(folder: Path) -> dict[str, object]:
    report = json.loads((folder / 'report.json').read_text())
    check_report(report)
    return report


def stable(report: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in report.items() if key != 'timing'}


def test_a_bag_gives_a_report_a_page_and_a_summary(bag: Path, tmp_path: Path) -> None:
    done = replay(bag, '--report', tmp_path / 'out', '--json', tmp_path / 'copy.json')
    report = read(tmp_path / 'out')
    assert report['frames_in'] == report['frames_out'] == 8 and report['complete'] is True
    assert json.loads((tmp_path / 'copy.json').read_text()) == report
    assert 'drive.mcap: 8 of 8 frames at 96x64' in done.stdout
    assert f'frames per second {report["timing"]["fps"]:>15.1f}' in done.stdout
    for name in ('report.json', 'report.html'):
        assert str(tmp_path / 'out' / name) in done.stdout
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['report.html', 'report.json']


def test_the_next_run_replaces_the_report(bag: Path, tmp_path: Path) -> None:
    replay(bag, '--report', tmp_path / 'out')
    first = read(tmp_path / 'out')
    replay(bag, '--report', tmp_path / 'out')
    assert stable(read(tmp_path / 'out')) == stable(first)


def test_a_run_that_fails_leaves_no_report_of_an_earlier_one(bag: Path, tmp_path: Path) -> None:
    replay(bag, '--report', tmp_path / 'out')
    replay(tmp_path / 'missing.mcap', '--report', tmp_path / 'out', code=1)
    assert not list((tmp_path / 'out').iterdir())


def test_a_gate_that_is_given_twice_is_refused(bag: Path, tmp_path: Path) -> None:
    for option, values in {'--fail-under': ('frames=99', 'frames=1'), '--criteria': ('a.yaml', 'b.yaml')}.items():
        done = replay(bag, '--report', tmp_path / 'out', option, values[0], option, values[1], code=2)
        assert f'{option} is given twice' in done.stderr


def test_the_report_to_compare_with_is_not_the_one_to_write(bag: Path, tmp_path: Path) -> None:
    replay(bag, '--report', tmp_path / 'out')
    for former in (tmp_path / 'out', tmp_path / 'out' / 'report.json'):
        done = replay(bag, '--report', tmp_path / 'out', '--compare', former, code=2)
        assert 'is the report that this run replaces' in done.stderr
    assert read(tmp_path / 'out')['frames_out'] == 8


def test_two_bags_with_the_same_content_are_refused_before_the_replay(
    bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('enet_ros.cli.replay.replay_bag', None)
    (tmp_path / 'again').mkdir()
    copy = shutil.copy(bag, tmp_path / 'again' / 'drive.mcap')
    done = replay(bag, copy, '--report', tmp_path / 'out', code=1)
    assert 'two bags have the content of drive.mcap: its frames would count twice' in done.stderr


def test_a_report_folder_that_is_a_file_or_has_no_name_is_refused(bag: Path, tmp_path: Path) -> None:
    assert replay(bag, '--report', bag, code=1).stderr.splitlines()[-1] == f'enet: --report {bag} is a file: give a folder'
    assert 'the name of the folder is empty' in replay(bag, '--report', '', code=2).stderr


@pytest.mark.parametrize(('name', 'content'), [
    ('report.json', '{"images": 3, "mean_iou": 0.5}'), ('report.json', 'notes'), ('report.html', '<html></html>'),
], ids=['report of enet evaluate', 'not JSON', 'another page'])
def test_files_of_others_are_not_replaced(bag: Path, tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / 'out' / name
    path.parent.mkdir()
    path.write_text(content)
    assert refused('replay', bag, '--report', path.parent) == (
        f'enet: {path} was not written by "enet replay": remove it or choose another folder')
    assert path.read_text() == content and len(list(path.parent.iterdir())) == 1


def test_jobs_do_not_change_the_report(bag: Path, tmp_path: Path) -> None:
    other = write_bag(tmp_path / 'folder', {'/image': 'CompressedImage'}, 6)
    replay(bag, other, '--report', tmp_path / 'one')
    done = replay(bag, other, '--report', tmp_path / 'two', '--jobs', 2)
    assert stable(read(tmp_path / 'one')) == stable(read(tmp_path / 'two'))
    assert 'drive.mcap' in done.stderr and 'folder' in done.stderr  # a progress bar for each


@pytest.mark.parametrize('jobs', [1, 2])
def test_bags_that_fail_are_named_and_the_others_finish(bag: Path, tmp_path: Path, jobs: int) -> None:
    whole = write_mcap(tmp_path / 'cut.mcap', 12)
    cut(whole, whole.stat().st_size // 2)
    (tmp_path / 'empty.mcap').touch()
    done = replay(bag, whole, tmp_path / 'empty.mcap', '--report', tmp_path / 'out', '--jobs', jobs, code=4)
    report = read(tmp_path / 'out')
    assert report['complete'] is False
    assert [entry['name'] for entry in report['bags']] == ['drive.mcap', 'cut.mcap']
    assert [entry['name'] for entry in report['failed_bags']] == ['empty.mcap']
    assert 'not replayed: empty.mcap: ' in done.stdout and 'incomplete: cut.mcap: ' in done.stdout


def test_without_any_bag_there_is_no_report(tmp_path: Path) -> None:
    assert 'missing.mcap' in refused('replay', tmp_path / 'missing.mcap', '--report', tmp_path / 'out')
    assert list((tmp_path / 'out').iterdir()) == []


@pytest.mark.parametrize(('limits', 'code', 'text'), [
    ('confidence=0.01', 0, 'verdict: passed'), ('confidence=1,frames=8', 3, 'verdict: FAILED'),
    ('mean_iou=0.5', 3, 'mean_iou is missing'),
], ids=['passed', 'failed', 'no ground truth'])
def test_fail_under_decides_the_exit_code(bag: Path, tmp_path: Path, limits: str, code: int, text: str) -> None:
    done = replay(bag, '--report', tmp_path / 'out', '--fail-under', limits, code=code)
    assert text in done.stdout
    assert read(tmp_path / 'out')['verdict']['passed'] is (code == 0)


def test_a_failed_gate_counts_more_than_incomplete_input(tmp_path: Path) -> None:
    whole = write_mcap(tmp_path / 'cut.mcap', 12)
    cut(whole, whole.stat().st_size // 2)
    replay(whole, '--report', tmp_path / 'out', '--fail-under', 'confidence=1', code=3)
    assert read(tmp_path / 'out')['complete'] is False


def test_criteria_are_kept_in_the_report(bag: Path, tmp_path: Path) -> None:
    criteria = tmp_path / 'criteria.yaml'
    criteria.write_text('frames:\n- {metric: confidence, min: 0.01, share: 0.9}\n')
    replay(bag, '--report', tmp_path / 'out', '--criteria', criteria)
    report = read(tmp_path / 'out')
    assert report['criteria']['file'] == {'frames': [{'metric': 'confidence', 'min': 0.01, 'share': 0.9}]}
    assert report['verdict']['passed'] is True


def test_compare_passes_with_the_same_bag_and_refuses_another_one(bag: Path, tmp_path: Path) -> None:
    replay(bag, '--report', tmp_path / 'old')
    old = tmp_path / 'old' / 'report.json'
    done = replay(bag, '--report', tmp_path / 'new', '--compare', old, '--allow', 'confidence=-1%')
    assert 'verdict: passed' in done.stdout
    other = write_mcap(tmp_path / 'other.mcap', 5)
    line = refused('replay', other, '--report', tmp_path / 'third', '--compare', tmp_path / 'old', '--backend', 'openvino',
                   '--size', '96x64')
    assert 'bag other.mcap is only here' in line
    assert list((tmp_path / 'third').iterdir()) == []


@pytest.mark.parametrize('options', [
    ('--rate', 2), ('--node', 'segment'), ('--find-rate',), ('--allow', 'mean_iou=-0.1'), ('--jobs', 2, '--ray', 'auto'),
    ('--jobs', 2, '--video', 'out.mp4'), ('--mode', 'live', '--jobs', 2), ('--fail-under', 'speed=3'), ('--jobs', 0),
], ids=lambda options: ' '.join(map(str, options)))
def test_options_that_do_not_go_together_are_refused(bag: Path, tmp_path: Path, options: tuple[object, ...]) -> None:
    assert str(options[0]) in refused('replay', bag, '--report', tmp_path / 'out', *options, code=2) or 'speed' in options[1]
    assert not (tmp_path / 'out').exists()


def test_a_saved_bag_gives_the_same_figures_again(drawn_dataset: Callable[..., Dataset], tmp_path: Path) -> None:
    enet('bag', drawn_dataset(val=3).root, tmp_path / 'val.mcap')
    truth = ('--labels-topic', '/ground_truth/labels')
    saved, video = tmp_path / 'saved.mcap', tmp_path / 'saved.mp4'
    replay(tmp_path / 'val.mcap', *truth, '--report', tmp_path / 'one', '--save-bag', saved, '--video', video)
    replay(saved, *truth, '--image-topic', '/image', '--report', tmp_path / 'two')
    one, two = read(tmp_path / 'one'), read(tmp_path / 'two')
    assert one['metrics'] == two['metrics'] and one['mean_iou'] > 0
    frames = open_frames(video)
    assert frames.count == 3 and [frame.seconds for frame in frames] == pytest.approx([0, 0.1, 0.2])
    # the labels of the network as ground truth
    replay(saved, '--labels-topic', '/enet/labels', '--image-topic', '/image', '--report', tmp_path / 'three')
    assert read(tmp_path / 'three')['mean_iou'] == 1


def test_other_outputs_have_their_suffix_and_do_not_replace_the_bag(bag: Path, tmp_path: Path) -> None:
    report, before = ('--report', tmp_path / 'out'), bag.read_bytes()
    assert 'ends in .mcap' in refused('replay', bag, *report, '--save-bag', tmp_path / 'saved', code=2)
    assert 'ends in .mp4' in refused('replay', bag, *report, '--video', tmp_path / 'saved.avi', code=2)
    assert 'is the bag to replay' in refused('replay', bag, *report, '--save-bag', bag, code=2)
    assert bag.read_bytes() == before


def test_the_same_bag_twice_is_refused(bag: Path, tmp_path: Path) -> None:
    assert 'is given twice' in refused('replay', bag, bag, '--report', tmp_path / 'out', code=2)


@pytest.mark.parametrize('jobs', [1, 2])
def test_an_interrupt_leaves_no_report_and_no_process(tmp_path: Path, jobs: int) -> None:
    bags = [write_mcap(tmp_path / f'{frames}.mcap', frames, chunk_size=1_000_000) for frames in (1500, 1501)]
    process = subprocess.Popen(
        [*ENET, 'replay', *map(str, bags), '--report', str(tmp_path / 'out'), '--backend', 'openvino', '--jobs', str(jobs)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    assert process.stderr is not None
    seen = b''
    while b'  1%|' not in seen:  # a bar moves
        seen += (part := process.stderr.read1())
        assert part, seen
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    seen += process.stderr.read()  # ends when no process of the command is left
    assert process.wait(30) == 130
    assert b'enet: interrupted' in seen and b'Traceback' not in seen, seen
    assert list((tmp_path / 'out').iterdir()) == []


def test_a_full_disk_is_one_line_and_leaves_neither_file(bag: Path, tmp_path: Path) -> None:
    with file_size_limit(500_000):  # the page does not fit
        done = enet_process('replay', bag, '--report', tmp_path / 'out', '--backend', 'openvino', '--size', '96x64', code=1)
    page = tmp_path / 'out' / 'report.html'
    assert done.stderr.splitlines()[-1].startswith(f'enet: cannot write {page}: ') and 'File too large' in done.stderr
    assert not list((tmp_path / 'out').iterdir())


def test_ground_truth_with_other_names_needs_a_class_map(small_model: Path, tmp_path: Path) -> None:
    names = {number: 'Lane' if name == 'Road' else name for number, name in enumerate(CAMVID.names)}
    path = write_entries(tmp_path / 'drive', [
        *(entry for number in range(3) for entry in frame(number)),
        ('/labels/label_info', LABEL_INFO, recorded_at(0), label_info(names)),
    ])
    arguments = (path, '--model', small_model, '--labels-topic', '/labels', '--report', tmp_path / 'out')
    assert 'only in the ground truth: Lane; only in the model: Road: map the names' in refused('replay', *arguments)
    (tmp_path / 'map.yaml').write_text('map: {Lane: Road}\n')
    replay(*arguments, '--class-map', tmp_path / 'map.yaml')
    report = read(tmp_path / 'out')
    assert report['configuration']['class_map'] == {'classes': {}, 'map': {'Lane': 'Road'}}
    assert report['bags'][0]['coverage']['with_truth'] == 3 and 0 <= report['mean_iou'] < 0.5


def test_ground_truth_of_another_size_is_counted_and_the_exit_code_is_4(small_model: Path, tmp_path: Path) -> None:
    entries = [entry for number in range(3) for entry in frame(number)]
    entries[3] = ('/labels', IMAGE, recorded_at(1), image(np.zeros((5, 7), np.uint8), 'mono8', 2.0))
    path = write_entries(tmp_path / 'drive', entries)
    done = replay(path, '--model', small_model, '--image-topic', '/image', '--labels-topic', '/labels', '--report',
                  tmp_path / 'out', code=4)
    (bag,) = read(tmp_path / 'out')['bags']
    assert (bag['coverage']['with_truth'], bag['coverage']['truth_refused']) == (2, 1)
    assert 'the ground truth is 7x5 pixels, the image 48x32' in bag['coverage']['problems'][0]
    assert bag['coverage']['problems'][0] in done.stdout + done.stderr
