"""Unsupervised domain adaptation for prostate MRI segmentation; importing this imports no torch."""

from importlib.metadata import version

__version__ = version("prostate-uda")
__all__ = ["__version__"]
