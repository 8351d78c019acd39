"""Floor 5: the device that a user names."""

import torch

from prostate_uda.errors import SettingsError


def pick_device(name: str) -> torch.device:
    """``auto`` is CUDA where there is one, else the CPU.

    Raises:
        SettingsError: a device this machine does not have.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda", "mps"):
            raise RuntimeError(f"{device.type} computes nothing here")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(
            f"device {name!r} cannot be used here; choose auto, cpu or cuda where there is one"
        ) from error
    return device
