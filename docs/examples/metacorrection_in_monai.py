"""MetaCorrection in a MONAI script of your own: stock loaders, stock handlers, no recipe of ours.

python docs/examples/metacorrection_in_monai.py [FOLDER FOR CHECKPOINTS]
"""

import sys

import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.handlers import CheckpointSaver, MeanDice, StatsHandler, ValidationHandler, from_engine
from monai.transforms import AsDiscreted

from prostate_uda.engines import MetaCorrectionTrainer
from prostate_uda.networks import FinalLogits, build_network

torch.manual_seed(0)
folder = sys.argv[1] if len(sys.argv) > 1 else "checkpoints"
axis = torch.linspace(-1, 1, 64).square()
disc = ((axis[:, None] + axis) < 0.36).long() + ((axis[:, None] + axis) < 0.09).long()  # two nested zones


def scans(brightness: float) -> DataLoader:  # yours come from files; the target's labels are pseudo-labels
    items = [{"image": brightness * disc[None] + 0.3 * torch.randn(1, 64, 64), "label": disc[None]} for _ in range(32)]
    return DataLoader(Dataset(items), batch_size=4)


source, target, device = scans(1.0), scans(0.7), torch.device("cpu")
network = build_network("deeplab-small", in_channels=1, num_classes=3)
one_hot = AsDiscreted(["pred", "label"], argmax=[True, False], to_onehot=3)
dice = MeanDice(include_background=False, output_transform=from_engine(["pred", "label"]))
evaluator = SupervisedEvaluator(
    device, target, FinalLogits(network), postprocessing=one_hot, key_val_metric={"dice": dice}
)
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
handlers = [
    ValidationHandler(interval=1, validator=evaluator),
    StatsHandler(output_transform=from_engine(["loss"], first=True)),
    CheckpointSaver(folder, {"network": network, "optimizer": optimizer}, save_final=True),
]
trainer = MetaCorrectionTrainer(
    device=device, max_epochs=3, source_loader=source, target_loader=target, network=network, optimizer=optimizer,
    train_handlers=handlers,
)  # fmt: skip
trainer.run()
print(f"Dice {evaluator.state.metrics['dice']:.3f}, NTMs {tuple(trainer.transitions.shape)}")
