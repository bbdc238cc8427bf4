from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers import ROOT
from recipes import RECIPE, changed_stage, recipe_file

from enet_ros.errors import RecipeError
from enet_ros.training.recipe import read_recipe


def test_the_recipes_of_the_package_are_valid() -> None:
    paths = sorted((ROOT / 'config' / 'train').iterdir())
    networks = {path.stem: read_recipe(path).architecture(11).network for path in paths}
    assert networks == {'camvid': 'enet', 'camvid_ablation': 'enet', 'camvid_cpu': 'enet', 'camvid_long': 'enet',
                        'cityscapes': 'enet', 'finetune': 'enet', 'segnet_camvid': 'segnet', 'sunrgbd': 'enet'}


def test_a_recipe_that_was_written_can_be_read_again(tmp_path: Path) -> None:
    assert read_recipe(recipe_file(tmp_path / 'r.yaml')) == RECIPE


@pytest.mark.parametrize(('text', 'reason'), [
    ('[' * 5000, 'more than 100 levels'), ('seed: 9999-99-99', 'month must be in'),
    ('seed: 1\nseed: 2', 'key "seed" occurs twice, last in line 2'), ('a: &a [*a]', 'an alias refers to'),
], ids=['too deep', 'no date', 'key twice', 'alias in itself'])
def test_a_file_that_is_not_yaml_is_refused_in_one_line(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / 'r.yaml').write_text(text)
    with pytest.raises(RecipeError, match=rf'cannot read recipe .*r.yaml: .*{reason}') as caught:
        read_recipe(tmp_path / 'r.yaml')
    assert '\n' not in str(caught.value)


def test_a_named_pipe_is_no_recipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(RecipeError, match=r'cannot read recipe .*pipe: it is not a regular file'):
        read_recipe(tmp_path / 'pipe')


@pytest.mark.parametrize(('changes', 'reason'), [
    ({'batchsize': 4}, 'batchsize'),
    ({'seed': None}, 'seed'),
    ({'batch_size': 'many'}, 'batch_size'),
    ({'batch_size': 0}, 'batch_size is 0'),
    ({'size': [100, 64]}, 'size is 100x64'),
    ({'size': [96]}, 'size'),
    ({'stages': []}, 'last stage'),
    ({'stages': changed_stage(network='encoder')}, 'last stage'),
    ({'stages': changed_stage(network='unet')}, 'network is "unet": must be one of enet, segnet, encoder'),
    ({'stages': changed_stage(network='segnet') + changed_stage(name='second')},
     'stages train enet and segnet: write one recipe for each'),
    ({'stages': changed_stage(network='segnet'), 'decoder_dropout': 0.0},
     'SegNet has no option decoder_dropout: leave it at 0.1'),
    ({'stages': changed_stage(network='segnet', crop=[64, 24])},
     'crop of stage decoder is 64x24: .*multiples of 8, at least 32'),
    ({'stages': changed_stage() * 2}, 'two stages have the same name'),
    ({'stages': changed_stage(crop=[60, 64])}, 'crop of stage decoder is 60x64'),
    ({'stages': changed_stage(crop=[96, 72])}, 'crop of stage decoder is 96x72: must not exceed size 96x64'),
    ({'stages': changed_stage(epochs=0)}, 'epochs is 0'),
    ({'stages': changed_stage(learning_rate=-1.0)}, 'learning_rate is -1.0'),
    ({'stages': changed_stage(scale=[2.0, 1.0])}, r'scale is \[2.0, 1.0\]'),
    ({'stages': changed_stage(class_weight_constant=1.0)}, 'class_weight_constant is 1.0'),
    ({'precision': 'fp8'}, 'precision'),
    ({'decoder_dropout': 1.5}, 'decoder_dropout is 1.5'),
    ({'jitter': {'brightness': 0.1, 'contrast': 0.1, 'saturation': 0.1, 'hue': 0.9, 'gamma': 0}}, 'hue is 0.9'),
    ({'jitter': {'brightness': 0.1, 'contrast': 0.1, 'saturation': 0.1, 'hue': 0.1}}, 'jitter.gamma'),
    ({'jitter': {'brightness': 0.1, 'contrast': 0.1, 'saturation': 0.1, 'hue': 0.1, 'gamma': 0, 'blur': 1}},
     'unknown key blur'),
    ({'stages': changed_stage(rotation=-1.0)}, r'rotation is -1.0: must be in \[0, 180\] degrees'),
    ({'stages': changed_stage(loss='ohem')}, 'loss must be one of cross_entropy, cross_entropy\\+lovasz'),
    ({'stages': changed_stage(network='encoder', name='first', loss='cross_entropy+lovasz') + changed_stage()},
     'stage first: loss cross_entropy\\+lovasz needs labels of the full size, .*: use loss cross_entropy'),
    ({'batch_size': True}, 'batch_size is true or false'),
    ({'stages': changed_stage(crop=[64, True])}, r'stages.0.crop.1 is true or false'),
    ({'stages': changed_stage(learning_rate=10**400)}, 'too large'),
    ({'last_kernel': 3.0}, 'last_kernel is 3.0: choose 2 or 3'),
    ({'splits': []}, r'splits is \[\]'),
    ({'splits': ['training']}, r"splits is \['training'\]"),
    ({'ema_decay': 1.0}, 'ema_decay is 1.0'),
    ({'seed': 2**32}, r'seed is 4294967296: must be in \[0, 4294967295\]'), ({'seed': -1}, 'seed is -1'),
    ({'warmup_epochs': -1.0}, 'warmup_epochs is -1.0'),
    ({'optimizer': 'sgd'}, 'optimizer'),
    ({'schedule': 'linear'}, 'schedule must be one of cosine, poly'),
    ({'splits': 'train'}, r'splits must be a list in \[ \], each entry a string'),
    ({'size': 480}, r'size must be a list in \[ \] of 2, each entry an integer'),
    ({'seed': 1.5}, 'seed must be an integer'),
    ({'warmup_epochs': 5.0}, 'epochs is 1: must be at least warmup_epochs, 5.0'),
    ({'weight_decay': float('nan')}, 'weight_decay is nan'),
    ({'stages': changed_stage(name='../x')}, r'stage name "../x"'),
], ids=str)
def test_an_invalid_recipe_is_refused_in_one_line(changes: dict[str, object], reason: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=reason) as caught:
        read_recipe(recipe_file(tmp_path / 'r.yaml', **changes))
    assert str(tmp_path / 'r.yaml') in str(caught.value) and '\n' not in str(caught.value)


