"""Floor 5: the paper's own figures, to stand beside ours where the domains are the same; nothing else is."""

SOURCE = "Guo et al., CVPR 2021, table 3"
PAIR = ("decathlon", "nci-isbi13")
DICE: dict[str, tuple[float, float, float]] = {
    "source only": (28.48, 52.57, 47.56),
    "CBST": (38.22, 70.14, 64.31),
    "MaxSquare": (37.45, 69.61, 63.34),
    "MRENT": (40.82, 72.39, 67.68),
    "DMLC, single level": (42.03, 74.09, 69.38),
    "MetaCorrection": (43.25, 74.31, 70.87),
}
"""PZ, TZ and WP in points. Whether its WP is the union's or the pooled one, the paper does not say."""
NOTE = f"published: {SOURCE}; other splits, networks and preprocessing, so it is no row of this table"
