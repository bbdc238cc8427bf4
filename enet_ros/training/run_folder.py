"""The folder of a run: whose it is, and what in it says so."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from enet_ros.datasets.prepared import Dataset
from enet_ros.errors import TrainingError
from enet_ros.files import replacing
from enet_ros.network.model_file import ModelFile, read_model
from enet_ros.training.recipe import Recipe

log = logging.getLogger(__name__)

START = 'start.safetensors'
"""A copy of the model file that a run began with."""


def is_main_process() -> bool:
    """Return whether this process is the one that writes files: the only one, or the first that torchrun started."""
    return os.environ.get('RANK', '0') == '0'


def identify_run(out: Path, recipe: Recipe, dataset: Dataset, resume: bool, start: ModelFile | None) -> str:
    """Return what identifies a run, as JSON, after making sure that `out` is free or, to resume, holds this very run.

    `start` is the model file that it begins with. Nothing is written yet.

    Raises:
        TrainingError: `out` holds a run and `resume` is not set, or it holds another run.

    """
    names = list(dataset.labels.names)
    run = {'dataset': dataset.name, 'classes': names, 'pixels': dataset.pixels, 'recipe': asdict(recipe),
           'begun_with': start and start.sha256}
    text = json.dumps(run, indent=2) + '\n'
    path = out / 'run.json'
    if not is_main_process():
        return text
    if not path.exists():
        for stage in recipe.stages:
            if (out / stage.name).exists():
                raise TrainingError(f'{out / stage.name} is there, but no {path} says of which run: choose another folder')
        if resume:
            log.info('nothing to resume in %s: a new run begins', out)
        return text
    if not resume:
        raise TrainingError(f'{out} already holds a run: add --resume to go on with it, or choose another folder')
    there, here = (_flat(_without_rates(json.loads(one))) for one in (path.read_text(encoding='utf-8'), text))
    if differing := [key for key in {**there, **here} if there.get(key) != here.get(key)]:
        raise TrainingError(
            f'{out} holds a run with another recipe or dataset, the first difference is {differing[0]}, '
            f'{there.get(differing[0])} there and {here.get(differing[0])} here: resume without --config, --set and '
            '--weights, or choose another folder'
        )
    return text


def write_identity(out: Path, identity: str, start: ModelFile | None) -> None:
    """Write a copy of `start`, recipe.yaml, which --config reads, and at last run.json.

    Raises:
        EnetError: something cannot be written, or `start` is no longer what was read.

    """
    if start:
        with replacing(out / START) as temporary:
            shutil.copyfile(start.path, temporary)
            if read_model(temporary).sha256 != start.sha256:
                raise TrainingError(f'{start.path} was changed while images were read: start again')
    else:
        (out / START).unlink(missing_ok=True)  # of a run whose run.json was removed
    with replacing(out / 'recipe.yaml') as temporary:
        # by way of JSON, since YAML knows no tuples
        text = yaml.safe_dump(json.loads(identity)['recipe'], sort_keys=False, default_flow_style=None)
        temporary.write_text(text, encoding='utf-8')
    with replacing(out / 'run.json') as temporary:
        temporary.write_text(identity, encoding='utf-8')


def begun_with(out: Path) -> Path | None:
    """Return the copy of the model file that the run in `out` began with; None where there is no run, or one begun anew.

    Raises:
        TrainingError: the copy is gone or damaged.

    """
    path, start = out / 'run.json', out / START
    digest = json.loads(path.read_text(encoding='utf-8')).get('begun_with') if path.is_file() else None
    if digest and not (start.is_file() and hashlib.sha256(start.read_bytes()).hexdigest() == digest):
        raise TrainingError(f'{start} is {"damaged" if start.exists() else "gone"}: give --weights, the model file that the '
                            f'run began with; its sha256 is {digest}')
    return start if digest else None


def _without_rates(run: dict[str, Any]) -> dict[str, Any]:
    """Return a run without its learning rates, which may be lowered when a loss was not finite."""
    stages = [{**stage, 'learning_rate': None} for stage in run['recipe']['stages']]
    return {**run, 'recipe': {**run['recipe'], 'stages': stages}}


def _flat(value: Any, name: str = '') -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return the leaves of a JSON value by their dotted names."""
    if isinstance(value, dict):
        return {key: leaf for part in value for key, leaf in _flat(value[part], f'{name}.{part}').items()}
    if isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        return {key: leaf for i, entry in enumerate(value) for key, leaf in _flat(entry, f'{name}.{i}').items()}
    return {name.removeprefix('.'): value}
