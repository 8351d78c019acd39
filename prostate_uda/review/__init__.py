"""Floor 2, review: what a radiologist looks at."""

from prostate_uda.review.pictures import StripCase, comparison_strip, contour_figure

__all__ = ["StripCase", "comparison_strip", "contour_figure"]