def test_an_unknown_key_is_refused_with_a_list_of_known_keys(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r'unknown key batchsize; known keys: size, .*batch_size.*; in each stage: name'):
        read_recipe(recipe_file(tmp_path / 'r.yaml', batchsize=4))


@pytest.mark.parametrize('content', ['seed: 2001-13-45', 'seed: !!int ""', '[' * 5000, '"two\\nlines": 1'],
                         ids=['date', 'empty-int', 'nested', 'two-lines'])
def test_a_file_that_is_not_a_recipe_is_refused_in_one_line(content: str, tmp_path: Path) -> None:
    (tmp_path / 'r.yaml').write_text(content)
    with pytest.raises(RecipeError, match=r'recipe .*r\.yaml') as caught:
        read_recipe(tmp_path / 'r.yaml')
    assert '\n' not in str(caught.value)


def test_changes_apply_to_every_section_of_a_recipe(tmp_path: Path) -> None:
    path = recipe_file(tmp_path / 'r.yaml')
    changes = ['seed=7', 'jitter.hue=0', 'stages.decoder.epochs=5', 'stages.encoder.crop=[96, 64]', 'hold_out=[0006R0]']
    changed = read_recipe(path, changes)
    assert changed.seed == 7 and changed.jitter.hue == 0 and changed.hold_out == ('0006R0',)
    assert changed.stages[1].epochs == 5 and changed.stages[0].crop == (96, 64)
    assert changed.stages[1].crop == RECIPE.stages[1].crop


@pytest.mark.parametrize(('change', 'reason'), [
    ('seed', 'use KEY=VALUE'),
    ('\n', 'use KEY=VALUE'),
    ('a\n=1', 'no key'),
    ('a\n.b=1', 'no section'),
    ('seed=[', 'use KEY=VALUE'),
    pytest.param('seed=' + '[' * 5000, 'use KEY=VALUE', id='too deep'),
    ('seed=9999-99-99', 'use KEY=VALUE'),
    ('sed=1', 'no key sed; choose from .*seed'),
    ('stages.decode.epochs=1', 'no section decode; choose from encoder, decoder'),
    ('stages.decoder.epoch=1', 'no key epoch; choose from .*epochs'),
    ('stages.decoder=1', 'no key decoder'),
    ('seed.x=1', 'no section seed'),
    ('stages.decoder.epochs=0', 'epochs is 0'),
    ('seed=many', r'r.yaml with seed=many: seed must be an integer'),
    ('hold_out=[0006]', r'hold_out must be a list in .*, each entry a string \(in quotes if it looks like a number'),
])
def test_an_invalid_change_is_refused_in_one_line(change: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=reason) as caught:
        read_recipe(recipe_file(tmp_path / 'r.yaml'), [change])
    assert '\n' not in str(caught.value)


def test_a_long_change_is_cut_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match='seed must be an integer') as raised:
        read_recipe(recipe_file(tmp_path / 'r.yaml'), ['seed=' + 'x' * 5000])
    assert len(str(raised.value)) < 1000
