"""Measure how many training images bring how much: equal numbers of steps on subsets, from random or given weights.

Without --drive, images of split train are trained on and split val is measured. With --drive, images of the first half of a
drive are trained on and its second half is measured. "--draw PICTURE FILE..." draws the results.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from enet_ros.datasets.prepared import Dataset, Sample, read_dataset
from enet_ros.engines.base import EngineSpec
from enet_ros.errors import EnetError
from enet_ros.evaluation.evaluate import evaluate
from enet_ros.files import check_writable, write_json
from enet_ros.network.model_file import read_model
from enet_ros.segmenter import Segmenter
from enet_ros.training.loop import train_stages
from enet_ros.training.recipe import Recipe, read_recipe

RECIPE = Path(__file__).parents[1] / 'config' / 'train' / 'finetune.yaml'
WARMUP_STEPS = 50
"""In place of the recipe's epochs, which have different numbers of steps."""


def main(command: Sequence[str] | None = None) -> None:
    """Read the arguments, train and measure, or draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, metavar='DIR', help='prepared dataset with the splits train and val')
    parser.add_argument('--drive', metavar='PREFIX', help='use only the images with a name that starts with this')
    parser.add_argument('--counts', type=int, nargs='+', metavar='N', help='numbers of images; 0 measures --weights')
    parser.add_argument('--steps', type=int, default=1000, metavar='N', help='steps of each training (default: %(default)s)')
    parser.add_argument('--config', type=Path, metavar='FILE', default=RECIPE,
                        help='recipe of one stage; splits, epochs and warmup_epochs are replaced (default: %(default)s)')
    parser.add_argument('--set', action='append', default=[], metavar='KEY=VALUE', dest='changes', help='as in "enet train"')
    parser.add_argument('--weights', type=Path, metavar='FILE', help='start with the weights of this model file')
    parser.add_argument('--json', type=Path, metavar='FILE', help='file of the results; numbers that it has are skipped')
    parser.add_argument('--compile', action='store_true', help='as in "enet train"')
    parser.add_argument('--draw', type=Path, nargs='+', metavar='PATH', help='picture to draw, then files of results')
    arguments = parser.parse_args(command)
    if arguments.draw:
        draw(arguments.draw[0], arguments.draw[1:])
        return
    if not (arguments.data and arguments.counts and arguments.json):
        parser.error('give --data, --counts and --json, or --draw')
    try:
        dataset, recipe = read_dataset(arguments.data), read_recipe(arguments.config, arguments.changes)
        start = read_model(arguments.weights) if arguments.weights else None
        train, measured = divide(dataset, arguments.drive)
        if not measured:
            parser.error(f'--drive {arguments.drive}: {arguments.data} has no images with such names')
        check_writable(arguments.json)
        if not max(arguments.counts) <= len(train) or min(arguments.counts) < (0 if start else 1):
            parser.error(f'--counts must be in [{0 if start else 1}, {len(train)}]')
        try:
            results: dict[str, Any] = json.loads(arguments.json.read_text()) if arguments.json.is_file() else {}
        except ValueError as error:
            parser.error(f'{arguments.json} is damaged ({error}): remove it')
        for count in arguments.counts:
            if str(count) in results:
                continue
            with tempfile.TemporaryDirectory() as folder:
                chosen = [train[number * len(train) // count] for number in range(count)]
                model = start
                if count:
                    fitted = recipe_of_steps(recipe, arguments.steps, count)
                    subset = link(dataset, chosen, Path(folder) / 'data')
                    model = read_model(train_stages(subset, fitted, Path(folder) / 'run', False, arguments.compile, start))
                assert model
                results[str(count)] = evaluate(Segmenter(model, EngineSpec('torch', 'fp32')), measured).summary()
            write_json(arguments.json, results)
            print(f'{count} images: mean IoU {100 * results[str(count)]["mean_iou"]:.1f} %', flush=True)
    except EnetError as error:
        parser.error(str(error))


def divide(dataset: Dataset, drive: str | None) -> tuple[list[Sample], list[Sample]]:
    """Return the samples to train on, in the order of their names, and those to measure."""
    if drive is None:
        return dataset.samples('train'), dataset.samples('val')
    samples = [sample for split in dataset.pixels for sample in dataset.samples(split) if sample.stem.startswith(drive)]
    samples.sort(key=lambda sample: sample.stem)  # the splits may be mixed
    half = len(samples) // 2  # neighbouring images are alike: only the border between the halves has such pairs
    return samples[:half], samples[half:]


def recipe_of_steps(recipe: Recipe, steps: int, images: int) -> Recipe:
    """Return `recipe` with as many epochs of `images` images as have about `steps` steps."""
    epoch = max(1, images // recipe.batch_size)
    stage = replace(recipe.stages[0], epochs=max(1, round(steps / epoch)))
    return replace(recipe, splits=('train',), warmup_epochs=min(WARMUP_STEPS / epoch, stage.epochs), stages=(stage,))


def link(dataset: Dataset, samples: Sequence[Sample], root: Path) -> Dataset:
    """Return a dataset in `root` that has only `samples`, in split train."""
    for sample in samples:
        for path in (sample.image_path, sample.labels_path):
            target = root / 'train' / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path.resolve())
    return replace(dataset, root=root, pixels={'train': [0] * len(dataset.labels)})


def draw(picture: Path, files: Sequence[Path]) -> None:
    """Draw mean IoU against the number of images, one line for each file of results, named after it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout='constrained')
    axes = figure.subplots()
    for path in files:
        results = {int(count): 100 * summary['mean_iou'] for count, summary in json.loads(path.read_text()).items()}
        counts = sorted(results)
        axes.plot(counts, [results[count] for count in counts], marker='o', label=path.stem.replace('_', ' '))
    axes.set(xlabel='training images', ylabel='mean IoU in %')
    axes.set_xscale('symlog', linthresh=10)
    ticks = sorted({int(count) for path in files for count in json.loads(path.read_text())})
    axes.set_xticks(ticks, [str(count) for count in ticks])
    axes.minorticks_off()
    axes.grid(color='0.85')
    axes.legend(frameon=False)
    figure.savefig(picture, dpi=110)


if __name__ == '__main__':
    main()
