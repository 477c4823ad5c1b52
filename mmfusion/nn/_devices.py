"""Devices that torch can use here."""

from __future__ import annotations

from typing import Any

import torch

_ACCELERATORS = ("cuda", "mps", "xpu")


def available_devices() -> list[str]:
    """Return the names of all devices that torch can use, the CPU first."""
    devices = ["cpu"]
    for kind in _ACCELERATORS:
        module = getattr(torch, kind, None)
        if module is not None and module.is_available():
            count = module.device_count()
            devices += [kind, *(f"{kind}:{i}" for i in range(count))]
    return devices


def resolve_device(device: Any) -> torch.device:
    """Return the device of a name.

    Parameters
    ----------
    device : str or torch.device
        'auto' is CUDA where there is one, and the CPU otherwise.

    Returns
    -------
    torch.device
        One that torch can use.

    Raises
    ------
    ValueError
        If torch cannot use it here.
    """
    available = available_devices()
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if "cuda" in available else "cpu")
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        found = None
    if found is None or str(found) not in [*available, "cpu:0"]:
        raise ValueError(
            f"device={str(device)!r} is not available to torch here; give 'auto' or "
            f"one of {available}"
        )
    return found
