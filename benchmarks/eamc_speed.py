"""Time an epoch of adversarial training of EAMCClusterer, and a bare loop of it.

    OMP_NUM_THREADS=1 python benchmarks/eamc_speed.py [--sweeps] [--compile]

prints Markdown tables. The preset is the paper's (encoders 200-200-500, batches of
100, discriminators); the bare loop is written out below with plain modules, fused Adam
and nothing around it, starts from the same weights, sees the same batches, and is
checked to end its first epoch with the same losses. Epochs of both take turns in one
process on one thread, so that what else the machine does touches both: seconds are
medians, the ratio is the median of ratios of neighbours. Memory is the peak of the
resident set while an epoch runs, less what was resident before the data were made:
both networks, their optimizers and the data. The floor is the counted arithmetic at
the measured rate of matrix products, plus the counted traffic of parameters at the
measured rate of memory.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import subprocess
import sys
import time
from itertools import pairwise
from statistics import median

WIDTHS = (200, 200, 500)
CRITIC = (500, 256, 256, 128, 1)
ATTENTION = (100, 50)
HIDDEN = 100
N_CLUSTERS = 10
PEER = (0.37, 0.59)  # s/epoch on digits of the implementation in DanielTrosten/mvc


# Data


def digits():
    """Pixels in [0, 1] and gradient magnitudes of scikit-learn's digits."""
    import numpy as np
    from sklearn.datasets import load_digits

    pixels = load_digits().images.astype(np.float32) / 16
    slopes = np.hypot(*np.gradient(pixels, axis=(1, 2)))
    return [pixels.reshape(-1, 64), slopes.reshape(-1, 64)]


def planted(n_samples, n_modalities, n_features):
    """Ten clusters in every modality."""
    import numpy as np

    rng = np.random.default_rng(0)
    classes = rng.integers(N_CLUSTERS, size=n_samples)
    blocks = []
    for _ in range(n_modalities):
        centers = rng.standard_normal((N_CLUSTERS, n_features), dtype=np.float32)
        noise = rng.standard_normal((n_samples, n_features), dtype=np.float32)
        noise += centers[classes]
        noise /= 4
        blocks.append(noise)
    return blocks


# The bare loop


def kernel(x):
    import torch

    squares = x.square().sum(1)
    distances = (squares[:, None] + squares - 2 * x @ x.T).clamp(min=0)
    variance = (0.15 * distances.detach().median()).clamp(min=1e-9)
    return torch.exp(-distances / (2 * variance))


def divergence(a, k):
    import torch

    gram = a.T @ k @ a
    norms = gram.diagonal().clamp(min=1e-9).sqrt()
    return (
        2
        / (N_CLUSTERS * (N_CLUSTERS - 1))
        * torch.sum(torch.triu(gram / torch.outer(norms, norms), 1))
    )


