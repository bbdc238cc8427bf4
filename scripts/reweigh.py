"""Tell what other class weights would have made of a run: mean IoU and accuracies on what it held out, by their constant c.

A network that was trained with class weights sees class k as if it were that many times as frequent. Scores to which the
logarithm of the weights' quotient is added decide as if it had been trained with the others (Menon et al. 2021, logit
adjustment): less than a training with them, but it takes seconds and leaves chance out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from enet_ros.datasets.prepared import read_dataset
from enet_ros.errors import EnetError
from enet_ros.evaluation.metrics import class_average, confusion_matrix, global_accuracy, mean_iou
from enet_ros.network.model_file import read_model
from enet_ros.network.registry import load_network
from enet_ros.training.data import choose_samples, load_images
from enet_ros.training.losses import class_weights
from enet_ros.training.recipe import read_recipe


@torch.inference_mode()
def main() -> None:
    """Read the arguments, count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, required=True, metavar='DIR', help='the dataset of the run')
    parser.add_argument('run', type=Path, metavar='RUN', help='folder of a run that held something out')
    parser.add_argument('constants', type=float, nargs='+', metavar='C', help='what c might have been; above 1')
    arguments = parser.parse_args()
    if min(arguments.constants) <= 1:
        parser.error(f'c is {min(arguments.constants)}: it must be above 1')
    try:
        dataset, recipe = read_dataset(arguments.data), read_recipe(arguments.run / 'recipe.yaml')
        model = read_model(arguments.run / 'model.safetensors')
        if model.info.labels.names != dataset.labels.names:
            parser.error(f'{arguments.data} has other classes than {arguments.run}: give the dataset of the run')
        chosen = choose_samples(dataset, recipe)
        if not chosen[1]:
            parser.error(f'{arguments.run} held nothing out: give a run with hold_out, or one that left val out')
        train, held = (load_images(dataset, samples, recipe.size, 'reading') for samples in chosen)
    except EnetError as error:
        parser.error(str(error))
    network, classes = load_network(model).eval(), len(dataset.labels)
    pixels = train.pixels(classes)
    used = class_weights(pixels, recipe.stages[-1].class_weight_constant)
    shifts = {c: (class_weights(pixels, c) / used).log().view(-1, 1, 1) for c in arguments.constants}
    counts = {c: np.zeros((classes, classes + 1), np.int64) for c in shifts}
    for image, labels in zip(held.images, held.labels):
        scores = network(image[None].float() / 255)[0]
        for c, shift in shifts.items():
            counts[c] += confusion_matrix(labels.numpy(), (scores + shift).argmax(0).to(torch.uint8).numpy(), classes)
    print('     c  mean IoU  class average  global')
    for c, confusion in counts.items():
        figures = (mean_iou(confusion), class_average(confusion), global_accuracy(confusion))
        print('{:6} {:9.1f} {:14.1f} {:7.1f}'.format(c, *(100 * (figure or 0) for figure in figures)))


if __name__ == '__main__':
    main()
