"""Devices that are available to torch."""

from __future__ import annotations

import torch

from mmfusion._typing import DeviceLike

_ACCELERATORS = ("cuda", "mps", "xpu")


def available_devices() -> list[str]:
    """List the devices that are available to torch, the CPU first."""
    devices = ["cpu"]
    for kind in _ACCELERATORS:
        module = getattr(torch, kind, None)
        if module is not None and module.is_available():
            count = module.device_count()
            devices += [kind, *(f"{kind}:{i}" for i in range(count))]
    return devices


def resolve_device(device: DeviceLike) -> torch.device:
    """Resolve the name of a device, and check that it is available.

    Parameters
    ----------
    device : str or torch.device
        Name of the device. 'auto' is CUDA if available, and the CPU otherwise.

    Returns
    -------
    torch.device
        The device; without an index if the name has none.

    Raises
    ------
    ValueError
        If the device does not exist or is not available to torch.
    """
    available = available_devices()
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if "cuda" in available else "cpu")
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        found = None
    # torch accepts names of devices that this machine lacks, and fails on first use
    if found is None or str(found) not in [*available, "cpu:0"]:
        raise ValueError(
            f"device={str(device)!r} is not available to torch; use 'auto' or one "
            f"of {available}"
        )
    return found
