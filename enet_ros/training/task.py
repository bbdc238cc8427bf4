"""One stage of a recipe as a Lightning module: what a step, a validation and the learning rate are.

Which samples a step sees, how it changes them and what dropout drops depends on seed and step alone: that is what makes a
resumed run go on as if it had never stopped. Under torchrun each process computes its share of every batch.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchmetrics.classification import MulticlassConfusionMatrix

from enet_ros.errors import TrainingError
from enet_ros.evaluation.metrics import mean_iou
from enet_ros.labels import VOID
from enet_ros.training.augmentation import augment
from enet_ros.training.data import Images
from enet_ros.training.losses import segmentation_loss
from enet_ros.training.recipe import Recipe, Stage

log = logging.getLogger(__name__)

Tensors = tuple[Tensor, ...] | list[Tensor]


class SegmentationTask(lightning.LightningModule):
    """One stage of a recipe: what a step, a validation and the learning rate are."""

    class_weights: Tensor

    def __init__(self, network: nn.Module, recipe: Recipe, stage: Stage, train: Images, val: Images,
                 weights: Tensor) -> None:
        """Train `network` on `train` with the class weights `weights`; the data moves to the training device as a whole."""
        super().__init__()
        self.network = network
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # buffers, too: the averaged weights want the averaged statistics of the normalisations
        self.average = AveragedModel(network, multi_avg_fn=self._update_average, use_buffers=True).requires_grad_(False)
        self.recipe = recipe
        self.stage = stage
        self.train_images = train  # no buffers, which would be saved with every checkpoint and sent between processes
        self.val_images = val
        self.register_buffer('class_weights', weights, persistent=False)
        self.confusion = MulticlassConfusionMatrix(len(weights), ignore_index=VOID, validate_args=False)

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of whole batches; what is left over changes with the shuffle from epoch to epoch."""
        return max(1, len(self.train_images.names) // self.recipe.batch_size)

    def on_fit_start(self) -> None:
        """Move the images to where the training runs, unless they would take more than half of what is free there."""
        if self.train_images.bytes + self.val_images.bytes > _free_memory(self.device) / 2:
            log.info('the images stay in main memory: %.1f GB are more than half of what is free on the GPU',
                     (self.train_images.bytes + self.val_images.bytes) / 1e9)
        else:
            self.train_images, self.val_images = self.train_images.to(self.device), self.val_images.to(self.device)

    def on_train_start(self) -> None:
        """Take the learning rate from the recipe, not from the checkpoint: a resumed run may have a lower one."""
        self._validate_last_epoch()  # Lightning starts no epoch that it resumes in its midst
        schedule = self.trainer.lr_scheduler_configs[0].scheduler
        schedule.base_lrs = [self.stage.learning_rate] * len(schedule.base_lrs)
        for group in self.trainer.optimizers[0].param_groups:
            group['lr'] = self.stage.learning_rate * self._rate(self.global_step)

    def on_train_epoch_start(self) -> None:
        """Look whether this is the last epoch."""
        self._validate_last_epoch()

    def _validate_last_epoch(self) -> None:
        """Have the last epoch validated, too: the learning rate's way down makes it the best one as a rule."""
        if self.current_epoch == self.stage.epochs - 1:
            self.trainer.check_val_every_n_epoch = 1

    def on_fit_end(self) -> None:
        """Let go of the images, which the next stage moves to the device again."""
        del self.train_images, self.val_images

    def _batch(self) -> Tensor:
        """Return the indices of this step's samples."""
        epoch, position = divmod(self.global_step, self.steps_per_epoch)
        shuffle = torch.Generator().manual_seed(self.recipe.seed * 100_003 + epoch)
        order = torch.randperm(len(self.train_images.names), generator=shuffle)
        return order[position * self.recipe.batch_size :][: self.recipe.batch_size]

    @property
    def _share(self) -> slice:
        """Return what of a batch this process computes."""
        return slice(self.global_rank, None, self.trainer.world_size)

    def training_step(self, _: object) -> Tensor:
        """Return the loss of random views of this step's samples."""
        indices = self._batch()
        seed = (self.recipe.seed * 1_000_003 + self.global_step) * 1009
        images, labels = augment(
            self.train_images.images[indices].to(self.device), self.train_images.labels[indices].to(self.device),
            self.stage.crop, self.stage.scale, self.recipe.jitter, torch.manual_seed(seed), self._share,
        )
        if self.global_rank:  # dropout goes on with the numbers that follow the views', in each process with others
            torch.manual_seed(seed + self.global_rank)
        indices = indices[self._share]
        scores = self.network(images.contiguous(memory_format=torch.channels_last))
        total, weight = segmentation_loss(scores, self._targets(labels), self.class_weights)
        # processes average their gradients: divided by the mean of their weights, they give those of the whole batch
        weight = self.trainer.strategy.reduce(weight, reduce_op='mean')
        loss = total / weight.clamp(min=torch.finfo(weight.dtype).tiny)
        if not torch.isfinite(loss):
            names = ', '.join(self.train_images.names[index] for index in indices.tolist())
            raise TrainingError(
                f'the loss is {loss.item()} in stage {self.stage.name}, epoch {self.current_epoch}, step {self.global_step} '
                f'(samples {names}): go on from the last checkpoint with --resume and a lower learning_rate'
            )
        figures = {'loss': loss.detach(), 'learning_rate': self.trainer.optimizers[0].param_groups[0]['lr']}
        self.log_dict(figures, on_step=False, on_epoch=True, prog_bar=True, sync_dist=True, batch_size=len(indices))
        return loss

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - Lightning's
        """Make the step and follow it with the moving average; later hooks may already save a checkpoint."""
        super().optimizer_step(*arguments, **options)
        self.average.update_parameters(self.network)

    def _update_average(self, average: Tensors, current: Tensors, count: Tensor | int) -> None:
        """Move `average` towards `current`: by much at first, else a run of few steps would keep what it began with."""
        decay = min(self.recipe.ema_decay, (1 + self.global_step) / (10 + self.global_step))
        get_ema_multi_avg_fn(decay)(average, current, count)  # type: ignore[no-untyped-call]

    def validation_step(self, batch: tuple[Tensor]) -> None:
        """Count the predictions of the averaged weights on the samples with the indices in `batch`."""
        indices = batch[0][self._share].cpu()  # Lightning moved it, and the images may have stayed in main memory
        if len(indices):
            images = self.val_images.images[indices].to(self.device).float() / 255
            scores = self.average(images.contiguous(memory_format=torch.channels_last))
            labels = self.val_images.labels[indices].to(self.device)
            self.confusion.update(scores.argmax(1), self._targets(labels).long())

    def on_validation_epoch_end(self) -> None:
        """Log the mean IoU on the validation samples."""
        # counted over all processes by now; nothing is predicted void
        counts = nn.functional.pad(self.confusion.compute(), (0, 1))
        self.log('val_mean_iou', mean_iou(counts.cpu().numpy()) or 0.0, prog_bar=True)
        self.confusion.reset()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return the optimizer (paper section 5.2: Adam) and the learning rate's way from zero up, and down to zero."""
        kind = torch.optim.Adam if self.recipe.optimizer == 'adam' else torch.optim.AdamW
        weights = [parameter for parameter in self.network.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in self.network.parameters() if parameter.ndim == 1]
        # fused: of 0.2 s for a step of four half-size crops on two cores it saves 0.01
        optimizer = kind([{'params': weights, 'weight_decay': self.recipe.weight_decay},
                          {'params': others, 'weight_decay': 0.0}], self.stage.learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {'optimizer': optimizer, 'lr_scheduler': {'scheduler': schedule, 'interval': 'step'}}

    def _rate(self, step: int) -> float:
        """Return the share of the stage's learning rate that `step` uses."""
        warmup, steps = self.recipe.warmup_epochs * self.steps_per_epoch, self.stage.epochs * self.steps_per_epoch
        if step < warmup:
            return (step + 1) / (warmup + 1)
        rest = max(0.0, (steps - step) / max(1.0, steps - warmup))
        return 0.5 * (1 - math.cos(math.pi * rest)) if self.recipe.schedule == 'cosine' else float(rest**0.9)

    def _targets(self, labels: Tensor) -> Tensor:
        """Return the labels that the stage's network predicts: its output is an eighth of the size for the encoder alone."""
        return labels[:, 4::8, 4::8] if self.stage.network == 'encoder' else labels


def _free_memory(device: torch.device) -> float:
    """Return how many bytes are free on a GPU; infinity for the CPU, where the images are already."""
    return torch.cuda.mem_get_info(device)[0] if device.type == 'cuda' else math.inf
