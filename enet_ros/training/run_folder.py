"""The folder of a run: the files that identify the run, and where a resumed run finds its recipe and first weights."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from dataclasses import asdict
from pathlib import Path
from types import NoneType
from typing import Any

import yaml

from enet_ros.datasets.prepared import Dataset
from enet_ros.errors import TrainingError, one_line, printable
from enet_ros.files import replacing
from enet_ros.network.model_file import ModelFile, read_model
from enet_ros.parsing import read_json
from enet_ros.resources import share_folder
from enet_ros.training.data import choose_samples
from enet_ros.training.machine import is_main_process
from enet_ros.training.recipe import Recipe

log = logging.getLogger(__name__)

IDENTITY = 'run.json'
RECIPE = 'recipe.yaml'
START = 'start.safetensors'
"""Copy of the model file that a run started with."""


def is_run(out: Path) -> bool:
    """Return whether `out` is the folder of a run."""
    return (out / IDENTITY).is_file()


def find_recipe(out: Path, config: Path | None, dataset: Dataset, resume: bool) -> Path:
    """Return the recipe file of a run: `config`, else that in `out` to resume, else the package's for `dataset`.

    Raises:
        TrainingError: there is no run in `out` to resume, or the package has no recipe for `dataset`.

    """
    if config:
        return config
    if resume:
        if not (out / RECIPE).is_file():
            raise TrainingError(f'there is no run to resume in {out}: check --out, or start a run without --resume')
        return out / RECIPE
    recipes = share_folder() / 'config' / 'train'
    if not (recipe := recipes / f'{dataset.name}.yaml').is_file():
        raise TrainingError(f'the package has no recipe for dataset "{dataset.name}": add --config, for example '
                            f'{recipes / "finetune.yaml"} together with --weights')
    return recipe


def find_weights(out: Path) -> Path | None:
    """Return the copy of the model file that the run in `out` started with; None if there is no run or no such file.

    Raises:
        TrainingError: the copy is missing or damaged, or run.json is damaged.

    """
    path, start = out / IDENTITY, out / START
    digest = _read_identity(path)['begun_with'] if path.is_file() else None
    if digest and not (start.is_file() and hashlib.sha256(start.read_bytes()).hexdigest() == digest):
        raise TrainingError(f'{start} is {"damaged" if start.exists() else "missing"}: add --weights with the model file '
                            f'that the run started with; its sha256 is {digest}')
    return start if digest else None


def identify_run(out: Path, recipe: Recipe, dataset: Dataset, resume: bool, start: ModelFile | None) -> str:
    """Return what identifies a run, as JSON. Check that `out` is free or, to resume, holds this run. Write nothing.

    `start` is the model file that the run starts with.

    Raises:
        TrainingError: `out` holds a run and `resume` is not set, or it holds another run or a damaged run.json.
        DatasetError: samples are missing.

    """
    names = list(dataset.labels.names)
    chosen = [[sample.stem for sample in samples] for samples in choose_samples(dataset, recipe)]
    digest = hashlib.sha256(json.dumps(chosen).encode()).hexdigest()
    samples = {'train': len(chosen[0]), 'val': len(chosen[1]), 'sha256': digest}
    run = {'dataset': dataset.name, 'classes': names, 'pixels': dataset.pixels, 'samples': samples, 'recipe': asdict(recipe),
           'begun_with': start and start.sha256}
    text = json.dumps(run, indent=2) + '\n'
    path = out / IDENTITY
    if not is_main_process():
        return text
    if not path.exists():
        for name in (*(stage.name for stage in recipe.stages), 'model.safetensors'):
            if (out / name).exists():
                raise TrainingError(f'{out / name} exists without {path}: use another folder')
        if resume:
            log.info('nothing to resume in %s: starting a new run', out)
        return text
    if not resume:
        raise TrainingError(f'{out} already holds a run: add --resume to continue it, or use another folder')
    there, here = (_flat(_without_rates(one)) for one in (_read_identity(path), json.loads(text)))
    if not any(key.startswith('samples.') for key in there):  # a run of an earlier version
        here = {key: value for key, value in here.items() if not key.startswith('samples.')}
    if differing := [key for key in {**there, **here} if there.get(key) != here.get(key)]:
        key = differing[0]
        difference = printable(f'{key:.80} is {there.get(key)!s:.80} there and {here.get(key)!s:.80} here')
        raise TrainingError(f'{out} holds a run of another recipe or dataset, first difference: {difference}; '
                            'resume without --config, --set and --weights, or use another folder')
    return text


def write_identity(out: Path, identity: str, start: ModelFile | None) -> None:
    """Write a copy of `start`, recipe.yaml for --config, and run.json, which is last because it marks a run.

    Raises:
        EnetError: a file cannot be written, or `start` has changed since it was read.

    """
    if start:
        with replacing(out / START, durable=True) as temporary:
            shutil.copyfile(start.path, temporary)
            if read_model(temporary).sha256 != start.sha256:
                raise TrainingError(f'{start.path} changed while images were read: run the command again')
    else:
        (out / START).unlink(missing_ok=True)  # left by a run whose run.json was removed
    with replacing(out / RECIPE, durable=True) as temporary:
        # from JSON, which has lists instead of tuples: YAML has no tuples
        text = yaml.safe_dump(json.loads(identity)['recipe'], sort_keys=False, default_flow_style=None)
        temporary.write_text(text, encoding='utf-8')
    with replacing(out / IDENTITY, durable=True) as temporary:
        temporary.write_text(identity, encoding='utf-8')


def _read_identity(path: Path) -> dict[str, Any]:
    """Read run.json and check the parts that are used: the stages of its recipe and the digest of its first weights."""
    try:
        run = read_json(path)
        if not (isinstance(run, dict) and isinstance(run.setdefault('begun_with', None), (str, NoneType))):
            raise ValueError('it is not the description of a run')
        if not (isinstance(recipe := run.get('recipe'), dict) and isinstance(stages := recipe.get('stages'), list)
                and all(isinstance(stage, dict) for stage in stages)):
            raise ValueError('it has no recipe with stages')
    except (OSError, ValueError) as error:
        raise TrainingError(f'{path} is damaged ({one_line(error)}): restore it from a copy, or train in another folder'
                            ) from error
    return run


def _without_rates(run: dict[str, Any]) -> dict[str, Any]:
    """Return a run without its learning rates: a resumed run may have lower ones."""
    stages = [{**stage, 'learning_rate': None} for stage in run['recipe']['stages']]
    return {**run, 'recipe': {**run['recipe'], 'stages': stages}}


def _flat(value: Any, name: str = '') -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return the leaves of a JSON value by dotted name."""
    if isinstance(value, dict):
        return {key: leaf for part in value for key, leaf in _flat(value[part], f'{name}.{part}').items()}
    if isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        return {key: leaf for i, entry in enumerate(value) for key, leaf in _flat(entry, f'{name}.{i}').items()}
    return {name.removeprefix('.'): value}
