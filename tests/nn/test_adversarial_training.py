"""Training, against loops by hand with plain torch on copies of the modules."""

import copy
import math

import pytest
import torch
from skorch.callbacks import Callback
from torch.nn import functional as F

from mmfusion.nn._training import begin, keep_best_head

from . import slow_losses as slow
from .nets import (
    OBJECTIVE,
    make_data,
    make_epoch,
    make_net,
    make_objective,
    make_pairs,
    state_of,
)

WEIGHTS = {
    "sc": OBJECTIVE["sc_weight"],
    "sim": OBJECTIVE["sim_weight"],
    "reg": OBJECTIVE["reg_weight"],
    "attention": OBJECTIVE["attention_weight"],
    "generator": OBJECTIVE["adversarial_weight"],
}


def train(net, epoch, n_epochs, phase="game"):
    begin(net, phase, n_epochs)
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


def judge(judges, latents, others):
    """Logits of each discriminator for its own modality and for the reference."""

    def logits(d, h):
        for layer in range(4):
            h = h @ judges.weights[layer][d] + judges.biases[layer][d]
            h = F.leaky_relu(h, 0.2) if layer < 3 else h
        return h[:, 0]

    own = torch.stack([logits(d, latents[v]) for d, v in enumerate(others)])
    return own, lambda ref: torch.stack([logits(d, ref) for d in range(len(others))])


def adam(groups, betas):
    return torch.optim.Adam(groups, betas=betas, foreach=False, fused=False)


class ByHand:
    """The game as the method sheet tells it, for one net and one batch at a time."""

    def __init__(self, net, reference, clip_norm):
        self.network = copy.deepcopy(net.module_).train()
        self.judges = copy.deepcopy(net.discriminators_)
        self.reference, self.clip_norm = reference, clip_norm
        attention = self.network.attention
        slow_ones = [] if attention is None else list(attention.parameters())
        taken = {id(p) for p in slow_ones}
        rest = [p for p in self.network.parameters() if id(p) not in taken]
        groups = [{"params": rest, "lr": 1e-2}]
        if slow_ones:
            groups.append({"params": slow_ones, "lr": 3e-3})
        self.optimizer = adam(groups, (0.95, 0.999))
        if self.judges is not None:
            own = [{"params": list(self.judges.parameters()), "lr": 2e-3}]
            self.judge_optimizer = adam(own, (0.5, 0.999))

    def step(self, batch, *, network, judges):
        inputs, observed = batch
        latents = encode(self.network, inputs, observed)
        others = [v for v in range(len(latents)) if v != self.reference]
        seen = None if observed is None else observed.T[others]
        known = None
        if observed is not None:
            known = observed.T[self.reference].expand(len(others), -1)
        terms = {}
        if self.judges is not None and judges:
            fixed = latents.detach()
            fake, of = judge(self.judges, fixed, others)
            terms["discriminator"] = slow.adversarial_cross_entropy(
                fake, False, seen
            ) + slow.adversarial_cross_entropy(of(fixed[self.reference]), True, known)
            self.judge_optimizer.zero_grad()
            terms["discriminator"].backward()
            self.judge_optimizer.step()
        if network:
            terms |= self.learn(latents, observed, others, seen)
        return {name: float(term.detach()) for name, term in terms.items()}

    def learn(self, latents, observed, others, seen):
        weights = weigh(self.network, latents, observed)
        fused = fuse(latents, observed, weights)
        hidden, a = cluster(self.network.heads, fused)
        kernel = slow.gaussian_kernel(hidden)
        terms = {
            "sc": slow.cauchy_schwarz_divergence(a, kernel),
            "sim": slow.cauchy_schwarz_divergence(slow.corner_closeness(a), kernel),
            "reg": slow.balance_penalty(a),
        }
        if self.network.attention is not None:
            kernels = torch.stack([slow.gaussian_kernel(h) for h in latents])
            terms["attention"] = slow.attention_mismatch(
                slow.gaussian_kernel(fused), kernels, weights, observed
            )
        if self.judges is not None:
            fake, _ = judge(self.judges, latents, others)
            terms["generator"] = slow.adversarial_cross_entropy(fake, True, seen)
        loss = sum(WEIGHTS[name] * term for name, term in terms.items())
        self.optimizer.zero_grad()
        loss.backward()
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.clip_norm)
        self.optimizer.step()
        return terms | {"train_loss": loss}