class BareLoop:
    """The paper's step, written out by hand, from the weights of a net of ours."""

    def __init__(self, net):
        import torch
        from torch import nn

        module = copy.deepcopy(net.module_)
        heads = module.heads
        self.encoders = module.encoders
        self.attention = module.attention.layers
        self.hidden = linear(heads.hidden[0], heads.hidden_bias[0, 0])
        self.norm = heads.norm
        self.assign = linear(heads.assign[0], heads.assign_bias[0, 0])
        self.critics = nn.ModuleList()
        for v in range(len(self.encoders) - 1):
            layers = []
            critics = net.parts_["discriminators"]
            parts = zip(critics.weights, critics.biases, strict=True)
            for weight, bias in parts:
                layers += [linear(weight[v], bias[v, 0]), nn.LeakyReLU(0.2)]
            self.critics.append(nn.Sequential(*layers[:-1]))
        slow = [*self.encoders.parameters(), *self.hidden.parameters()]
        slow += [*self.norm.parameters(), *self.assign.parameters()]
        self.attending = list(self.attention.parameters())
        self.learning = [*slow, *self.attending]
        self.optimizer = torch.optim.Adam(
            [{"params": slow}, {"params": self.attending, "lr": 1e-4}],
            lr=1e-5,
            betas=(0.95, 0.999),
            fused=True,
        )
        self.critic_optimizer = torch.optim.Adam(
            self.critics.parameters(), lr=1e-3, betas=(0.5, 0.999), fused=True
        )

    def train_critics(self, latents):
        from torch.nn.functional import softplus

        loss = 0
        for critic, latent in zip(self.critics, latents[1:], strict=True):
            loss = loss + softplus(critic(latent)).mean()
            loss = loss + softplus(-critic(latents[0])).mean()
        self.critic_optimizer.zero_grad()
        loss.backward()
        self.critic_optimizer.step()
        return loss.detach()

    def learn(self, latents):
        import torch
        from torch.nn.functional import softplus

        together = torch.cat(latents, dim=1)
        weights = (torch.sigmoid(self.attention(together)) / 10).softmax(1).mean(0)
        fused = sum(w * h for w, h in zip(weights, latents, strict=True))
        hidden = self.norm(torch.relu(self.hidden(fused)))
        a = self.assign(hidden).softmax(1)
        k = kernel(hidden)
        corners = torch.exp(-torch.cdist(a, torch.eye(N_CLUSTERS)).square())
        confident = 2 / (N_CLUSTERS * (N_CLUSTERS - 1)) * torch.triu(a.T @ a, 1).sum()
        mismatch = kernel(fused) - sum(
            w * kernel(h) for w, h in zip(weights, latents, strict=True)
        )
        loss = divergence(a, k) + divergence(corners, k) + confident
        loss = loss + mismatch.square().sum()
        self.critics.requires_grad_(False)
        for critic, latent in zip(self.critics, latents[1:], strict=True):
            loss = loss + 10 * softplus(-critic(latent)).mean()
            loss = loss + 10 * softplus(critic(latents[0])).mean()
        self.critics.requires_grad_(True)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.learning, 0.5)
        self.optimizer.step()
        return loss.detach()

    def step(self, inputs, turn, alternate):
        import torch

        both = not alternate
        with torch.set_grad_enabled(both or turn == 0):
            latents = [e(x) for e, x in zip(self.encoders, inputs, strict=True)]
        losses = {}
        if both or turn == 1:
            losses["discriminator"] = self.train_critics([h.detach() for h in latents])
        if both or turn == 0:
            losses["loss"] = self.learn(latents)
        return losses

    def epoch(self, blocks, batch_size, alternate, generator):
        """Mean losses of an epoch of shuffled batches."""
        import torch

        order = torch.randperm(len(blocks[0]), generator=generator)
        n_steps = len(order) // batch_size
        seen = {"loss": [], "discriminator": []}
        for step in range(n_steps):
            rows = order[step * batch_size : (step + 1) * batch_size]
            inputs = [block[rows] for block in blocks]
            for name, loss in self.step(inputs, step % 2, alternate).items():
                seen[name].append(loss)
        return {name: float(torch.stack(each).mean()) for name, each in seen.items()}


def linear(weight, bias):
    """Make a plain layer of weights of shape (inputs, outputs)."""
    from torch import nn

    layer = nn.Linear(*weight.shape)
    layer.weight.data.copy_(weight.T)
    layer.bias.data.copy_(bias)
    return layer


# Ours


class Ours:
    """Adversarial training of EAMCClusterer, epoch by epoch."""

    def __init__(self, blocks, batch_size, alternate, compiled=False):
        import torch

        from mmfusion.clustering import EAMCClusterer
        from mmfusion.nn._net import begin_phase

        clusterer = EAMCClusterer.paper(
            N_CLUSTERS,
            trainer__adversary={"alternate": alternate},
            trainer__batch_size=batch_size,
            trainer__compile=compiled,
        )
        settings = clusterer._settings()
        rows = clusterer._rows(blocks, reset=True)
        self.data, self.batch_size = clusterer._batches(rows, settings), batch_size
        torch.manual_seed(0)
        self.net = clusterer._make_net([]).initialize()
        _, adversarial = clusterer._make_phases(len(rows), settings)
        begin_phase(self.net, adversarial)

    def epoch(self, generator):
        """Mean losses of an epoch of shuffled batches."""
        from mmfusion.nn._data import ShuffledBatches

        batches = ShuffledBatches(self.data, self.batch_size, generator)
        self.net.partial_fit(batches, epochs=1)
        last = self.net.history[-1]
        return {"loss": last["train_loss"], "discriminator": last["discriminator"]}


# What is measured


def resident_mb(peak=False):
    """Resident memory of this process, or the peak since `forget_peak`."""
    field = "VmHWM" if peak else "VmRSS"
    with open("/proc/self/status") as status:
        return next(
            int(line.split()[1]) / 2**10 for line in status if line.startswith(field)
        )


def forget_peak():
    with open("/proc/self/clear_refs", "w") as refs:
        refs.write("5")


