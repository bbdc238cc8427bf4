"""The last steps of a run: evaluate the model, write the results into it, draw curves, export the graph."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from enet_ros.datasets.prepared import Dataset
from enet_ros.engines.base import EngineSpec
from enet_ros.engines.onnx_graph import add_graph
from enet_ros.evaluation.charts import draw_curves, draw_if_possible
from enet_ros.evaluation.evaluate import Evaluation, evaluate, trained_on
from enet_ros.evaluation.report import write_report
from enet_ros.network.model_file import read_model, write_model
from enet_ros.segmenter import Segmenter
from enet_ros.training.data import choose_samples
from enet_ros.training.history import read_history
from enet_ros.training.machine import is_main_process
from enet_ros.training.recipe import Recipe

CURVES, REPORT = 'curves.png', 'report'


@dataclass(frozen=True)
class FinishedRun:
    """The results of a run."""

    model: Path
    """The model file."""
    evaluation: Evaluation | None = None
    """On the validation samples; None without any, and in all processes but the first."""
    heading: str = ''
    """What `evaluation` is of: model, samples, engine."""


def finish(path: Path, dataset: Dataset, recipe: Recipe) -> FinishedRun:
    """Finish the run whose stages wrote the model file `path`.

    Write the curves, the ONNX graph and, where there are validation samples, their results into the model file and the
    report. Processes other than the first one do nothing.

    Raises:
        EnetError: a file cannot be read or written, or PyTorch cannot export the graph.

    """
    if not is_main_process():
        return FinishedRun(path)
    folder = path.parent
    histories = [read_history(folder / stage.name) for stage in recipe.stages]
    draw_if_possible(folder / CURVES, lambda chart: draw_curves(chart, histories))
    _, validation = choose_samples(dataset, recipe)
    run = FinishedRun(path)
    if validation:
        model = read_model(path)
        # PyTorch in float32 is the reference for every other engine
        evaluation = evaluate(Segmenter(model, EngineSpec('torch', 'fp32')), validation)
        split = f'{", ".join(recipe.hold_out)} of {"+".join(recipe.splits)}' if recipe.hold_out else 'val'
        # the weights that the run started with were
        if trained_on(model.info, dataset.name, (sample.key for sample in validation)):
            split += ' (trained on)'
        write_model(path, replace(model.info, metrics={split: evaluation.summary()}), model.weights)
        heading = f'{path.name} on {split} of {dataset.name}: {evaluation.images} images, torch fp32'
        write_report(folder / REPORT, heading, evaluation, {'model': str(path), 'split': split})
        run = FinishedRun(path, evaluation, heading)
    add_graph(path)
    return run
