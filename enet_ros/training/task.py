"""One stage of a recipe as a Lightning module: training step, validation, optimizer and learning rate.

The samples of a step, their random views and dropout depend only on the seed and the step. A resumed run therefore computes
the same as one that never stopped. Under torchrun, each process computes its share of every batch.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from enet_ros.errors import TrainingError
from enet_ros.evaluation.evaluate import Evaluator
from enet_ros.evaluation.metrics import mean_iou
from enet_ros.labels import LabelSet
from enet_ros.training.augmentation import augment
from enet_ros.training.data import Images
from enet_ros.training.losses import LOVASZ_STRIDE, lovasz_softmax, segmentation_loss
from enet_ros.training.recipe import Recipe, Stage

log = logging.getLogger(__name__)

Tensors = tuple[Tensor, ...] | list[Tensor]


class SegmentationTask(lightning.LightningModule):
    """One stage of a recipe: training step, validation, optimizer and learning rate."""

    class_weights: Tensor

    def __init__(self, network: nn.Module, recipe: Recipe, stage: Stage, labels: LabelSet, train: Images, val: Images,
                 weights: Tensor) -> None:
        """Train `network` on `train` with the class weights `weights` and validate on `val`."""
        super().__init__()
        self.network = network
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # buffers too: averaged weights need averaged normalization statistics
        self.average = AveragedModel(network, multi_avg_fn=self._update_average, use_buffers=True).requires_grad_(False)
        self.recipe = recipe
        self.stage = stage
        self.train_images = train  # not a buffer: buffers are saved in checkpoints and sent between processes
        self.val_images = val
        self.register_buffer('class_weights', weights, persistent=False)
        self.cross_entropy: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]] = segmentation_loss
        self.evaluator = Evaluator(labels)

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of whole batches. The samples left over differ from epoch to epoch."""
        return max(1, len(self.train_images.names) // self.recipe.batch_size)

    def on_fit_start(self) -> None:
        """Move the images to the device that trains."""
        self.place_images(_free_memory(self.device))

    def place_images(self, free: float) -> None:
        """Move the images to the device that trains, unless they need more than half of its `free` bytes."""
        needed = self.train_images.bytes + self.val_images.bytes
        if needed > free / 2:
            log.info('the images stay in main memory: %.1f GB are more than half of the free GPU memory', needed / 1e9)
        else:
            self.train_images, self.val_images = self.train_images.to(self.device), self.val_images.to(self.device)

    def on_train_start(self) -> None:
        """Use the learning rate of the recipe, not of the checkpoint: a resumed run may have a lower one."""
        self._validate_last_epoch()  # Lightning does not call on_train_epoch_start when it resumes within an epoch
        schedule = self.trainer.lr_scheduler_configs[0].scheduler
        schedule.base_lrs = [self.stage.learning_rate] * len(schedule.base_lrs)
        for group in self.trainer.optimizers[0].param_groups:
            group['lr'] = self.stage.learning_rate * self._rate(self.global_step)

    def on_train_epoch_start(self) -> None:
        """Validate the last epoch."""
        self._validate_last_epoch()

    def _validate_last_epoch(self) -> None:
        """Have Lightning validate the last epoch: with the lowest learning rate, it is usually the best one."""
        if self.current_epoch == self.stage.epochs - 1:
            self.trainer.check_val_every_n_epoch = 1

    def on_fit_end(self) -> None:
        """Free the images on the device; the next stage moves its own there."""
        del self.train_images, self.val_images

    def _batch(self) -> Tensor:
        """Return the indices of this step's samples."""
        epoch, position = divmod(self.global_step, self.steps_per_epoch)
        shuffle = torch.Generator().manual_seed(self.recipe.seed * 100_003 + epoch)
        order = torch.randperm(len(self.train_images.names), generator=shuffle)
        return order[position * self.recipe.batch_size :][: self.recipe.batch_size]

    @property
    def _share(self) -> slice:
        """Return the share of a batch that this process computes."""
        return slice(self.global_rank, None, self.trainer.world_size)

    def training_step(self, _: object) -> Tensor:
        """Return the loss of random views of the samples of this step."""
        indices = self._batch()
        seed = (self.recipe.seed * 1_000_003 + self.global_step) * 1009
        images, labels = augment(
            self.train_images.images[indices].to(self.device), self.train_images.labels[indices].to(self.device),
            self.stage.crop, self.stage.scale, self.stage.rotation, self.recipe.jitter, torch.manual_seed(seed), self._share,
        )
        if self.global_rank:  # dropout uses the random numbers after those of the views; each process needs others
            torch.manual_seed(seed + self.global_rank)
        indices = indices[self._share]
        scores = self.network(images.contiguous(memory_format=torch.channels_last))
        labels = self._targets(labels)
        total, weight = self.cross_entropy(scores, labels, self.class_weights)
        # the average over processes of gradients divided by the mean weight is the gradient of the whole batch
        weight = self.trainer.strategy.reduce(weight, reduce_op='mean')
        loss = total / weight.clamp(min=torch.finfo(weight.dtype).tiny)
        if self.stage.loss == 'cross_entropy+lovasz':
            sparse = slice(LOVASZ_STRIDE // 2, None, LOVASZ_STRIDE)
            loss = loss + lovasz_softmax(scores[:, :, sparse, sparse], labels[:, sparse, sparse])
        if not torch.isfinite(loss):
            names = ', '.join(self.train_images.names[index] for index in indices.tolist())
            raise TrainingError(
                f'the loss is {loss.item()} in stage {self.stage.name}, epoch {self.current_epoch}, step {self.global_step} '
                f'(samples {names}): add --resume and use a lower learning_rate'
            )
        figures = {'loss': loss.detach(), 'learning_rate': self.trainer.optimizers[0].param_groups[0]['lr']}
        self.log_dict(figures, on_step=False, on_epoch=True, prog_bar=True, sync_dist=True, batch_size=len(indices))
        return loss

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - Lightning's
        """Make the step and update the moving average now, before a later hook saves a checkpoint."""
        super().optimizer_step(*arguments, **options)
        self.average.update_parameters(self.network)

    def _update_average(self, average: Tensors, current: Tensors, count: Tensor | int) -> None:
        """Move `average` towards `current`, further in the first steps: a short run must not keep its initial weights."""
        decay = min(self.recipe.ema_decay, (1 + self.global_step) / (10 + self.global_step))
        get_ema_multi_avg_fn(decay)(average, current, count)  # type: ignore[no-untyped-call]

    def validation_step(self, batch: tuple[Tensor]) -> None:
        """Count the predictions of the averaged weights for the samples with the indices in `batch`."""
        indices = batch[0][self._share].cpu()  # Lightning moved them, but the images may be in main memory
        if len(indices):
            images = self.val_images.images[indices].to(self.device).float() / 255
            scores = self.average(images.contiguous(memory_format=torch.channels_last))
            labels = self._targets(self.val_images.labels[indices])
            for truth, predicted in zip(labels.cpu().numpy(), scores.argmax(1).to(torch.uint8).cpu().numpy()):
                self.evaluator.update(truth, predicted)

    def on_validation_epoch_end(self) -> None:
        """Log the mean IoU on the validation samples, counted over all processes."""
        counts = torch.from_numpy(self.evaluator.result().confusion).to(self.device)
        confusion = self.trainer.strategy.reduce(counts, reduce_op='sum').cpu().numpy()
        self.log('val_mean_iou', mean_iou(confusion) or 0.0, prog_bar=True)
        self.evaluator = Evaluator(self.evaluator.labels)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return the optimizer (paper section 5.2: Adam) and the schedule of the learning rate."""
        kind = torch.optim.Adam if self.recipe.optimizer == 'adam' else torch.optim.AdamW
        weights = [parameter for parameter in self.network.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in self.network.parameters() if parameter.ndim == 1]
        # fused saves 0.01 of 0.2 s for a step of four half-size crops on two cores
        optimizer = kind([{'params': weights, 'weight_decay': self.recipe.weight_decay},
                          {'params': others, 'weight_decay': 0.0}], self.stage.learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {'optimizer': optimizer, 'lr_scheduler': {'scheduler': schedule, 'interval': 'step'}}

    def _rate(self, step: int) -> float:
        """Return the factor of the stage's learning rate at `step`, 0 to 1."""
        warmup, steps = self.recipe.warmup_epochs * self.steps_per_epoch, self.stage.epochs * self.steps_per_epoch
        if step < warmup:
            return (step + 1) / (warmup + 1)
        rest = max(0.0, (steps - step) / max(1.0, steps - warmup))
        return 0.5 * (1 - math.cos(math.pi * rest)) if self.recipe.schedule == 'cosine' else float(rest**0.9)

    def _targets(self, labels: Tensor) -> Tensor:
        """Return the labels at the size of the network's output, which is an eighth for the encoder."""
        return labels[:, 4::8, 4::8] if self.stage.network == 'encoder' else labels


def _free_memory(device: torch.device) -> float:
    """Return the free bytes of a GPU; infinity for the CPU, whose memory holds the images already."""
    return torch.cuda.mem_get_info(device)[0] if device.type == 'cuda' else math.inf