def timed(function):
    """Processor and wall seconds, and peak memory, of a call."""
    forget_peak()
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    seconds = time.process_time() - cpu, time.perf_counter() - wall
    return result, seconds, resident_mb(peak=True)


def compare(blocks, batch_size, alternate, n_epochs, before, compiled=False):
    """Epochs of ours and of the bare loop in turns."""
    import torch

    ours = Ours(blocks, batch_size, alternate, compiled)
    bare = BareLoop(ours.net)
    tensors = [torch.as_tensor(block) for block in blocks]
    orders = [torch.Generator().manual_seed(0) for _ in range(2)]
    times, peaks = {"ours": [], "bare": []}, []
    runs = {
        "ours": lambda: ours.epoch(orders[0]),
        "bare": lambda: bare.epoch(tensors, batch_size, alternate, orders[1]),
    }
    for epoch in range(n_epochs + 1):  # the first warms up
        losses = {}
        for name, run in runs.items():
            losses[name], seconds, peak = timed(run)
            if epoch:
                times[name].append(seconds)
                peaks.append(peak - before)
        if not epoch:
            for name, loss in losses["bare"].items():
                if abs(losses["ours"][name] / loss - 1) > 1e-3:
                    raise AssertionError(f"{name}: not the same arithmetic, {losses}")
    ratio = median(
        a[0] / b[0] for a, b in zip(times["ours"], times["bare"], strict=True)
    )
    return {
        "n": len(blocks[0]),
        "V": len(blocks),
        "d": blocks[0].shape[1],
        "m": batch_size,
        "cpu": median(t[0] for t in times["ours"]),
        "fastest": min(t[0] for t in times["ours"]),
        "wall": median(t[1] for t in times["ours"]),
        "bare": median(t[0] for t in times["bare"]),
        "ratio": ratio,
        "peak": max(peaks),
    }


def counted(m, n_features):
    """Floating-point operations of products, and bytes of parameters, of both turns.

    A product costs 2 operations per multiplication; going back through a layer costs
    one product for its weights and one for its inputs, where these are wanted.
    """
    n_modalities, width, k = len(n_features), WIDTHS[-1], N_CLUSTERS
    encoding = learning = parameters = 0
    for first in n_features:
        layers = list(pairwise((first, *WIDTHS)))
        size = sum(a * b for a, b in layers)
        encoding += m * size
        learning += m * (2 * size - first * WIDTHS[0])
        parameters += size
    attention = sum(
        a * b for a, b in pairwise((n_modalities * width, *ATTENTION, n_modalities))
    )
    head = width * HIDDEN + HIDDEN * k
    parameters += attention + head
    critic = sum(a * b for a, b in pairwise(CRITIC)) * (n_modalities - 1)
    kernels = m * m * (width * (n_modalities + 1) + HIDDEN)
    divergences = 2 * (k * m * m + k * k * m) + k * k * m
    learning += 3 * m * (attention + head) + 4 * m * critic  # both sides
    learning += 3 * (kernels + divergences)
    discriminating = 2 * m * (3 * critic - CRITIC[0] * CRITIC[1] * (n_modalities - 1))
    passes = 10 * 4  # read twice, gradient written; Adam reads four and writes three
    return {
        "encode": (2 * encoding, 0),
        "network": (2 * learning, passes * parameters),
        "discriminators": (2 * discriminating, passes * critic),
    }


def machine_rates():
    """Operations a second of a product as in the network, bytes a second of a sum."""
    import torch

    a, b, out = torch.randn(100, 200), torch.randn(200, 500), torch.empty(100, 500)
    x, y = torch.randn(2**19), torch.randn(2**19)
    flops = 2 * 100 * 200 * 500 / fastest(lambda: torch.mm(a, b, out=out))
    return flops, 3 * 4 * 2**19 / fastest(lambda: x.add_(y))


def fastest(function, repeats=200):
    best = float("inf")
    for _ in range(10):
        start = time.process_time()
        for _ in range(repeats):
            function()
        best = min(best, (time.process_time() - start) / repeats)
    return best


def floor(n_samples, m, n_features, alternate, rates):
    """Seconds of an epoch whose arithmetic and traffic cost what they must."""
    steps = n_samples // m
    turns = {"encode": steps, "network": steps, "discriminators": steps}
    if alternate:
        turns["network"], turns["discriminators"] = (steps + 1) // 2, steps // 2
    parts = counted(m, n_features)
    flops = sum(turns[name] * parts[name][0] for name in parts)
    traffic = sum(turns[name] * parts[name][1] for name in parts)
    return flops, traffic, flops / rates[0] + traffic / rates[1]


