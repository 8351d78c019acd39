"""Floor 3: adversarial alignment of the output space: of whole maps, and of patches in a clustered space.

    network and H:   Σ_l α_l CE(f_l(x_s), y_s) + λ_d CE(H(p_s), Γ(y_s)) + λ_g BCE(D_g(p_t), 0) + λ_l BCE(D_l(F_t), 0)
    discriminators:  ½ [BCE(D_g(p_s), 0) + BCE(D_g(p_t), 1)]      and      ½ [BCE(D_l(F_s), 0) + BCE(D_l(F_t), 1)]

p is the deepest head's softmax, F = softmax H(p) says of which cluster each patch is, and Γ(y) is the cluster that a
patch is of by its label: K-means over what the quarters of the source's patches hold, once a round.

Source: Tsai, Sohn, Schulter and Chandraker, Domain Adaptation for Structured Output via Discriminative Patch
Representations, ICCV 2019. No code was published with it. Departures: docs/methods/patch_align.md.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import ignite.distributed as idist
import torch
from torch import Tensor, nn

from prostate_uda.data.batch import Batch
from prostate_uda.errors import DataError, SettingsError
from prostate_uda.maths.losses import IGNORE, cross_entropy
from prostate_uda.maths.patches import cluster_centers, nearest_center, patch_histograms, thinned
from prostate_uda.methods.adversarial import SOURCE, TARGET, discriminator_optimizer, domain_loss, new_discriminator
from prostate_uda.methods.base import (
    Losses,
    Method,
    State,
    check_level_weights,
    check_weight,
    descend,
    forward,
    forward_unmoved,
    labelled,
    segmentation_loss,
    summed,
    total,
)
from prostate_uda.networks.discriminators import LEAK
from prostate_uda.networks.optimization import Optimization
from prostate_uda.networks.teacher import Teacher

PATCHES = 100_000
"""Most source patches that one process clusters; of more, every second, fourth, ... one."""
WIDTHS = (256, 512)
"""Of the patch discriminator's layers before the last."""


