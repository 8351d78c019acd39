"""Floor 1: how far a segmentation is from the truth; pure tensors, masks in, numbers out."""

from prostate_uda.metrics.iou import class_iou, confusion, intersection_union, mean_iou
from prostate_uda.metrics.overlap import dice, iou, zone_dice
from prostate_uda.metrics.summary import Interval, Summary, paired_bootstrap, summarize
from prostate_uda.metrics.surface import assd, hd95
from prostate_uda.metrics.volume import volume_ml

__all__ = [
    "Interval",
    "Summary",
    "assd",
    "class_iou",
    "confusion",
    "dice",
    "hd95",
    "intersection_union",
    "iou",
    "mean_iou",
    "paired_bootstrap",
    "summarize",
    "volume_ml",
    "zone_dice",
]
