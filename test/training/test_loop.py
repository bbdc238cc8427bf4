from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import make_model
from recipes import RECIPE, AtStep, one_stage, recipe_file

from enet_ros.cli.main import main
from enet_ros.datasets.prepared import Dataset
from enet_ros.errors import DatasetError, TrainingError
from enet_ros.images.files import write_image
from enet_ros.labels import CAMVID, VOID
from enet_ros.network.architecture import SegNetArchitecture
from enet_ros.network.model_file import ModelFile, read_model, write_model
from enet_ros.network.registry import load_network
from enet_ros.training.finish import FinishedRun
from enet_ros.training.history import read_history
from enet_ros.training.loop import train_stages
from enet_ros.training.recipe import Recipe

Make = Callable[..., Dataset]


def test_a_model_names_its_size_dataset_and_recipe_and_loads(finished: FinishedRun, recipe: Recipe) -> None:
    model = read_model(finished.model)
    load_network(model)
    assert model.info.training_size == (96, 64) and model.info.dataset == 'drawn' and model.info.labels == CAMVID
    assert model.info.recipe['seed'] == recipe.seed and not model.info.begun_with


def test_training_lowers_the_loss(dataset: Dataset, tmp_path: Path) -> None:
    recipe = one_stage(epochs=12, learning_rate=1e-2, validate_every=12, batch_size=6, crop=(96, 64), scale=(1.0, 1.0))
    train_stages(dataset, recipe, tmp_path / 'run')
    losses = [loss for _, loss in read_history(tmp_path / 'run' / 'decoder').loss]
    assert len(losses) == 12 and losses[-1] < 0.8 * losses[0]


def test_the_last_epoch_of_a_stage_is_always_validated(finished: FinishedRun) -> None:
    epochs = {stage: [epoch for epoch, _ in read_history(finished.model.parent / stage).mean_iou]
              for stage in ('encoder', 'decoder')}
    assert epochs == {'encoder': [1], 'decoder': [2, 3]}  # validate_every is 2


def test_a_stage_keeps_the_averaged_weights_of_its_best_epoch(finished: FinishedRun) -> None:
    model, run = read_model(finished.model), finished.model.parent
    best = torch.load(run / 'decoder' / 'best.ckpt', weights_only=True)
    measured = dict(read_history(run / 'decoder').mean_iou)
    assert measured[best['epoch'] + 1] == max(measured.values())
    name = 'encoder.initial.convolution.convolution.weight'
    np.testing.assert_array_equal(model.weights[name], best['state_dict'][f'average.module.{name}'].numpy())
    assert (model.weights[name] != best['state_dict'][f'network.{name}'].numpy()).any()


def test_without_validation_samples_a_stage_keeps_its_last_weights(dataset: Dataset, tmp_path: Path) -> None:
    model = read_model(train_stages(dataset, one_stage(splits=('train', 'val'), epochs=1), tmp_path / 'run'))
    last = torch.load(tmp_path / 'run' / 'decoder' / 'last.ckpt', weights_only=True)['state_dict']
    name = 'encoder.initial.convolution.convolution.weight'
    np.testing.assert_array_equal(model.weights[name], last[f'average.module.{name}'].numpy())
    assert not (tmp_path / 'run' / 'decoder' / 'best.ckpt').exists()


def test_compiled_and_eager_training_agree(dataset: Dataset, tmp_path: Path) -> None:
    if not (shutil.which('g++') or shutil.which('clang++')):
        pytest.skip('torch.compile needs a C++ compiler: install g++')
    recipe = one_stage(epochs=1, batch_size=6)
    eager = train_stages(dataset, recipe, tmp_path / 'eager').parent
    # traces and differentiates the graph as the default backend does, but does not spend minutes on generating code for it
    counts = torch._dynamo.utils.counters['stats']
    before = counts['unique_graphs']
    with torch.compiler.set_stance('default', force_backend='aot_eager'):
        compiled = train_stages(dataset, recipe, tmp_path / 'compiled', compiled=True).parent
    assert counts['unique_graphs'] - before == 2  # the whole network and the loss, without graph breaks
    losses, expected = ([loss for _, loss in read_history(run / 'decoder').loss] for run in (compiled, eager))
    np.testing.assert_allclose(losses, expected, rtol=0.05)


