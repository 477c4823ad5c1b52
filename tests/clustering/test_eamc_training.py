"""Training of EAMC, against loops by hand in plain torch on copies of the modules."""

import copy
import math

import pytest
import torch
from skorch.callbacks import Callback
from torch.nn import functional as F

from mmfusion.clustering.eamc import _pretraining
from mmfusion.clustering.eamc._pretraining import NeighborAgreement, keep_best_head
from mmfusion.nn._net import begin_phase
from mmfusion.nn.losses import squared_slope
from tests.nn import slow_losses as slow

from .eamc_nets import (
    N_CLUSTERS,
    OBJECTIVE,
    SIZE_WEIGHT,
    N,
    make_data,
    make_epoch,
    make_net,
    make_objective,
    make_pairs,
    make_phase,
    state_of,
)

ADVERSARIAL = "adversarial training"
WEIGHTS = {
    "separation": OBJECTIVE["separation_weight"],
    "simplex": OBJECTIVE["simplex_weight"],
    "balance": OBJECTIVE["balance_weight"],
    "attention": OBJECTIVE["attention_weight"],
    "inequality": OBJECTIVE["inequality_weight"],
    "generator": OBJECTIVE["adversarial_weight"],
}


@pytest.fixture(autouse=True)
def seeded():
    """Start every test from the same random state of torch."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def train(net, epoch, n_epochs, objective=None, rates=None):
    """Train a net adversarially."""
    begin_phase(net, make_phase(ADVERSARIAL, n_epochs, objective, rates))
    net.partial_fit(epoch, epochs=n_epochs)
    return net


def pretrain(net, epoch, n_epochs, rates=None):
    begin_phase(net, make_phase("pretraining", n_epochs, rates=rates))
    net.partial_fit(epoch, epochs=n_epochs)
    return net


# The network by hand


def encode(network, inputs, observed):
    latents = torch.stack(
        [encoder(x) for encoder, x in zip(network.encoders, inputs, strict=True)]
    )
    return latents if observed is None else latents * observed.T[:, :, None]


def weigh(network, latents, observed):
    n_modalities, m, _ = latents.shape
    if network.attention is None:
        return torch.full((n_modalities,), 1 / n_modalities, dtype=latents.dtype)
    shares = torch.zeros(m, n_modalities, dtype=latents.dtype)
    for q in range(m):
        act = network.attention.layers(torch.cat(list(latents[:, q])))
        e = torch.exp(torch.sigmoid(act) / network.attention.temperature)
        if observed is not None:
            e = e * observed[q]
        shares[q] = e / e.sum()
    if observed is None:
        return shares.mean(0)
    means = shares.sum(0) / observed.sum(0)
    return means / means.sum()


def fuse(latents, observed, weights):
    rows = []
    for q in range(latents.shape[1]):
        own = [v for v in range(len(latents)) if observed is None or observed[q, v]]
        total = sum(weights[v] for v in own)
        rows.append(sum(weights[v] / total * latents[v, q] for v in own))
    return torch.stack(rows)


def cluster(heads, fused, r=0):
    """Hidden layer and assignment of one head, in training."""
    raw = torch.relu(fused @ heads.hidden[r] + heads.hidden_bias[r])
    width = raw.shape[1]
    own = slice(r * width, (r + 1) * width)
    centred = raw - raw.mean(0)
    normed = centred / torch.sqrt(centred.square().mean(0) + heads.norm.eps)
    hidden = normed * heads.norm.weight[own] + heads.norm.bias[own]
    return hidden, torch.softmax(hidden @ heads.assign[r] + heads.assign_bias[r], 1)


def discriminate(discriminators, latents, others):
    """Logits of each discriminator for its own modality and for the reference."""

    def logits(d, h):
        for layer in range(4):
            h = h @ discriminators.weights[layer][d] + discriminators.biases[layer][d]
            h = F.leaky_relu(h, 0.2) if layer < 3 else h
        return h[:, 0]

    own = torch.stack([logits(d, latents[v]) for d, v in enumerate(others)])
    return own, lambda ref: torch.stack([logits(d, ref) for d in range(len(others))])


def adam(groups, betas):
    return torch.optim.Adam(groups, betas=betas, foreach=False, fused=False)


class ByHand:
    """Adversarial training by the published formulas, one batch at a time."""

    def __init__(self, net, reference, clip_norm, gradient_penalty=0.0):
        self.gradient_penalty = gradient_penalty
        self.network = copy.deepcopy(net.module_).train()
        self.discriminators = copy.deepcopy(net.parts_.get("discriminators"))
        self.reference, self.clip_norm = reference, clip_norm
        attention = self.network.attention
        slow_ones = [] if attention is None else list(attention.parameters())
        taken = {id(p) for p in slow_ones}
        rest = [p for p in self.network.parameters() if id(p) not in taken]
        groups = [{"params": rest, "lr": 1e-2}]
        if slow_ones:
            groups.append({"params": slow_ones, "lr": 3e-3})
        self.optimizer = adam(groups, (0.95, 0.999))
        if self.discriminators is not None:
            own = [{"params": list(self.discriminators.parameters()), "lr": 2e-3}]
            self.discriminator_optimizer = adam(own, (0.5, 0.999))

    def step(self, batch, *, network, discriminators):
        inputs, observed, _ = batch
        latents = encode(self.network, inputs, observed)
        others = [v for v in range(len(latents)) if v != self.reference]
        others_observed = None if observed is None else observed.T[others]
        reference_observed = None
        if observed is not None:
            reference_observed = observed.T[self.reference].expand(len(others), -1)
        terms = {}
        if self.discriminators is not None and discriminators:
            fixed = latents.detach()
            fake, of = discriminate(self.discriminators, fixed, others)
            terms["discriminator"] = slow.adversarial_cross_entropy(
                fake, False, others_observed
            ) + slow.adversarial_cross_entropy(
                of(fixed[self.reference]), True, reference_observed
            )
            loss = terms["discriminator"]
            if self.gradient_penalty:
                slopes = self.slopes(fixed, others, others_observed, reference_observed)
                loss = loss + self.gradient_penalty * slopes
            self.discriminator_optimizer.zero_grad()
            loss.backward()
            self.discriminator_optimizer.step()
        if network:
            terms |= self.learn(
                latents, observed, others, others_observed, reference_observed
            )
        return {name: float(term.detach()) for name, term in terms.items()}

    def slopes(self, latents, others, others_observed, reference_observed):
        """Squared norms of the gradient, one latent at a time."""
        means = []
        for d, v in enumerate(others):
            norms = []
            for u, rows in ((v, others_observed), (self.reference, reference_observed)):
                for q in range(latents.shape[1]):
                    if rows is None or rows[d, q]:
                        h = latents[u, q : q + 1].clone().requires_grad_()
                        _, of = discriminate(self.discriminators, latents, others)
                        (slope,) = torch.autograd.grad(of(h)[d], h, create_graph=True)
                        norms.append(slope.square().sum())
            means.append(sum(norms) / len(norms))
        return sum(means)

    def learn(self, latents, observed, others, others_observed, reference_observed):
        weights = weigh(self.network, latents, observed)
        fused = fuse(latents, observed, weights)
        hidden, a = cluster(self.network.heads, fused)
        kernel = slow.gaussian_kernel(hidden)
        terms = {
            "separation": slow.cauchy_schwarz_divergence(a, kernel),
            "simplex": slow.cauchy_schwarz_divergence(slow.corner_closeness(a), kernel),
            "balance": slow.balance_penalty(a),
        }
        if self.network.attention is not None:
            kernels = torch.stack([slow.gaussian_kernel(h) for h in latents])
            terms["attention"] = slow.attention_mismatch(
                slow.gaussian_kernel(fused), kernels, weights, observed
            )
            terms["inequality"] = sum(w * torch.log(len(weights) * w) for w in weights)
        if self.discriminators is not None:
            fake, of = discriminate(self.discriminators, latents, others)
            terms["generator"] = slow.adversarial_cross_entropy(
                fake, True, others_observed
            ) + slow.adversarial_cross_entropy(
                of(latents[self.reference]), False, reference_observed
            )
        loss = sum(WEIGHTS[name] * term for name, term in terms.items())
        self.optimizer.zero_grad()
        loss.backward()
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.clip_norm)
        self.optimizer.step()
        return terms | {"train_loss": loss}


CASES = {
    "all": {},
    "no adversary": {"adversarial": False},
    "no attention": {"attention": False},
    "neither": {"adversarial": False, "attention": False},
    "turns": {"alternate": True},
    "turns without attention": {"alternate": True, "attention": False},
    "turns without an adversary": {"alternate": True, "adversarial": False},
    "missing modalities": {"missing": True},
    "another reference": {"reference": 1, "missing": True},
    "clipped": {"clip_norm": 0.05},
    "slopes penalised": {"gradient_penalty": 0.3},
    "slopes penalised, missing modalities": {"gradient_penalty": 0.3, "missing": True},
    "slopes penalised in turns": {"gradient_penalty": 0.3, "alternate": True},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_training_is_that_of_the_loop_by_hand(case):
    case = {"adversarial": True, "attention": True, "alternate": False} | case
    adversarial, missing = case.pop("adversarial"), case.pop("missing", False)
    reference, alternate = case.pop("reference", 0), case.pop("alternate")
    penalty = case.pop("gradient_penalty", 0.0)
    objective = make_objective(
        reference=reference, alternate=alternate, gradient_penalty=penalty
    )
    net = make_net(adversarial=adversarial, schedule="constant", **case)
    hand = ByHand(net, reference, case.get("clip_norm"), penalty)
    data = make_data(missing)
    turns = alternate and adversarial
    expected = []
    for turn, batch in enumerate(make_epoch(data)):
        expected.append(
            hand.step(
                batch,
                network=not turns or turn % 2 == 0,
                discriminators=not turns or turn % 2 == 1,
            )
        )
    before = state_of(net)
    train(net, make_epoch(data), 1, objective)
    for ours, by_hand in (
        (net.module_, hand.network),
        (net.parts_.get("discriminators"), hand.discriminators),
    ):
        if by_hand is None:
            continue
        for (name, found), wanted in zip(
            ours.named_parameters(), by_hand.parameters(), strict=True
        ):
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-7, msg=name)
    name = "network.encoders.0.0.weight"
    assert not torch.allclose(state_of(net)[name], before[name], atol=1e-3)
    for name in set().union(*expected):
        values = [terms[name] for terms in expected if name in terms]
        mean = sum(values) / len(values)
        assert net.history[-1][name] == pytest.approx(mean, rel=1e-6), name


def test_pretraining_is_that_of_a_loop_by_hand():
    net = make_net(n_heads=3, schedule="constant")
    network = copy.deepcopy(net.module_).train()
    others = [p for n, p in network.named_parameters() if not n.startswith("attention")]
    optimizer = adam([{"params": others, "lr": 2e-2}], (0.95, 0.999))
    data = make_data(missing=True)
    running = torch.ones(3, 6, dtype=torch.float64)
    recorded = []
    steps = len(make_pairs(data))
    for step, ((inputs, observed, _), graphs) in enumerate(make_pairs(data)):
        m = len(graphs)
        latents = encode(network, inputs, observed)
        equal = torch.full((3,), 1 / 3, dtype=torch.float64)
        fused = fuse(latents, observed, equal)
        terms, imbalances, plain = [], [], []
        for r in range(3):
            a = cluster(network.heads, fused, r)[1]
            pairs = slow.neighbor_disagreement(a[:m], a[m:])
            for g in range(6):
                own = [float(pairs[q].detach()) for q in range(m) if graphs[q] == g]
                if own:
                    running[r, g] += 0.05 * (sum(own) / len(own) - running[r, g])
            trust = 1 / (running[r] + 0.01)
            trust = trust / trust.mean()
            terms += [trust[graphs[q]] * pairs[q] for q in range(m)]
            plain += pairs.tolist()
            imbalances.append(slow.cluster_size_divergence(a))
        loss = sum(terms) / len(terms)
        first = SIZE_WEIGHT
        size_weight = first + (1 - first) * step / steps  # falls to 1
        loss = loss + size_weight * sum(imbalances) / len(imbalances)
        recorded.append(sum(plain) / len(plain))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pretrain(net, make_pairs(data), 1)
    for (name, found), wanted in zip(
        net.module_.named_parameters(), network.parameters(), strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-7, msg=name)
    torch.testing.assert_close(net.parts_["trust"].running, running)
    assert net.history[-1]["disagreement"] == pytest.approx(
        sum(recorded) / len(recorded), rel=1e-6
    )


# Who learns from what


def first_batch(data):
    return next(iter(make_epoch(data)))


def test_discriminators_get_no_gradient_from_the_step_of_the_network():
    net = make_net()
    begin_phase(net, make_phase(ADVERSARIAL, 1, make_objective(alternate=True)))
    before = state_of(net)
    net.step_, net.n_steps_ = 0, 2
    terms = net.objective_.step(net, first_batch(make_data()))
    assert "generator" in terms
    assert "discriminator" not in terms
    for parameter in net.parts_["discriminators"].parameters():
        assert parameter.grad is None
        assert parameter.requires_grad
    after = state_of(net)
    for name, value in after.items():
        if name.startswith("discriminators"):
            assert torch.equal(value, before[name])
    name = "network.encoders.1.0.weight"
    assert not torch.equal(after[name], before[name])


def test_the_network_gets_no_gradient_from_the_step_of_the_discriminators():
    net = make_net()
    begin_phase(net, make_phase(ADVERSARIAL, 1, make_objective(alternate=True)))
    before = state_of(net)
    net.step_, net.n_steps_ = 1, 2
    assert set(net.objective_.step(net, first_batch(make_data()))) == {
        "discriminator",
        "accuracy",
    }
    for parameter in net.module_.parameters():
        assert parameter.grad is None
    after = state_of(net)
    for name, _ in net.module_.named_parameters():
        assert torch.equal(after[f"network.{name}"], before[f"network.{name}"])
    assert not torch.equal(
        after["discriminators.weights.0"], before["discriminators.weights.0"]
    )


def test_the_generator_loss_moves_all_encoders_that_of_the_reference_too():
    off = {"separation_weight": 0, "simplex_weight": 0, "balance_weight": 0}
    objective = make_objective(attention_weight=0, reference=1, **off)
    net = make_net()
    before = state_of(net)
    train(net, make_epoch(make_data()), 1, objective)
    after = state_of(net)
    for v in range(3):
        name = f"network.encoders.{v}.0.weight"
        assert not torch.equal(after[name], before[name])


def test_a_penalty_makes_discriminators_flatter():
    def steepness(gradient_penalty):
        torch.manual_seed(0)
        net = make_net()
        objective = make_objective(
            gradient_penalty=gradient_penalty, adversarial_weight=1e-12
        )
        train(net, make_epoch(make_data()), 10, objective)
        batch = first_batch(make_data())
        latents = encode(net.module_, batch.inputs, None).detach()
        others, reference = net.objective_._split(latents)
        sides = torch.cat([others, reference], dim=1)
        _, slopes = net.parts_["discriminators"].slopes(sides)
        return float(squared_slope(slopes).detach())

    free, held = steepness(0.0), steepness(10.0)
    assert held < free / 4


def test_the_accuracy_of_discriminators_counts_observed_samples_only():
    net = make_net()
    inputs, observed, _ = batch = make_data(missing=True).batch(slice(None))
    latents = encode(net.module_, inputs, observed).detach()
    own, of = discriminate(net.parts_["discriminators"], latents, [1, 2])
    reference = of(latents[0])
    right = [
        float(logits[d, q] > 0) if real else float(logits[d, q] < 0)
        for logits, real in ((own, False), (reference, True))
        for d in range(2)
        for q in range(len(observed))
        if observed[q, 0 if real else d + 1]
    ]
    begin_phase(net, make_phase(ADVERSARIAL, 1, make_objective(alternate=True)))
    net.step_, net.n_steps_ = 1, 2
    accuracy = net.objective_.step(net, batch)["accuracy"]
    assert float(accuracy) == pytest.approx(sum(right) / len(right))


def test_discriminators_learn_to_separate_modalities():
    frozen = {"separation_weight": 0, "simplex_weight": 0, "balance_weight": 1e-12}
    objective = make_objective(attention_weight=0, adversarial_weight=1e-12, **frozen)
    net = make_net(schedule="constant")
    rates = {"network": 1e-12, "discriminators": 3e-3}
    train(net, make_epoch(make_data()), 12, objective, rates)
    losses = net.history[:, "discriminator"]
    assert losses[-1] < losses[0] / 2
    assert net.history[-1]["accuracy"] > 0.8


def test_encoders_learn_latents_like_those_of_the_reference():
    rates = {"network": 1e-2, "discriminators": 1e-12}
    objective = make_objective(adversarial_weight=10.0)
    net = train(make_net(), make_epoch(make_data()), 8, objective, rates)
    losses = net.history[:, "generator"]
    assert losses[-1] < 0.9 * losses[0]


def test_pretraining_brings_neighbours_to_agree():
    net = pretrain(make_net(n_heads=2), make_pairs(make_data()), 12)
    losses = net.history[:, "disagreement"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("n_heads", [1, 3])
def test_heads_are_scored_by_all_edges_of_all_graphs(monkeypatch, missing, n_heads):
    monkeypatch.setattr(_pretraining, "SCORE_CHUNK_ROWS", 7)
    data = make_data(missing)
    net = pretrain(make_net(n_heads=n_heads), make_pairs(data), 3)
    pairs = make_pairs(data, seed=1)
    net.module_.eval()
    assigned = net.module_(*data.batch(slice(None))[:2]).logits.softmax(-1).detach()
    for head, found in enumerate(_pretraining.score_heads(net, pairs).tolist()):
        a = assigned[head] if n_heads > 1 else assigned
        logarithms = []
        for graph in pairs.graphs:
            edges = [-math.log(float(a[q] @ a[r])) for q in range(N) for r in graph[q]]
            logarithms.append(math.log(sum(edges) / len(edges) + 0.01))
        sizes = a.mean(0)
        entropy = -sum(float(p) * math.log(float(p)) for p in sizes)
        expected = sum(logarithms) / len(logarithms) + math.log(N_CLUSTERS) - entropy
        assert found == pytest.approx(expected)


def test_scores_of_heads_do_not_depend_on_the_order_of_pairs():
    data = make_data()
    net = pretrain(make_net(n_heads=3), make_pairs(data), 2)
    first, second = (
        _pretraining.score_heads(net, make_pairs(data, seed)) for seed in (1, 2)
    )
    assert torch.equal(first, second)
    best = keep_best_head(net, make_pairs(data))
    assert best == float(first.min())


def test_one_head_is_left_after_the_competition_and_learns_from_scratch():
    data = make_data()
    net = pretrain(make_net(n_heads=3), make_pairs(data), 3)
    keep_best_head(net, make_pairs(data, seed=1))
    assert net.module_.heads.n_heads == 1
    assert not net.optimizer_.state
    own = {id(p) for group in net.optimizer_.param_groups for p in group["params"]}
    assert own == {id(p) for p in net.module_.parameters()}
    before = state_of(net)
    train(net, make_epoch(data), 1)
    name = "network.heads.assign"
    assert not torch.equal(state_of(net)[name], before[name])


# Precision


@pytest.mark.parametrize("missing", [False, True])
def test_mixed_precision_has_the_losses_of_full_precision_nearly(missing):
    single = {"dtype": torch.float32}
    data = make_data(missing, **single)
    histories = []
    for autocast in (None, torch.bfloat16):
        torch.manual_seed(1)
        net = make_net(n_heads=2, autocast=autocast, **single)
        pretrain(net, make_pairs(data), 1)
        keep_best_head(net, make_pairs(data, seed=1))
        train(net, make_epoch(data), 1)
        assert {p.dtype for p in net.module_.parameters()} == {torch.float32}
        histories.append(net.history)
    for full, mixed in zip(*histories, strict=True):
        terms = set(full) - {"batches", "dur", "epoch", "accuracy", "phase"}
        assert len(terms) >= 3
        for name in terms:
            assert mixed[name] == pytest.approx(full[name], rel=0.1, abs=0.02), name


# Learning rates


class Rates(Callback):
    def on_train_begin(self, net, **kwargs):
        self.seen_ = getattr(self, "seen_", [])

    def on_batch_begin(self, net, **kwargs):
        groups = [g for o in net.optimizers_ for g in o.param_groups]
        self.seen_.append([group["lr"] for group in groups])


def rates_of(net, data, phases):
    rates = Rates()
    net.callbacks_ = [("rates", rates)]
    for n_epochs in phases:
        train(net, make_epoch(data), n_epochs)
    return rates.seen_


def test_learning_rates_fall_along_half_a_cosine_over_a_phase():
    data = make_data()
    seen = rates_of(make_net(), data, [4])
    steps = 4 * len(make_epoch(data))
    assert len(seen) == steps
    for step, rates in enumerate(seen):
        factor = 0.01 + 0.99 * (1 + math.cos(math.pi * step / steps)) / 2
        assert rates == pytest.approx([1e-2 * factor, 3e-3 * factor, 2e-3 * factor])


def test_every_phase_starts_from_the_full_learning_rates():
    data = make_data()
    seen = rates_of(make_net(), data, [2, 3])
    steps = len(make_epoch(data))
    assert seen[0] == seen[2 * steps] == [1e-2, 3e-3, 2e-3]
    assert seen[2 * steps - 1][0] < 1e-3


def test_a_phase_that_is_continued_goes_on_along_its_cosine():
    data = make_data()
    whole = rates_of(make_net(), data, [4])
    net, rates = make_net(), Rates()
    net.callbacks_ = [("rates", rates)]
    begin_phase(net, make_phase(ADVERSARIAL, 4))
    net.partial_fit(make_epoch(data), epochs=1)
    begin_phase(net, make_phase(ADVERSARIAL, 4), done=1)
    net.partial_fit(make_epoch(data), epochs=3)
    assert rates.seen_ == whole


def test_constant_learning_rates_stay():
    seen = rates_of(make_net(schedule="constant"), make_data(), [3])
    assert all(rates == [1e-2, 3e-3, 2e-3] for rates in seen)


def test_pretraining_has_a_learning_rate_of_its_own():
    data, rates = make_data(), Rates()
    net = make_net(n_heads=2, schedule="constant")
    net.callbacks_ = [("rates", rates)]
    pretrain(net, make_pairs(data), 1)
    assert all(own[:2] == [2e-2, 2e-2] for own in rates.seen_)
    keep_best_head(net, make_pairs(data))
    train(net, make_epoch(data), 1)
    assert rates.seen_[-1] == [1e-2, 3e-3, 2e-3]


# History


@pytest.mark.parametrize("alternate", [False, True])
def test_history_holds_every_term_of_every_epoch(alternate):
    objective = make_objective(alternate=alternate)
    net = train(make_net(), make_epoch(make_data()), 3, objective)
    assert len(net.history) == 3
    for epoch in net.history:
        assert {*WEIGHTS, "train_loss", "discriminator", "accuracy"} <= set(epoch)
        total = sum(weight * epoch[name] for name, weight in WEIGHTS.items())
        assert epoch["train_loss"] == pytest.approx(total)
        assert 0 <= epoch["accuracy"] <= 1


@pytest.mark.parametrize(
    ("weight", "term"),
    [
        ("separation_weight", "separation"),
        ("simplex_weight", "simplex"),
        ("balance_weight", "balance"),
        ("attention_weight", "attention"),
        ("inequality_weight", "inequality"),
    ],
)
def test_a_term_without_weight_is_left_out(weight, term):
    objective = make_objective(**{weight: 0.0})
    net = train(make_net(), make_epoch(make_data()), 1, objective)
    assert term not in net.history[-1]
    assert math.isfinite(net.history[-1]["train_loss"])


def test_without_discriminators_there_is_no_generator_loss():
    net = train(make_net(adversarial=False), make_epoch(make_data()), 1)
    assert "generator" not in net.history[-1]


@pytest.mark.parametrize("form", ["balance", "confidence"])
def test_both_regularizers_have_the_published_form(form):
    net = make_net()
    weights = {"confidence_weight": 0.0, "balance_weight": 0.0, f"{form}_weight": 1.0}
    batch = first_batch(make_data())
    begin_phase(net, make_phase(ADVERSARIAL, 1, make_objective(**weights)))
    out = net.module_(batch.inputs)
    expected = getattr(slow, f"{form}_penalty")(out.logits.softmax(1))
    losses = net.objective_.losses(net, net.encode(batch))
    torch.testing.assert_close(losses[form], expected)


def test_the_history_of_pretraining_holds_means():
    net = make_net()
    pairs = make_pairs(make_data())
    with torch.no_grad():
        expected = []
        for batch, _ in make_pairs(make_data()):
            out = net.module_(batch.inputs, weights=net.module_.frozen)
            disagreement, _ = NeighborAgreement(1.0).agreement(out)
            expected.append(float(disagreement.mean()))
    pretrain(net, pairs, 1, {"network": 1e-12})
    mean = sum(expected) / len(expected)
    assert net.history[-1]["disagreement"] == pytest.approx(mean, rel=1e-6)
