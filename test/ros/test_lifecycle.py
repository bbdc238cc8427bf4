"""The managed node: transitions over its real services, what they free, and how a failed one is repeated."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from ros_nodes import PATIENCE, Process, Robot, running, wait_until

pytestmark = pytest.mark.usefixtures('ros')


def unconfigured(folder: Path, **parameters: object) -> AbstractContextManager[tuple[Robot, Process]]:
    """Run a node that waits for transitions."""
    return running(folder, autostart=False, **parameters)


def topics(robot: Robot) -> set[str]:
    """Return the topics that the node publishes, without its namespace."""
    namespace = robot.get_namespace()
    return {
        topic.removeprefix(f'{namespace}/enet/')
        for topic, _ in robot.get_publisher_names_and_types_by_node('enet', namespace) if '/enet/' in topic
    }


def threads(process: Process) -> int:
    return len(list(Path(f'/proc/{process.popen.pid}/task').iterdir()))


def test_labels_come_while_the_node_is_active_and_only_then(small_model: Path, tmp_path: Path) -> None:
    with unconfigured(tmp_path, model=small_model) as (robot, _):
        assert robot.state() == 'unconfigured' and 'labels' not in topics(robot)
        assert robot.change_state('configure') and robot.state() == 'inactive'
        wait_until(lambda: 'labels' in topics(robot), lambda: 'labels are not advertised')
        assert not robot.camera.get_subscription_count()
        assert robot.change_state('activate') and robot.state() == 'active'
        robot.wait_for_node()
        assert robot.ask(robot.picture()).shape == (64, 96)
        assert robot.change_state('deactivate') and robot.state() == 'inactive'
        wait_until(lambda: not robot.camera.get_subscription_count(), lambda: 'the node keeps its subscription')
        assert robot.change_state('activate')
        wait_until(robot.camera.get_subscription_count, lambda: 'the node does not subscribe again')
        robot.wait_for_node()
        assert robot.ask(robot.picture()).shape == (64, 96)
        assert robot.change_state('deactivate') and robot.change_state('cleanup') and robot.state() == 'unconfigured'
        wait_until(lambda: 'labels' not in topics(robot), lambda: 'labels are still advertised')


def test_a_transition_that_the_state_does_not_have_is_refused(small_model: Path, tmp_path: Path) -> None:
    with unconfigured(tmp_path, model=small_model) as (robot, _):
        assert not robot.change_state('activate')
        assert not robot.change_state('fly')
        assert robot.change_state('configure') and not robot.change_state('cleanup_all')
        assert robot.state() == 'inactive'


def test_a_failed_configure_is_repeated_when_the_file_has_appeared(small_model: Path, tmp_path: Path) -> None:
    missing = tmp_path / 'later.safetensors'
    with unconfigured(tmp_path, model=missing) as (robot, process):
        assert not robot.change_state('configure') and robot.state() == 'unconfigured'
        process.wait_for_log(f'cannot configure: no model file {missing}')
        shutil.copy(small_model, missing)
        assert robot.change_state('configure') and robot.change_state('activate')
        robot.wait_for_node()


def test_a_failed_configure_is_repeated_with_other_parameters(small_model: Path, tmp_path: Path) -> None:
    with unconfigured(tmp_path, model=small_model, classes='Road, Unicorn') as (robot, process):
        assert not robot.change_state('configure')
        process.wait_for_log('Unicorn')
        assert robot.set(classes='Road', width=64, height=32).successful
        assert robot.change_state('configure') and robot.change_state('activate')
        robot.wait_for_node()
        assert robot.set(output_size='network').successful
        assert robot.ask(robot.picture()).shape == (32, 64)
        refused = robot.set(width=96)
        assert not refused.successful and 'deactivate, then cleanup' in refused.reason and robot.get('width') == 64


def test_another_model_brings_another_class_table(small_model: Path, shipped_model: Path, tmp_path: Path) -> None:
    with unconfigured(tmp_path, model=small_model) as (robot, _):
        assert 'class_names' not in robot.describe()
        for model in (small_model, shipped_model):
            assert robot.set(model=str(model)).successful
            assert robot.change_state('configure')
            assert robot.get('class_names')[:2] == ['Sky', 'Building'] and robot.get('class_colors')[3] == '#804080'
            assert robot.describe()['class_names'].read_only and not robot.set(class_names=['a']).successful
            assert robot.change_state('cleanup')


def test_fifty_cycles_leak_neither_memory_nor_threads(small_model: Path, tmp_path: Path) -> None:
    with unconfigured(tmp_path, model=small_model, threads=1) as (robot, process):

        def cycle() -> None:
            for transition in ('configure', 'activate'):
                assert robot.change_state(transition)
            robot.overlays.clear()
            robot.wait_for_node()
            for transition in ('deactivate', 'cleanup'):
                assert robot.change_state(transition)

        for _ in range(5):
            cycle()
        memory, count = process.memory(), threads(process)
        for _ in range(45):
            cycle()
        assert threads(process) <= count
        assert process.memory() < memory + 20e6, f'{process.memory() - memory} bytes more after 45 cycles'


def test_cleanup_frees_the_engine(shipped_model: Path, tmp_path: Path) -> None:
    with unconfigured(tmp_path, model=shipped_model, width=960, height=720) as (robot, process):
        assert robot.change_state('configure') and robot.change_state('cleanup')  # the runtime stays loaded
        before = process.memory()
        assert robot.change_state('configure')
        configured = process.memory()
        assert robot.change_state('cleanup')
        engine = configured - before
        assert engine > 20e6 and process.memory() < before + 0.2 * engine


def test_shutdown_is_possible_from_every_state(small_model: Path, tmp_path: Path) -> None:
    for number, transitions in enumerate(((), ('configure',), ('configure', 'activate'))):
        folder = tmp_path / f'state{number}'
        folder.mkdir()
        with unconfigured(folder, model=small_model) as (robot, _):
            for transition in transitions:
                assert robot.change_state(transition)
            assert robot.change_state('shutdown') and robot.state() == 'finalized'


def test_a_node_that_starts_by_itself_ends_with_exit_code_1_if_it_cannot(tmp_path: Path) -> None:
    process = Process(tmp_path / 'log', model=tmp_path / 'missing.safetensors')
    assert process.popen.wait(PATIENCE) == 1
    assert process.log().count('\n') == 1 and 'cannot configure' in process.log() and 'missing.safetensors' in process.log()
