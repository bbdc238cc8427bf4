"""Estimate the metrics of a run with other class weights, on its validation samples, without another training.

A network trained with class weights w has learned the class frequencies times w. For other weights v, log(v / w) is added to
the scores (logit adjustment, Menon et al. 2021). A training with v can do better, but this takes seconds and is not random.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import torch

from enet_ros.datasets.prepared import read_dataset
from enet_ros.errors import EnetError
from enet_ros.evaluation.evaluate import Evaluator, class_difference
from enet_ros.network.model_file import read_model
from enet_ros.network.registry import load_network
from enet_ros.training.data import choose_samples, load_images
from enet_ros.training.losses import class_weights
from enet_ros.training.recipe import read_recipe


@torch.inference_mode()
def main(command: Sequence[str] | None = None) -> None:
    """Read the arguments, count and print the metrics."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, required=True, metavar='DIR', help='prepared dataset of the run')
    parser.add_argument('run', type=Path, metavar='RUN', help='folder of a run with validation samples')
    parser.add_argument('constants', type=float, nargs='+', metavar='C',
                        help='constant c of the class weights 1 / ln(c + p), greater than 1')
    arguments = parser.parse_args(command)
    if wrong := [c for c in arguments.constants if not 1 < c < math.inf]:
        parser.error(f'c is {wrong[0]}: must be a finite number greater than 1')
    try:
        dataset, recipe = read_dataset(arguments.data), read_recipe(arguments.run / 'recipe.yaml')
        model = read_model(arguments.run / 'model.safetensors')
        if difference := class_difference(model.info.labels, dataset.labels):
            parser.error(f'{arguments.data} is not the dataset of {arguments.run}: {difference}')
        chosen = choose_samples(dataset, recipe)
        if not chosen[1]:
            parser.error(f'{arguments.run} has no validation samples: use a run with hold_out, or one not trained on val')
        train, held = (load_images(dataset, samples, recipe.size, 'reading') for samples in chosen)
    except EnetError as error:
        parser.error(str(error))
    if recipe.stages[-1].loss != 'cross_entropy':
        parser.error(f'{arguments.run} was trained with loss {recipe.stages[-1].loss}: use a run with loss cross_entropy')
    network = load_network(model)
    pixels = train.pixels(len(dataset.labels))
    used = class_weights(pixels, recipe.stages[-1].class_weight_constant)
    shifts = {c: (class_weights(pixels, c) / used).log().view(-1, 1, 1) for c in arguments.constants}
    evaluators = {c: Evaluator(dataset.labels) for c in shifts}
    for image, labels in zip(held.images, held.labels):
        scores = network(image[None].float() / 255)[0]
        for c, shift in shifts.items():
            evaluators[c].update(labels.numpy(), (scores + shift).argmax(0).to(torch.uint8).numpy())
    print('     c  mean IoU  class average  global')
    for c, evaluator in evaluators.items():
        summary = evaluator.result().summary()
        figures = (summary[name] for name in ('mean_iou', 'class_average', 'global_accuracy'))
        print('{:6} {:9.1f} {:14.1f} {:7.1f}'.format(c, *(100 * (figure or 0) for figure in figures)))


if __name__ == '__main__':
    main()
