"""Isolation of a training from torch's global state, in both directions.

Torch has state of the process (random generators, default dtype, flags) and of the
thread (gradients, autocast, default device, number of threads). `isolated` sets all
of it to fixed values and restores it afterwards. `drawing` provides the random
operations of user code, such as dropout in an encoder or the initial weights of a
factory, with a separate generator. Torch's global generators are never used, so that
concurrent fits in several threads do not share a random state.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache
from typing import Any

import torch
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

# The rounding of a sum depends on its split among threads, and training amplifies it.
N_THREADS = 1
LARGEST_SEED = 2**31 - 2  # of those that are drawn

_lock = threading.RLock()


class Draws:
    """Random generators by device, created on first use from one seed.

    Parameters
    ----------
    seed : int
        Seed of every generator.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}

    def generator(self, device: torch.device) -> torch.Generator:
        """Return the generator of a device."""
        if device not in self._generators:
            generator = torch.Generator(device).manual_seed(self.seed)
            self._generators[device] = generator
        return self._generators[device]

    def get_state(self) -> dict[str, torch.Tensor]:
        """Return the state of each generator, by the name of its device."""
        return {str(d): g.get_state() for d, g in self._generators.items()}

    def set_state(self, states: dict[str, torch.Tensor]) -> None:
        """Restore the states returned by `get_state`, and drop other generators."""
        self._generators.clear()
        for device, state in states.items():
            self.generator(torch.device(device)).set_state(state)


_draws: ContextVar[Draws | None] = ContextVar("_draws", default=None)


@contextmanager
def isolated(seed: int = 0) -> Iterator[torch.Generator]:
    """Fix torch's global state in a context, and restore it on exit.

    Settings of the process stay fixed as long as any thread is in such a context: the
    default dtype (float32), deterministic algorithms (off, since they disable
    operations; on for cuDNN), anomaly detection (off), and the precision of products
    of float32 (full). Settings of the thread are
    gradients (on), inference mode, autocast and flushing of denormal numbers (off),
    the default device (CPU) and the number of threads (1).

    Parameters
    ----------
    seed : int, default=0
        Seed of all random numbers of the context.

    Yields
    ------
    torch.Generator
        Generator for the order of samples; independent of that of `drawing`.
    """
    with _standard_process(), _standard_thread():
        token = _draws.set(Draws(seed))
        try:
            yield torch.Generator().manual_seed(seed)
        finally:
            _draws.reset(token)


def current_draws() -> Draws:
    """Return the generators of the innermost `isolated` context."""
    draws = _draws.get()
    if draws is None:
        raise RuntimeError("there are no random generators outside of isolated()")
    return draws


def drawing() -> AbstractContextManager[Any]:
    """Make random operations of a context use the generators of `isolated`.

    Intercepting them adds some microseconds to every torch operation.

    Returns
    -------
    context manager
        Without effect outside of an `isolated` context.
    """
    draws = _draws.get()
    return nullcontext() if draws is None else _DrawFrom(draws)


class _DrawFrom(TorchDispatchMode):
    """Dispatch mode that passes a generator to random operations called without one."""

    def __init__(self, draws: Draws) -> None:
        super().__init__()
        self.draws = draws

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        given = kwargs.get("generator")
        if torch.Tag.nondeterministic_seeded not in func.tags or given is not None:
            return func(*args, **kwargs)
        device = _device_of(args, kwargs)
        if device.type == "meta":  # tensors without memory have no random values
            return func(*args, **kwargs)
        generator = self.draws.generator(device)
        seeded = _with_generator(func)
        if seeded is not None:
            return seeded(*args, **(kwargs | {"generator": generator}))
        with _as_global_generator(generator):
            return func(*args, **kwargs)


def _device_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.device:
    tensors = (a.device for a in args if isinstance(a, torch.Tensor))
    device = kwargs.get("device") or next(tensors, None)
    return torch.device("cpu") if device is None else torch.device(device)


@cache
def _with_generator(func: OpOverload) -> OpOverload | None:
    """Find the overload of an operation with a generator argument, or None."""

    def arguments(overload: OpOverload) -> list[tuple[str, str]]:
        return [(a.name, str(a.type)) for a in overload._schema.arguments]

    own = arguments(func)
    for name in (func._overloadname, *func.overloadpacket.overloads()):
        other = getattr(func.overloadpacket, name)
        names = [argument for argument, _ in arguments(other)]
        if "generator" not in names:
            continue
        rest = [a for a in arguments(other) if a[0] != "generator"]
        if rest == [a for a in own if a[0] != "generator"]:
            return other
    return None


