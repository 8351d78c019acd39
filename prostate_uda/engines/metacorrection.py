"""Floor 4: the paper's method as a trainer that needs nothing else of this package."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from prostate_uda.engines.trainer import AdaptationTrainer, PairedLoader
from prostate_uda.methods.metacorrection import MetaCorrection
from prostate_uda.networks.optimization import Optimization


class MetaCorrectionTrainer(AdaptationTrainer):
    """MetaCorrection (Guo et al., CVPR 2021) as a MONAI ``SupervisedTrainer``.

    Args:
        device: Where to train; the network is moved there.
        max_epochs: Epochs over the longer loader.
        source_loader: Yields ``{"image": (B, k, H, W), "label": (B, H, W) or (B, 1, H, W)}`` with clean labels.
        target_loader: The same with pseudo-labels, 255 where there is none.
        network: Returns :class:`prostate_uda.networks.Levels` and says ``num_classes``.
        optimizer: Over the network's parameters; ``None`` takes Adam at 1e-3. Rates are left to your handlers.
        method: The settings; the paper's by default.
        domain_predictor: ``(B, k, H, W)`` to ``(B, H, W)`` p(target), see
            :class:`prostate_uda.networks.DomainPredictor`. Without one, every labelled source pixel is meta data.
        options: Of ``monai.engines.SupervisedTrainer``.

    Attributes:
        adaptation: All that changes; has ``state_dict``, so a ``CheckpointSaver`` can save it.
        transitions: ``(L, C, C)`` noise transition matrices, shallow to deep (the start matrix in ``per-step`` mode).

    Raises:
        SettingsError: the network does not say ``num_classes``.
    """

    def __init__(
        self,
        *,
        device: torch.device | str,
        max_epochs: int,
        source_loader: Iterable[Any],
        target_loader: Iterable[Any],
        network: nn.Module,
        optimizer: torch.optim.Optimizer | None = None,
        method: MetaCorrection | None = None,
        domain_predictor: nn.Module | None = None,
        **options: Any,  # noqa: ANN401  handed on to MONAI unread
    ) -> None:
        method = MetaCorrection() if method is None else method
        network = network.to(device)
        predictor = None if domain_predictor is None else domain_predictor.to(device)
        adaptation = method.prepare(network, Optimization(), domain_predictor=predictor)
        adaptation.optimization = None
        if optimizer is not None:
            adaptation.optimizers["network"] = optimizer
        super().__init__(
            device=device,
            max_epochs=max_epochs,
            data_loader=PairedLoader(source_loader, target_loader),
            method=method,
            adaptation=adaptation,
            **options,
        )

    @property
    def transitions(self) -> Tensor:
        """``(L, C, C)``, detached."""
        return self.adaptation.tensors["ntm"].detach()
