"""Floor 5: one step of every stage on an image of noise, before a run leaves anything on disk.

What does not fit together (level weights and heads, discriminator and image size, weights and network) is told now, not
after hours of source training.
"""

import copy

import torch
from torch import nn

from prostate_uda.data.batch import Batch
from prostate_uda.engines.trainer import AdaptationTrainer
from prostate_uda.errors import ProstateUDAError, SettingsError
from prostate_uda.methods import TEACHERS, AdaptSegNet, Method, SourceOnly
from prostate_uda.networks.teacher import Teacher
from prostate_uda.recipes.settings import AdaptSettings


def rehearse(settings: AdaptSettings, network: nn.Module) -> None:
    """Run one step of each stage with a copy of the network.

    Args:
        settings: Of the run.
        network: As it is before any training; left as it is.

    Raises:
        SettingsError: a stage cannot run with these settings.
    """
    method = settings.build_method()
    stages: list[Method] = [SourceOnly(), method]
    if settings.trains_predictor:
        stages.insert(1, AdaptSegNet())
    if settings.before_rounds is not None:
        stages.insert(1, settings.before_rounds.build_method())
    generator = torch.Generator().manual_seed(settings.seed)
    shape, classes = settings.shape, len(settings.kind.classes)
    image = torch.randn(2, settings.channels, *shape, generator=generator)
    label = torch.randint(classes, (2, *shape), generator=generator)
    batch = Batch(image, label, index=torch.arange(2))
    for stage in stages:
        try:
            _step_once(stage, copy.deepcopy(network), settings, batch)
        except ProstateUDAError as error:
            raise SettingsError(f"{settings.method} with {settings.network}: {error}") from error
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise SettingsError(
                f"{type(stage).__name__} cannot run with {settings.network} on {shape[0]} pixels ({reason}); "
                "choose another --size, --network or --set"
            ) from error


def _step_once(method: Method, network: nn.Module, settings: AdaptSettings, batch: Batch) -> None:
    teacher, classes = None, len(settings.kind.classes)
    if TEACHERS & method.needs:
        teacher = Teacher(network, torch.ones(classes), torch.eye(classes))
        if "survey" in method.needs:
            placed = batch.to(teacher.thresholds.device)
            teacher.survey = method.survey([placed], [placed], teacher)
    optimization = settings.optimization(settings.learning_rate, 1)
    state = method.prepare(network, optimization, seed=settings.seed, teacher=teacher)
    settings.execution.lay_out(state)
    trainer = AdaptationTrainer(
        device=next(network.parameters()).device,
        max_epochs=1,
        data_loader=(),
        method=method,
        adaptation=state,
        epoch_length=1,
        **settings.execution.trainer_options,
    )
    placed = trainer.placed(batch)
    trainer.compute(placed, placed)