def test_too_little_gpu_memory_is_reported_with_the_remedy(dataset: Dataset, tmp_path: Path) -> None:
    def fail(_: object) -> None:
        raise torch.OutOfMemoryError('CUDA out of memory')

    with pytest.raises(TrainingError, match=r'not enough GPU memory for stage decoder: .*batch_size, crop or size'):
        train_stages(dataset, one_stage(), tmp_path / 'run', callbacks=[AtStep(1, fail)])


def test_a_loss_that_is_not_finite_stops_the_run_which_resumes_at_a_lower_rate(
    dataset: Dataset, recipe: Recipe, tmp_path: Path
) -> None:
    def with_rate(rate: float) -> Recipe:
        encoder, decoder = recipe.stages
        return dataclasses.replace(recipe, stages=(encoder, dataclasses.replace(decoder, learning_rate=rate)))

    run = tmp_path / 'run'
    with pytest.raises(TrainingError, match=r'stage decoder, epoch \d, step \d+ \(samples train\d.*lower learning_rate'):
        train_stages(dataset, with_rate(1e30), run)
    assert not (run / 'model.safetensors').exists() and (run / 'encoder' / 'last.ckpt').exists()
    shutil.rmtree(run / 'decoder')
    model = read_model(train_stages(dataset, with_rate(1e-3), run, resume=True))
    assert model.info.recipe['stages'][1]['learning_rate'] == 1e-3
    assert max(rate for _, rate in read_history(run / 'decoder').learning_rate) <= 1e-3


@pytest.mark.parametrize(('split', 'which'), [('train', ''), ('val', 'of the validation samples ')])
def test_samples_without_labels_are_refused_before_the_training(
    split: str, which: str, drawn_dataset: Make, tmp_path: Path
) -> None:
    dataset = drawn_dataset()
    for sample in dataset.samples(split):
        write_image(sample.labels_path, np.full((64, 96), VOID, np.uint8))
    with pytest.raises(DatasetError, match=f'all labels {which}.* are void'):
        train_stages(dataset, RECIPE, tmp_path / 'run')
    assert not (tmp_path / 'run').exists()


def test_an_error_in_the_data_leaves_no_folder_behind(drawn_dataset: Make, tmp_path: Path) -> None:
    dataset = drawn_dataset()
    write_image(dataset.samples('train')[2].labels_path, np.full((64, 96), 50, np.uint8))
    with pytest.raises(DatasetError, match='50'):
        train_stages(dataset, RECIPE, tmp_path / 'run')
    assert not (tmp_path / 'run').exists()  # the same command works when the data are fixed


# Runs that start with the weights of a model file. With this learning rate, weights stay as they are.
STEADY = one_stage(epochs=1, learning_rate=1e-9)


@pytest.fixture
def start(tmp_path: Path) -> ModelFile:
    """Return a model for the classes of `dataset`. It has no dropout, unlike the recipe's."""
    return read_model(make_model(tmp_path / 'start.safetensors', seed=5, decoder_dropout=0.0))


def _changed(model: ModelFile, start: ModelFile) -> set[str]:
    """Return the layers of `start` that have other weights in `model`, normalization statistics aside."""
    return {name.rpartition('.')[0] for name, values in start.weights.items() if '.running_' not in name
            and (values.shape != model.weights[name].shape or not np.allclose(values, model.weights[name], atol=1e-6))}