def check_count():
    """Hold the formula to what torch counts of a step of the bare loop, and of ours."""
    from torch.utils.flop_counter import FlopCounterMode

    blocks = digits()
    ours = Ours(blocks, 100, alternate=True)
    bare = BareLoop(ours.net)
    batch = ours.data.batch(slice(0, 100))
    parts = counted(100, [64, 64])
    print("| turn | GFLOP by formula | torch, bare loop | torch, ours |")
    print("|---" * 4 + "|")
    for turn, name in enumerate(("network", "discriminators")):
        formula = (parts["encode"][0] + parts[name][0]) / 1e9
        with FlopCounterMode(display=False) as of_bare:
            bare.step(batch.inputs, turn, alternate=True)
        ours.net.step_, ours.net.n_steps_ = turn, 2
        with FlopCounterMode(display=False) as of_ours:
            ours.net.objective_.step(ours.net, batch)
        found = [c.get_total_flops() / 1e9 for c in (of_bare, of_ours)]
        print(f"| {name} | {formula:.4f} | {found[0]:.4f} | {found[1]:.4f} |")


COLUMNS = (
    "alternate",
    "n",
    "V",
    "d",
    "batch",
    "s/epoch, CPU",
    "fastest",
    "wall",
    "samples/s",
    "peak MB",
    "bare s/epoch",
    "ratio",
    "GFLOP",
    "MB",
    "floor s",
)


def print_row(r, rates, alternate):
    flops, traffic, least = floor(r["n"], r["m"], [r["d"]] * r["V"], alternate, rates)
    cells = [
        "yes" if alternate else "no",
        f"{r['n']:,}",
        r["V"],
        r["d"],
        r["m"],
        f"{r['cpu']:.3f}",
        f"{r['fastest']:.3f}",
        f"{r['wall']:.3f}",
        f"{r['n'] / r['cpu']:,.0f}",
        f"{r['peak']:.0f}",
        f"{r['bare']:.3f}",
        f"{r['ratio']:.2f}",
        f"{flops / 1e9:.1f}",
        f"{traffic / 2**20:.0f}",
        f"{least:.3f}",
    ]
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


# One row, in a process of its own


def measure(row):
    import torch

    torch.set_num_threads(1)
    planted_like = {"n": 1797, "V": 2, "d": 64}
    Ours(planted(500, 2, 64), 100, alternate=True).epoch(torch.Generator())  # loads
    before = resident_mb()
    made = {k: row.get(k, v) for k, v in planted_like.items()}
    on_digits = not planted_like.keys() & row
    blocks = digits() if on_digits else planted(made["n"], made["V"], made["d"])
    alternate, batch_size = row.get("alternate", True), row.get("batch", 100)
    n_epochs = max(2, min(25, 40_000 // made["n"]))
    compiled = row.get("compiled", False)
    result = compare(blocks, batch_size, alternate, n_epochs, before, compiled)
    print_row(result, machine_rates(), alternate)
    if row == {}:
        low, high = (seconds / result["cpu"] for seconds in PEER)
        print(
            f"| peer: mvc | {made['n']:,} | 2 | 64 | 100 | {PEER[0]} to {PEER[1]}: "
            f"{low:.1f} to {high:.1f} times ours" + " |" * (len(COLUMNS) - 5)
        )


SWEEPS = [
    *({"n": n} for n in (1000, 10_000, 100_000)),
    *({"V": n_modalities} for n_modalities in (3, 6)),
    *({"d": width} for width in (16, 256, 1024)),
    *({"batch": size} for size in (50, 200, 400)),
]


def print_rows(rows):
    print("| " + " | ".join(COLUMNS) + " |")
    print("|---" * len(COLUMNS) + "|", flush=True)
    for row in rows:
        one = [sys.executable, __file__, "--one", json.dumps(row)]
        subprocess.run(one, check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sweeps", action="store_true", help="also n, V, d, batch")
    parser.add_argument("--compile", action="store_true", help="also torch.compile")
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        measure(arguments.one)
        return
    check_count()
    print()
    print_rows([{}, {"alternate": False}])
    if arguments.sweeps:
        print()
        print_rows(SWEEPS)
    if arguments.compile:
        print()
        if shutil.which("c++") is None:
            print("torch.compile is not measured: it needs a C++ compiler")
        else:
            print("With torch.compile:\n")
            print_rows([{"compiled": True}])


if __name__ == "__main__":
    main()