@contextmanager
def _as_global_generator(generator: torch.Generator) -> Iterator[None]:
    """Swap the state of a generator with torch's global one, for some operations.

    Some random operations have no overload with a generator argument.
    """
    device = generator.device
    own = torch if device.type == "cpu" else torch.get_device_module(device)
    where = () if device.type == "cpu" else (device,)
    with _lock:
        before = own.get_rng_state(*where)
        own.set_rng_state(generator.get_state(), *where)
        try:
            yield
        finally:
            generator.set_state(own.get_rng_state(*where))
            own.set_rng_state(before, *where)


# Settings of the process


class _Process:
    """Number of active `isolated` contexts, and the settings before the first."""

    n_contexts = 0
    n_threads = N_THREADS
    restore = ExitStack()


@contextmanager
def _standard_process() -> Iterator[None]:
    """Fix the settings of the process until the last context of all threads ends."""
    with _lock:
        if _Process.n_contexts == 0:
            _Process.n_threads = torch.get_num_threads()
            _Process.restore = _fixed_settings()
        _Process.n_contexts += 1
    try:
        yield
    finally:
        with _lock:
            _Process.n_contexts -= 1
            if _Process.n_contexts == 0:
                _Process.restore.close()


def _fixed_settings() -> ExitStack:
    """Fix the settings of the process; closing the stack restores those before."""
    stack = ExitStack()
    dtype = torch.get_default_dtype()
    if dtype != torch.float32:
        torch.set_default_dtype(torch.float32)
        stack.callback(torch.set_default_dtype, dtype)
    if torch.are_deterministic_algorithms_enabled():
        warns = torch.is_deterministic_algorithms_warn_only_enabled()
        torch.use_deterministic_algorithms(False)
        stack.callback(torch.use_deterministic_algorithms, True, warn_only=warns)
    if torch.is_anomaly_enabled():
        checks = torch.is_anomaly_check_nan_enabled()
        torch.autograd.set_detect_anomaly(False)
        stack.callback(torch.autograd.set_detect_anomaly, True, checks)
    cudnn = torch.backends.cudnn
    for name, value in (("deterministic", True), ("benchmark", False)):
        stack.callback(setattr, cudnn, name, getattr(cudnn, name))
        setattr(cudnn, name, value)
    _fix_precision(stack)
    return stack


def _fix_precision(stack: ExitStack) -> None:
    """Compute products of float32 in float32, not in bfloat16 or TF32."""
    try:
        precision = torch.get_float32_matmul_precision()
    except RuntimeError:  # from torch 2.9 on, if set operation by operation
        mkldnn: Any = torch.backends.mkldnn
        cuda: Any = torch.backends.cuda
        for operation in (mkldnn.matmul, mkldnn.conv, cuda.matmul):
            before = operation.fp32_precision
            stack.callback(setattr, operation, "fp32_precision", before)
            operation.fp32_precision = "ieee"
        return
    if precision != "highest":
        stack.callback(torch.set_float32_matmul_precision, precision)
        torch.set_float32_matmul_precision("highest")


# Settings of the thread


@contextmanager
def _standard_thread() -> Iterator[None]:
    """Fix the settings of this thread, and restore them on exit."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(_one_thread())
        stack.enter_context(flushing_denormals(False))
        yield


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread, and restore the number of threads on exit."""
    n_threads = torch.get_num_threads()
    if n_threads == N_THREADS and _draws.get() is None:
        # a new thread inherits the number that was last set in any thread
        n_threads = _Process.n_threads
    if n_threads == N_THREADS:
        yield
        return
    torch.set_num_threads(N_THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


@contextmanager
def flushing_denormals(flushes: bool) -> Iterator[None]:
    """Set whether this thread rounds denormal numbers to zero, and restore it on exit.

    Training flushes them: where gradients stay zero (dead units, discriminators that
    are paused), Adam's running means decay to denormal numbers, on which processors
    are about twenty times slower.

    Parameters
    ----------
    flushes : bool
        Whether denormal numbers become zero.
    """
    # torch has no function that returns the flag: 1e-40 is denormal in float32
    before = bool(torch.tensor(1e-40, device="cpu", dtype=torch.float32) == 0)
    torch.set_flush_denormal(flushes)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
