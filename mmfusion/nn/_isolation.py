"""Run torch so that neither side of its global state depends on the other.

Torch keeps state for the process (generators, default dtype, flags) and for the
thread (gradients, autocast, default device, number of threads). `isolated` sets all
of it to fixed values and restores what it found, and `drawing` gives the random
operations of other people's code, such as dropout in an encoder or a factory's
initial weights, a generator of their own. Nothing ever draws from torch's generators,
so that fits in several threads do not share a random state.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# Rounding depends on how sums are split among threads, and training amplifies it.
N_THREADS = 1

_lock = threading.RLock()


class Draws:
    """Generators of one seed, one for each device that something is drawn on.

    Parameters
    ----------
    seed : int
        The seed of each.
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
        """Return the state of every generator by device."""
        return {str(d): g.get_state() for d, g in self._generators.items()}

    def set_state(self, states: dict[str, torch.Tensor]) -> None:
        """Restore what `get_state` returned."""
        self._generators.clear()
        for device, state in states.items():
            self.generator(torch.device(device)).set_state(state)


_draws: ContextVar[Draws | None] = ContextVar("_draws", default=None)


@contextmanager
def isolated(seed: int = 0) -> Iterator[torch.Generator]:
    """Fix torch's global state inside, and restore it.

    Settings of the process are fixed as long as any thread is inside. They are the
    default dtype (float32), the flags of deterministic algorithms (off, for they
    refuse operations; on for cuDNN) and anomaly mode (off). Those of the thread are
    gradients (on), inference mode, autocast and flushing of denormal numbers (off),
    the default device (CPU) and the number of threads (1).

    Parameters
    ----------
    seed : int, default=0
        Seed of everything that is drawn inside.

    Yields
    ------
    torch.Generator
        For the order of samples; `drawing` has one of its own.
    """
    with _standard_process(), _standard_thread():
        token = _draws.set(Draws(seed))
        try:
            yield torch.Generator().manual_seed(seed)
        finally:
            _draws.reset(token)


def current_draws() -> Draws:
    """Return the generators of the innermost `isolated`."""
    draws = _draws.get()
    if draws is None:
        raise RuntimeError("nothing is drawn outside of isolated()")
    return draws


def drawing() -> AbstractContextManager[Any]:
    """Let every random operation inside draw from the innermost `isolated`.

    Each operation of torch inside costs some microseconds more.

    Returns
    -------
    context manager
        Without effect outside of `isolated`.
    """
    draws = _draws.get()
    return nullcontext() if draws is None else _DrawFrom(draws)


class _DrawFrom(TorchDispatchMode):
    """Hands random operations the generator that they were not given."""

    def __init__(self, draws: Draws) -> None:
        super().__init__()
        self.draws = draws

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        given = kwargs.get("generator")
        if torch.Tag.nondeterministic_seeded not in func.tags or given is not None:
            return func(*args, **kwargs)
        device = _device_of(args, kwargs)
        if device.type == "meta":  # without memory, nothing is drawn
            return func(*args, **kwargs)
        generator = self.draws.generator(device)
        seeded = _with_generator(func)
        if seeded is not None:
            return seeded(*args, **(kwargs | {"generator": generator}))
        with _lent(generator):
            return func(*args, **kwargs)


def _device_of(args: Any, kwargs: dict[str, Any]) -> torch.device:
    tensors = (a.device for a in args if isinstance(a, torch.Tensor))
    device = kwargs.get("device") or next(tensors, None)
    return torch.device("cpu") if device is None else torch.device(device)


@cache
def _with_generator(func: Any) -> Any:
    """Find the overload of an operation that takes a generator, or None."""

    def arguments(overload: Any) -> list[tuple[str, str]]:
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
def _lent(generator: torch.Generator) -> Iterator[None]:
    """Make a generator's state that of torch for one operation that takes none."""
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
    """How many are inside of `isolated`, and what the first of them found."""

    n_inside = 0
    n_threads = N_THREADS
    restore = ExitStack()


@contextmanager
def _standard_process() -> Iterator[None]:
    """Fix settings of the process while any thread is inside."""
    with _lock:
        if _Process.n_inside == 0:
            _Process.n_threads = torch.get_num_threads()
            _Process.restore = _fixed_settings()
        _Process.n_inside += 1
    try:
        yield
    finally:
        with _lock:
            _Process.n_inside -= 1
            if _Process.n_inside == 0:
                _Process.restore.close()


def _fixed_settings() -> ExitStack:
    """Change what differs from the fixed settings; closing the stack restores it."""
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
    return stack


# Settings of the thread


@contextmanager
def _standard_thread() -> Iterator[None]:
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
    n_threads = torch.get_num_threads()
    if n_threads == N_THREADS and _draws.get() is None:
        # torch gives a thread that it has not seen before what was last set anywhere
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
    """Choose whether numbers next to zero are zero in this thread, and restore it.

    Parameters
    ----------
    flushes : bool
        Adam's running means of gradients that stay zero, of dead units or of
        discriminators that rest, fall to numbers on which a processor is some twenty
        times as slow: training flushes them.
    """
    before = bool(torch.tensor(1e-40, device="cpu", dtype=torch.float32) == 0)
    torch.set_flush_denormal(flushes)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