@dataclass(frozen=True, kw_only=True)
class PatchAlign(Method):
    """One discriminator on the deepest head's softmax, one on the clusters that its patches are predicted as.

    Attributes:
        level_weights: α of the segmentation loss, shallow to deep.
        patch_weight: λ_d.
        adversarial_weight: λ_g, of whole maps.
        patch_adversarial_weight: λ_l, of patches.
        clusters: K; as many as there are different patches, where these are fewer.
        grid: Patches along each side: a patch is this part of the image.
        head_channels: Between the two convolutions of H.
        discriminator_rate: Adam's rate for both discriminators.
        discriminator_channels: Channels of D_g's first layer.
        discriminator_stages: Stride-2 stages of D_g.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"survey"})
    level_weights: tuple[float, ...] = (0.1, 1.0)
    patch_weight: float = 0.01
    adversarial_weight: float = 5e-4
    patch_adversarial_weight: float = 5e-4
    clusters: int = 50
    grid: int = 16
    head_channels: int = 64
    discriminator_rate: float = 1e-4
    discriminator_channels: int = 64
    discriminator_stages: int = 4

    def __post_init__(self) -> None:
        check_level_weights(self.level_weights)
        for name in ("patch_weight", "adversarial_weight", "patch_adversarial_weight"):
            check_weight(name, getattr(self, name))
        if not 2 <= self.clusters < IGNORE:
            raise SettingsError(f"clusters {self.clusters}; allowed is 2 to {IGNORE - 1}")
        for name in ("grid", "head_channels", "discriminator_channels", "discriminator_stages"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} {getattr(self, name)}; allowed is 1 or more")
        if not self.discriminator_rate > 0:
            raise SettingsError(f"discriminator_rate {self.discriminator_rate}; allowed is a rate > 0")

    def survey(self, source: Iterable[Batch], target: Iterable[Batch], teacher: Teacher) -> Mapping[str, Tensor]:  # noqa: ARG002  the source's labels alone
        """The clusters: K-means over the patches of all processes' source labels, made by the first process.

        Returns:
            ``centers`` ``(K, 4 C)``.

        Raises:
            DataError: no source slice has a patch with labels in all its quarters.
        """
        device, classes = teacher.thresholds.device, len(teacher.thresholds)
        found = (patch_histograms(batch.label, classes, self.grid) for batch in source)
        nothing = torch.zeros(0, 4 * classes)
        patches = _everyones(thinned((nothing, *(rows[known].cpu() for rows, known in found)), PATCHES).to(device))
        if not len(patches):
            raise DataError(f"no source slice has a labelled patch at grid {self.grid}; give labels, or a smaller grid")
        centers = cluster_centers(patches, self.clusters).to(device)
        if idist.get_rank() > 0:  # another machine may round otherwise
            centers = torch.zeros_like(centers)
        total([centers])
        return {"centers": centers}

    def prepare(
        self,
        network: nn.Module,
        optimization: Optimization,
        *,
        seed: int = 0,
        domain_predictor: nn.Module | None = None,  # noqa: ARG002  the contract of every method
        teacher: Teacher | None = None,
    ) -> State:
        """The network, a fresh H and two fresh discriminators, each with its optimizer; H moves as heads do.

        The clusters' centers are kept in a checkpoint: H knows clusters by their number, in a resumed run too.

        Raises:
            SettingsError: there is no teacher that has been asked for its :meth:`survey`.
        """
        if teacher is None or "centers" not in teacher.survey:
            raise SettingsError("patch-align has clusters of patches; give prepare(teacher=...) after survey()")
        centers = teacher.survey["centers"].clone()
        judge = new_discriminator(
            network, channels=self.discriminator_channels, stages=self.discriminator_stages, seed=seed
        )
        head, patch_judge = self.patch_networks(judge.num_classes, len(centers), seed + 1)
        modules = {"discriminator": judge, "head": head, "patch_discriminator": patch_judge}
        device = next(network.parameters()).device
        modules = {name: module.to(device) for name, module in modules.items()}
        optimizers = {
            "network": optimization.for_network(network),
            "head": optimization.build([{"params": list(head.parameters()), "factor": optimization.head_factor}]),
            "discriminator": discriminator_optimizer(judge, self.discriminator_rate),
            "patch_discriminator": discriminator_optimizer(patch_judge, self.discriminator_rate),
        }
        return State(network, optimizers, modules, {"centers": centers}, optimization=optimization)

    def patch_networks(self, classes: int, clusters: int, seed: int) -> tuple[nn.Module, nn.Module]:
        """H, from ``(B, C, H, W)`` maps to ``(B, K, grid, grid)`` logits, and D_l, from there to ``(B, 1, ...)``."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = nn.Sequential(
                nn.AdaptiveAvgPool2d(self.grid),
                nn.Conv2d(classes, self.head_channels, kernel_size=3, padding=1),
                nn.LeakyReLU(LEAK),
                nn.Conv2d(self.head_channels, clusters, kernel_size=3, padding=1),
            )
            first, second = WIDTHS
            judge = nn.Sequential(  # a convolution of one pixel is a fully connected layer on each patch's vector
                nn.Conv2d(clusters, first, kernel_size=1),
                nn.LeakyReLU(LEAK),
                nn.Conv2d(first, second, kernel_size=1),
                nn.LeakyReLU(LEAK),
                nn.Conv2d(second, 1, kernel_size=1),
            )
        return head, judge

    def step(self, state: State, source: Batch, target: Batch) -> Losses:
        """Network and H (segment and categorize the source, fool both judges), then the judges on what was there."""
        state.network.train()
        state.schedule()
        head, judge, patch_judge = (
            state.modules[name].train() for name in ("head", "discriminator", "patch_discriminator")
        )
        on_source, on_target = forward_unmoved(state.network, source.image), forward(state.network, target.image)
        segmentation = segmentation_loss(on_source, source.label, self.level_weights)
        maps = [levels.final.softmax(dim=1) for levels in (on_source, on_target)]
        clusters = [head(seen) for seen in maps]
        patches = [logits.softmax(dim=1) for logits in clusters]
        categories = self.categorization(state, clusters[0], source.label)
        fooling, patch_fooling = domain_loss(judge(maps[1]), SOURCE), domain_loss(patch_judge(patches[1]), SOURCE)
        alignment = self.adversarial_weight * fooling + self.patch_adversarial_weight * patch_fooling
        _descend_both(state, segmentation + self.patch_weight * categories + alignment)

        telling = _telling(judge, maps)
        descend(state.optimizers["discriminator"], telling)
        patch_telling = _telling(patch_judge, patches)
        descend(state.optimizers["patch_discriminator"], patch_telling)
        state.step += 1
        return summed(
            source=segmentation,
            patches=categories,
            fooling=fooling,
            patch_fooling=patch_fooling,
            discriminator=telling,
            patch_discriminator=patch_telling,
        )

    def categorization(self, state: State, logits: Tensor, label: Tensor) -> Tensor:
        """``CE(H(p_s), Γ(y_s))``, this process's share of the mean over labelled patches.

        Args:
            state: Has the centers.
            logits: ``(B, K, grid, grid)`` of H.
            label: ``(B, H, W)``.
        """
        centers = state.tensors["centers"]
        histograms, known = patch_histograms(label, centers.shape[1] // 4, self.grid)
        cluster = nearest_center(histograms, known, centers)
        return cross_entropy(logits, cluster, labelled(cluster))


def _telling(judge: nn.Module, seen: list[Tensor]) -> Tensor:
    """``½ [BCE(D(source), 0) + BCE(D(target), 1)]`` on detached maps."""
    on_source, on_target = (judge(part.detach()) for part in seen)
    return (domain_loss(on_source, SOURCE) + domain_loss(on_target, TARGET)) / 2


def _descend_both(state: State, loss: Tensor) -> None:
    """Move network and H along one loss, after one backward pass."""
    head = state.optimizers["head"]
    head.zero_grad(set_to_none=True)
    descend(state.optimizers["network"], loss)
    parameters = (value for group in head.param_groups for value in group["params"])
    total(value.grad for value in parameters if value.grad is not None)
    head.step()


def _everyones(rows: Tensor) -> Tensor:
    """``(N, F)``: the rows of all processes, one process after another."""
    counts = torch.zeros(idist.get_world_size(), dtype=torch.int64, device=rows.device)
    counts[idist.get_rank()] = len(rows)
    total([counts])
    whole = rows.new_zeros(int(counts.sum()), rows.shape[1])
    start = int(counts[: idist.get_rank()].sum())
    whole[start : start + len(rows)] = rows
    total([whole])
    return whole
