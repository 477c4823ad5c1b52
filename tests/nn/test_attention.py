"""Attention between frames: limits, masks, windows, memory."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from mmfusion.nn import _attention
from mmfusion.nn._attention import TimeAwareAttention, TimedFrames


def frames(lengths, width=3, n_frames=None, seed=0, clock=1.0):
    generator = torch.Generator().manual_seed(seed)
    n_frames = n_frames or max(lengths)
    values = torch.randn(len(lengths), n_frames, width, generator=generator).double()
    positions = torch.arange(n_frames).expand(len(lengths), -1)
    ends = torch.tensor(lengths)[:, None]
    observed = positions < ends
    times = torch.minimum(positions, (ends - 1).clamp(min=0)).double() * clock
    return TimedFrames(values, times, observed)


def attention(**options):
    torch.manual_seed(0)
    return TimeAwareAttention(3, 3, 4, **{"unit": 2.0, "n_heads": 2} | options).double()


def set_penalty(module, penalty):
    raw = torch.tensor(penalty).expm1().log() if penalty < 50 else penalty
    with torch.no_grad():
        module.raw_penalty.fill_(raw / _attention.STEP_FACTOR)


Q, K = frames([6, 4, 1]), frames([8, 0, 5], seed=1)


def test_what_is_read_is_the_mean_of_values_by_the_weights():
    module = attention()
    weights = module.weights(Q, K)
    values = module.value(K.values).unflatten(-1, (2, -1)).transpose(1, 2)
    expected = module.out((weights @ values).transpose(1, 2).flatten(2))
    found = module(Q, K)
    assert_allclose(found[0].detach(), expected[0].detach(), rtol=1e-12)
    assert_allclose(weights[0].sum(-1).detach(), 1.0)
    # the second sample lacks the other sequence
    assert not weights[1].any()
    assert not found[1].any()


def test_the_weights_are_those_of_the_formula():
    module = attention(n_heads=1)
    with torch.no_grad():
        module.raw_offset.fill_(0.03)
    q, k = module.query(Q.values[0]), module.key(K.values[0])
    assert_allclose(module.penalty.item(), 0.5, rtol=1e-6)
    assert_allclose(module.offset.item(), 10 * 0.03 * 2.0, rtol=1e-6)
    dt = Q.times[0][:, None] - K.times[0] - module.offset
    scores = q @ k.T / 2.0 - module.penalty * (dt / 2.0) ** 2
    found = module.weights(Q, K)[0, 0]
    assert_allclose(found.detach(), scores.softmax(-1).detach(), rtol=1e-10)


def test_a_large_penalty_reads_the_frame_of_the_same_time():
    module = attention()
    set_penalty(module, 1e4)
    other = frames([6, 4, 1], seed=1)
    expected = module.out(module.value(other.values))
    for i, length in enumerate((6, 4, 1)):
        found = module(Q, other)[i, :length]
        assert_allclose(found.detach(), expected[i, :length].detach(), rtol=1e-10)


def test_without_a_penalty_the_order_of_frames_does_not_count():
    module = attention(has_penalty=False)
    order = torch.tensor([3, 1, 7, 0, 5, 2, 6, 4])
    whole = frames([8, 8, 8], seed=1)
    shuffled = whole._replace(values=whole.values[:, order])
    assert_allclose(module(Q, shuffled).detach(), module(Q, whole).detach(), rtol=1e-10)


def test_only_differences_of_times_in_their_unit_count():
    expected = attention()(Q, K).detach()
    later = [x._replace(times=x.times + 7.0) for x in (Q, K)]
    assert_allclose(attention()(*later).detach(), expected, rtol=1e-10)
    slower = [x._replace(times=x.times * 3) for x in (Q, K)]
    assert_allclose(attention(unit=6.0)(*slower).detach(), expected, rtol=1e-10)


def test_an_offset_of_the_clocks_undoes_a_shift():
    module, shifted = attention(), Q._replace(times=Q.times + 5.0)
    expected = module(Q, K).detach()
    with torch.no_grad():
        module.raw_offset.fill_(5.0 / (2.0 * _attention.STEP_FACTOR))
    assert_allclose(module.offset.detach(), 5.0)
    assert_allclose(module(shifted, K).detach(), expected, rtol=1e-5)


@pytest.mark.parametrize("window", [None, 2.5])
def test_padding_changes_nothing(window):
    module = attention(window=window)
    expected = module(Q, K).detach()
    padded = []
    for x, n_more in ((Q, 3), (K, 2)):
        values = torch.cat([x.values, torch.full((3, n_more, 3), torch.nan)], 1)
        values[~torch.nn.functional.pad(x.observed, (0, n_more))] = torch.nan
        times = torch.cat([x.times, x.times[:, -1:].expand(-1, n_more)], 1)
        observed = torch.nn.functional.pad(x.observed, (0, n_more))
        padded.append(TimedFrames(values, times, observed))
    assert_allclose(module(*padded)[:, :6].detach(), expected, rtol=1e-10)


def test_a_sample_alone_is_as_among_others():
    module = attention()
    whole = module(Q, K).detach()
    for i in range(3):
        alone = module(*(TimedFrames(*(x[i : i + 1] for x in each)) for each in (Q, K)))
        assert_allclose(alone[0].detach(), whole[i], rtol=1e-10)


@pytest.mark.parametrize("clock", [1.0, 0.4])
def test_windows_read_what_a_mask_leaves(clock, monkeypatch):
    monkeypatch.setattr(_attention, "BLOCK_FRAMES", 4)
    queries = frames([30, 12, 7], clock=clock)
    keys = frames([20, 25, 0], seed=1)
    module = attention(window=3.0)
    with torch.no_grad():
        module.raw_offset.copy_(torch.tensor([0.02, -0.05]))
    by_blocks = module(queries, keys)
    expected = module._read(queries, keys)
    for i, length in enumerate((30, 12, 7)):
        assert_allclose(
            by_blocks[i, :length].detach(), expected[i, :length].detach(), rtol=1e-10
        )
    dt = queries.times[:, None, :, None] - keys.times[:, None, None]
    far = (dt - module.offset[:, None, None]).abs() > 3.0
    assert not module.weights(queries, keys)[far].any()
    assert by_blocks.isfinite().all()


def test_a_wide_window_is_none():
    expected = attention()(Q, K).detach()
    assert_allclose(attention(window=100.0)(Q, K).detach(), expected, rtol=1e-10)


def test_too_many_weights_are_refused_and_a_window_helps(monkeypatch):
    queries, keys = frames([200]), frames([200], seed=1)
    monkeypatch.setattr(_attention, "LARGEST_CELLS", 50_000)
    with pytest.raises(ValueError, match=r"200 frames to 200 in 1 .* give window"):
        attention()(queries, keys)
    assert attention(window=2.0)(queries, keys).shape == (1, 200, 4)
    with pytest.raises(ValueError, match="smaller than 190"):
        attention(window=190.0)(queries, keys)


def test_nearness_is_that_of_the_nearest_frame():
    module = attention()
    with torch.no_grad():
        module.raw_offset.copy_(torch.tensor([0.0, 0.2]))
    found = module.nearness(Q, K._replace(times=1.7 * K.times)).detach()
    assert found.shape == (3, 6, 4)
    assert not found[1].any()  # the other sequence is missing
    for sample, n_frames in ((0, 8), (2, 5)):
        times = 1.7 * np.arange(n_frames)
        for head, (b, offset) in enumerate(
            zip(module.penalty.tolist(), module.offset.tolist(), strict=True)
        ):
            for i, at in enumerate(Q.times[sample].tolist()):
                x = (at - offset - times) / 2.0
                x = x[np.abs(x).argmin()]
                near, difference = found[sample, i, 2 * head : 2 * head + 2].tolist()
                assert near == pytest.approx(np.exp(-b * x**2))
                assert difference == pytest.approx(np.clip(x, -3, 3))


def test_gradients_are_finite_where_nothing_can_be_read():
    module = attention()
    missing = K._replace(observed=torch.zeros_like(K.observed))
    module(Q, missing).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())


def test_an_offset_of_five_frames_and_a_narrow_window_are_learned():
    torch.manual_seed(0)
    module = TimeAwareAttention(1, 1, 4, unit=6.0)
    head = torch.nn.Linear(4, 1)
    parameters = [*module.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        noise = torch.randn(16, 60, 1, generator=generator)
        keys = frames([60] * 16, 1)._replace(values=noise)
        keys = keys._replace(times=keys.times.float())
        queries = keys._replace(values=torch.ones_like(noise)[:, :50])
        queries = queries._replace(
            times=keys.times[:, :50], observed=keys.observed[:, :50]
        )
        # the clock of the queries is five frames late
        shifted = queries._replace(times=queries.times + 5)
        loss = (head(module(shifted, keys)) - noise[:, :50]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert abs(float(module.offset.detach()) - 5) < 1
    assert np.sqrt(0.5 / float(module.penalty.detach())) < 0.5  # in units