CASES = {
    "all": {},
    "no game": {"adversarial": False},
    "no attention": {"attention": False},
    "neither": {"adversarial": False, "attention": False},
    "turns": {"alternate": True},
    "turns without attention": {"alternate": True, "attention": False},
    "turns without a game": {"alternate": True, "adversarial": False},
    "missing modalities": {"missing": True},
    "another reference": {"reference": 1, "missing": True},
    "clipped": {"clip_norm": 0.05},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_training_is_that_of_the_loop_by_hand(case):
    case = {"adversarial": True, "attention": True, "alternate": False} | case
    adversarial, missing = case.pop("adversarial"), case.pop("missing", False)
    weight = OBJECTIVE["adversarial_weight"] if adversarial else 0.0
    objective = make_objective(adversarial_weight=weight)
    net = make_net(objective, schedule="constant", **case)
    assert (net.discriminators_ is not None) is adversarial
    reference, clip_norm = case.get("reference", 0), case.get("clip_norm")
    hand = ByHand(net, reference, clip_norm)
    data = make_data(missing)
    turns = case["alternate"] and adversarial
    expected = []
    for turn, batch in enumerate(make_epoch(data)):
        expected.append(
            hand.step(
                batch,
                network=not turns or turn % 2 == 0,
                judges=not turns or turn % 2 == 1,
            )
        )
    before = state_of(net)
    train(net, make_epoch(data), 1)
    for ours, by_hand in (
        (net.module_, hand.network),
        (net.discriminators_, hand.judges),
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


def test_the_warm_start_is_that_of_a_loop_by_hand():
    net = make_net(n_heads=3, schedule="constant")
    network = copy.deepcopy(net.module_).train()
    others = [p for n, p in network.named_parameters() if not n.startswith("attention")]
    optimizer = adam([{"params": others, "lr": 2e-2}], (0.95, 0.999))
    data = make_data(missing=True)
    running = torch.ones(3, 6, dtype=torch.float64)
    recorded = []
    steps = len(make_pairs(data))
    for step, ((inputs, observed), graphs) in enumerate(make_pairs(data)):
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
        first = OBJECTIVE["size_weight"]
        size_weight = first + (1 - first) * step / steps  # falls to 1
        loss = loss + size_weight * sum(imbalances) / len(imbalances)
        recorded.append(sum(plain) / len(plain))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    train(net, make_pairs(data), 1, "warm start")
    for (name, found), wanted in zip(
        net.module_.named_parameters(), network.parameters(), strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-7, msg=name)
    torch.testing.assert_close(net.trust_.running, running)
    assert net.history[-1]["disagreement"] == pytest.approx(
        sum(recorded) / len(recorded), rel=1e-6
    )


# Who learns from what


def first_batch(data):
    return next(iter(make_epoch(data)))


def test_discriminators_get_no_gradient_from_the_step_of_the_network():
    net = make_net(alternate=True)
    begin(net, "game", 1)
    before = state_of(net)
    net.turn_ = 0
    terms = net.train_step(first_batch(make_data()))
    assert "generator" in terms
    assert "discriminator" not in terms
    for parameter in net.discriminators_.parameters():
        assert parameter.grad is None
        assert parameter.requires_grad
    after = state_of(net)
    for name, value in after.items():
        if name.startswith("discriminators"):
            assert torch.equal(value, before[name])
    name = "network.encoders.1.0.weight"
    assert not torch.equal(after[name], before[name])


def test_the_network_gets_no_gradient_from_the_step_of_the_discriminators():
    net = make_net(alternate=True)
    begin(net, "game", 1)
    before = state_of(net)
    net.turn_ = 1
    assert set(net.train_step(first_batch(make_data()))) == {
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


def test_the_reference_is_not_moved_by_the_game():
    only_game = {"sc_weight": 0, "sim_weight": 0, "reg_weight": 0}
    objective = make_objective(attention_weight=0, **only_game)
    net = make_net(objective, reference=1)
    before = state_of(net)
    train(net, make_epoch(make_data()), 1)
    after = state_of(net)
    for v in range(3):
        name = f"network.encoders.{v}.0.weight"
        assert torch.equal(after[name], before[name]) is (v == 1)


def test_discriminators_that_are_ahead_rest():
    net = make_net(rest=100.0)
    before = state_of(net)
    train(net, make_epoch(make_data()), 2)
    for name, value in state_of(net).items():
        if name.startswith("discriminators"):
            assert torch.equal(value, before[name])
    assert net.history[-1]["discriminator"] > 0


def test_the_accuracy_of_discriminators_counts_observed_samples_only():
    net = make_net(alternate=True)
    inputs, observed = batch = make_data(missing=True).batch(slice(None))
    latents = encode(net.module_, inputs, observed).detach()
    own, of = judge(net.discriminators_, latents, [1, 2])
    reference = of(latents[0])
    right = [
        float(says[d, q] > 0) if real else float(says[d, q] < 0)
        for says, real in ((own, False), (reference, True))
        for d in range(2)
        for q in range(len(observed))
        if observed[q, 0 if real else d + 1]
    ]
    begin(net, "game", 1)
    net.turn_ = 1
    accuracy = net.train_step(batch)["accuracy"]
    assert float(accuracy) == pytest.approx(sum(right) / len(right))


def test_discriminators_learn_to_tell_modalities_apart():
    frozen = {"sc_weight": 0, "sim_weight": 0, "reg_weight": 1e-12}
    objective = make_objective(attention_weight=0, adversarial_weight=1e-12, **frozen)
    net = make_net(objective, lr=1e-12, discriminator_lr=3e-3, schedule="constant")
    train(net, make_epoch(make_data()), 12)
    losses = net.history[:, "discriminator"]
    assert losses[-1] < losses[0] / 2
    assert net.history[-1]["accuracy"] > 0.8


def test_encoders_learn_to_be_taken_for_the_reference():
    net = make_net(make_objective(adversarial_weight=10.0), discriminator_lr=1e-12)
    train(net, make_epoch(make_data()), 8)
    losses = net.history[:, "generator"]
    assert losses[-1] < 0.9 * losses[0]


def test_a_warm_start_brings_neighbours_to_agree():
    net = train(make_net(n_heads=2), make_pairs(make_data()), 12, "warm start")
    losses = net.history[:, "disagreement"]
    assert losses[-1] < losses[0]


def test_one_head_is_left_after_the_competition_and_learns_from_scratch():
    data = make_data()
    net = train(make_net(n_heads=3), make_pairs(data), 3, "warm start")
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
        train(net, make_pairs(data), 1, "warm start")
        keep_best_head(net, make_pairs(data, seed=1))
        train(net, make_epoch(data), 1)
        assert {p.dtype for p in net.module_.parameters()} == {torch.float32}
        histories.append(net.history)
    for full, mixed in zip(*histories, strict=True):
        terms = set(full) - {"batches", "dur", "epoch", "accuracy"}
        assert len(terms) >= 3
        for name in terms:
            assert mixed[name] == pytest.approx(full[name], rel=0.1, abs=0.02), name


# Learning rates


class Rates(Callback):
    def on_train_begin(self, net, **kwargs):
        self.seen_ = getattr(self, "seen_", [])

    def on_batch_begin(self, net, **kwargs):
        optimizers = net.optimizer_, net.discriminator_optimizer_
        self.seen_.append([g["lr"] for o in optimizers for g in o.param_groups])


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
    begin(net, "game", 4)
    net.partial_fit(make_epoch(data), epochs=1)
    begin(net, "game", 4, done=1)
    net.partial_fit(make_epoch(data), epochs=3)
    assert rates.seen_ == whole


def test_constant_learning_rates_stay():
    seen = rates_of(make_net(schedule="constant"), make_data(), [3])
    assert all(rates == [1e-2, 3e-3, 2e-3] for rates in seen)


def test_the_warm_start_has_a_learning_rate_of_its_own():
    data, rates = make_data(), Rates()
    net = make_net(n_heads=2, schedule="constant")
    net.callbacks_ = [("rates", rates)]
    train(net, make_pairs(data), 1, "warm start")
    assert all(own[:2] == [2e-2, 2e-2] for own in rates.seen_)
    keep_best_head(net, make_pairs(data))
    train(net, make_epoch(data), 1)
    assert rates.seen_[-1] == [1e-2, 3e-3, 2e-3]


# History


@pytest.mark.parametrize("alternate", [False, True])
def test_history_holds_every_term_of_every_epoch(alternate):
    net = train(make_net(alternate=alternate), make_epoch(make_data()), 3)
    assert len(net.history) == 3
    for epoch in net.history:
        assert {*WEIGHTS, "train_loss", "discriminator", "accuracy"} <= set(epoch)
        total = sum(weight * epoch[name] for name, weight in WEIGHTS.items())
        assert epoch["train_loss"] == pytest.approx(total)
        assert 0 <= epoch["accuracy"] <= 1


@pytest.mark.parametrize(
    ("weight", "term"),
    [
        ("sc_weight", "sc"),
        ("sim_weight", "sim"),
        ("reg_weight", "reg"),
        ("attention_weight", "attention"),
        ("adversarial_weight", "generator"),
    ],
)
def test_a_term_without_weight_is_left_out(weight, term):
    net = make_net(make_objective(**{weight: 0.0}))
    train(net, make_epoch(make_data()), 1)
    assert term not in net.history[-1]
    assert math.isfinite(net.history[-1]["train_loss"])


@pytest.mark.parametrize("form", ["balance", "confidence"])
def test_the_regularizer_has_the_form_that_is_asked_for(form):
    objective = make_objective(regularizer=form)
    net = make_net(objective)
    out = net.module_(first_batch(make_data()).inputs)
    expected = getattr(slow, f"{form}_penalty")(out.logits.softmax(1))
    torch.testing.assert_close(objective.clustering(out)["reg"], expected)


def test_the_sum_of_the_mismatch_is_that_over_all_entries():
    inputs, _ = first_batch(make_data())
    out = make_net().module_(inputs)
    mean = make_objective().attention(out, None)
    total = make_objective(mean_attention=False).attention(out, None)
    torch.testing.assert_close(total, mean * len(inputs[0]) ** 2)


@pytest.mark.parametrize("alternate", [False, True])
def test_the_history_of_a_warm_start_holds_means_whether_turns_are_taken_or_not(
    alternate,
):
    net = make_net(alternate=alternate, pretrain_lr=1e-12)
    pairs = make_pairs(make_data())
    with torch.no_grad():
        expected = []
        for batch, _ in make_pairs(make_data()):
            out = net.module_(batch.inputs, weights=net.module_.frozen)
            disagreement, _ = net.criterion.agreement(out)
            expected.append(float(disagreement.mean()))
    train(net, pairs, 1, "warm start")
    mean = sum(expected) / len(expected)
    assert net.history[-1]["disagreement"] == pytest.approx(mean, rel=1e-6)
