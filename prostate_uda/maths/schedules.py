"""Floor 1: settings that change over training, as functions of the step."""


def poly(step: int, total: int, power: float) -> float:
    """``(1 - step / total) ** power``: DeepLab's learning-rate decay (Chen et al., TPAMI 2017), 0 past the end."""
    return float(max(0.0, 1 - step / max(total, 1)) ** power)
