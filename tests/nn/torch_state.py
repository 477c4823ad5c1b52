"""Torch's global state: what it is, and ways to change it."""

from contextlib import contextmanager, nullcontext

import numpy as np
import torch


def product_precision():
    """Return the precision of float32 products, of each operation."""
    matmul = getattr(torch.backends.mkldnn, "matmul", None)
    if matmul is None:  # torch < 2.9
        return [torch.get_float32_matmul_precision()]
    operations = (matmul, torch.backends.mkldnn.conv, torch.backends.cuda.matmul)
    return [operation.fp32_precision for operation in operations]


def global_state():
    """Return all of it as plain values that compare."""
    _, keys, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "generator": torch.get_rng_state().tolist(),
        "numpy": (keys.tolist(), rest),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warns": torch.is_deterministic_algorithms_warn_only_enabled(),
        "anomaly": (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        "autocast": torch.is_autocast_enabled("cpu"),
        "threads": torch.get_num_threads(),
        "precision": product_precision(),
        "cudnn": (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark),
        "flushed": bool(torch.tensor(1e-40, device="cpu", dtype=torch.float32) == 0),
    }


def standard():
    """Change nothing."""
    return nullcontext()


@contextmanager
def other_seeds():
    """Let both generators be elsewhere."""
    state = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12345)
        np.random.seed(54321)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002


@contextmanager
def double_by_default():
    """Make float64 the default dtype."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def meta_by_default():
    """Make tensors without memory by default."""
    return torch.device("meta")


def no_grad():
    """Compute no gradients."""
    return torch.no_grad()


def inference_mode():
    """Compute in inference mode."""
    return torch.inference_mode()


@contextmanager
def deterministic():
    """Ask for deterministic algorithms."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def three_threads():
    """Split operations among three threads."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def autocast():
    """Compute in half precision."""
    return torch.autocast("cpu", dtype=torch.bfloat16)


@contextmanager
def anomaly_mode():
    """Look for NaN in gradients."""
    torch.autograd.set_detect_anomaly(True, check_nan=False)
    try:
        yield
    finally:
        torch.autograd.set_detect_anomaly(False, check_nan=True)


@contextmanager
def flushed_denormals():
    """Let numbers next to zero be zero."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def rounded_products():
    """Let products of float32 be computed in bfloat16."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)


@contextmanager
def rounded_by_operation():
    """Let some products of float32 be computed in bfloat16."""
    matmul = getattr(torch.backends.mkldnn, "matmul", None)
    if matmul is None:  # torch < 2.9
        yield
        return
    before, matmul.fp32_precision = matmul.fp32_precision, "bf16"
    try:
        yield
    finally:
        matmul.fp32_precision = before


CHANGES = [
    standard,
    other_seeds,
    double_by_default,
    meta_by_default,
    no_grad,
    inference_mode,
    deterministic,
    three_threads,
    autocast,
    anomaly_mode,
    flushed_denormals,
    rounded_products,
    rounded_by_operation,
]