def test_one_training_image_is_enough_and_the_log_shows_the_steps(
    drawn_dataset: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level('INFO')
    train_stages(drawn_dataset(train=1), one_stage(batch_size=3), tmp_path / 'run')
    assert 'stage decoder of decoder: 2 epochs of 1 steps' in caplog.text


def test_a_home_folder_in_out_is_that_of_the_user(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    monkeypatch.chdir(tmp_path)
    config = recipe_file(tmp_path / 'r.yaml', one_stage(epochs=1))
    assert main(['train', '--data', str(dataset.root), '--out=~/run', '--config', str(config)]) == 0
    train_stages(dataset, one_stage(epochs=1), Path('~/other'))
    assert not (tmp_path / 'home' / 'other').exists()
    for run in (tmp_path / 'home' / 'run', tmp_path / '~' / 'other'):
        assert (run / 'run.json').is_file() and (run / 'decoder' / 'last.ckpt').is_file()


def test_what_a_killed_process_left_of_a_checkpoint_is_removed(dataset: Dataset, tmp_path: Path) -> None:
    left = tmp_path / 'run' / 'decoder' / '.enet_ros-x.ckpt'

    def leave(_: object) -> None:
        left.write_bytes(b'half of a checkpoint')
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_stages(dataset, one_stage(), tmp_path / 'run', callbacks=[AtStep(3, leave)])
    assert left.exists()
    train_stages(dataset, one_stage(), tmp_path / 'run', resume=True)
    assert not left.exists()


def test_a_run_starts_with_the_given_weights_and_names_them(dataset: Dataset, start: ModelFile, tmp_path: Path) -> None:
    stages = (dataclasses.replace(RECIPE.stages[0], learning_rate=1e-9), *STEADY.stages)
    recipe = dataclasses.replace(STEADY, stages=stages)
    first = read_model(train_stages(dataset, recipe, tmp_path / 'first', start=start))
    assert not _changed(first, start)
    assert first.info.license == 'free; started with weights from none: untrained'
    second = read_model(train_stages(dataset, STEADY, tmp_path / 'second', start=first))
    assert [(link['sha256'], link['dataset']) for link in second.info.lineage()] == [
        (first.sha256, 'drawn'), (start.sha256, 'none'),
    ]


def test_segnet_starts_with_the_given_weights(dataset: Dataset, tmp_path: Path) -> None:
    start = read_model(make_model(tmp_path / 's.safetensors', architecture=SegNetArchitecture(len(CAMVID))))
    recipe = one_stage(network='segnet', epochs=1, learning_rate=1e-9, batch_size=6, splits=('train', 'val'))
    assert not _changed(read_model(train_stages(dataset, recipe, tmp_path / 'run', start=start)), start)


@pytest.mark.parametrize('count', [2, len(CAMVID)], ids=['fewer classes', 'as many with other names'])
def test_for_other_classes_the_last_layer_starts_untrained(
    count: int, dataset: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level('INFO')
    model = read_model(make_model(tmp_path / 's.safetensors'))
    labels = dataclasses.replace(CAMVID, names=tuple(map(str, range(count))), colors=CAMVID.colors[:count])
    info = dataclasses.replace(model.info, labels=labels, architecture=STEADY.architecture(count))
    last = ('decoder.fullconv.weight', 'decoder.fullconv.bias')
    few = {name: values[:, :count] if values.ndim > 1 else values[:count]
           for name, values in model.weights.items() if name in last}
    write_model(tmp_path / 'other.safetensors', info, model.weights | few)
    other = read_model(tmp_path / 'other.safetensors')
    trained = read_model(train_stages(dataset, STEADY, tmp_path / 'run', start=other))
    assert _changed(trained, other) == {'decoder.fullconv'}
    assert 'except the last layer: the classes differ' in caplog.text


def test_weights_of_another_network_are_refused_before_images_are_read(
    drawn_dataset: Make, start: ModelFile, tmp_path: Path
) -> None:
    dataset = drawn_dataset()
    shutil.rmtree(dataset.root / 'train')  # reading it would be another error
    segnet = read_model(make_model(tmp_path / 's.safetensors', architecture=SegNetArchitecture(len(CAMVID))))
    centred = dataclasses.replace(start, info=dataclasses.replace(start.info, mean=(0.5, 0.5, 0.5)))
    for recipe, model, reason in (
        (dataclasses.replace(STEADY, decoder_activation='relu'), start, 'start.safetensors .*_activation prelu.*relu'),
        (STEADY, segnet, 's.safetensors .*network segnet.*enet'),
        (STEADY, centred, r'mean \(0.5, 0.5, 0.5\)'),
    ):
        with pytest.raises(TrainingError, match=reason):
            train_stages(dataset, recipe, tmp_path / 'run', start=model)
    assert not (tmp_path / 'run').exists()


def test_a_run_resumes_without_the_model_that_it_started_with(
    dataset: Dataset, start: ModelFile, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = recipe_file(tmp_path / 'r.yaml', STEADY)
    command = ['train', '--data', str(dataset.root), '--out', str(tmp_path / 'run')]
    assert main([*command, '--config', str(config), '--weights', str(start.path)]) == 0
    shutil.rmtree(tmp_path / 'run' / 'decoder')  # as if it had been killed before its first checkpoint
    start.path.unlink()
    assert main([*command, '--resume']) == 0
    model = read_model(tmp_path / 'run' / 'model.safetensors')
    assert not _changed(model, start) and model.info.begun_with['sha256'] == start.sha256
    capfd.readouterr()
    assert main([*command, '--resume']) == 0
    assert 'stage decoder is finished' in capfd.readouterr().err
