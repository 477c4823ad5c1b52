"""Degradations: the amount of change, its distribution, and what is unchanged."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from mmfusion import Modalities
from mmfusion.robustness import add_noise, drop_modalities, swap_rows

RNG = np.random.default_rng(0)
WIDTHS = {"audio": 2, "video": 3, "text": 1}
DEGRADATIONS = [drop_modalities, add_noise, swap_rows]


@pytest.fixture
def frame():
    return Modalities({n: RNG.normal(size=(40, w)) for n, w in WIDTHS.items()})


@pytest.fixture
def gaps(frame):
    """Every modality lacks some samples, and some samples have one modality only."""
    observed = RNG.random(frame.shape) > 0.4
    observed[np.arange(40), np.arange(40) % 3] = True
    return Modalities(frame, observed=observed)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 30),
    st.integers(1, 4),
    st.floats(0, 1),
    st.integers(0, 2**31),
)
def test_the_share_is_exact_and_last_modalities_are_removed_only_if_needed(
    n, V, share, seed
):
    frame = Modalities([np.ones((n, 1))] * V)
    left = drop_modalities(frame, share, random_state=seed).observed
    n_gone = round(share * n * V)
    assert (~left).sum() == n_gone
    assert (~left.any(axis=1)).sum() == max(0, n_gone - n * (V - 1))


@pytest.mark.parametrize("share", [0, 0.1, 0.25, 0.5])
def test_the_last_modality_of_samples_is_spared(gaps, share):
    dropped = drop_modalities(gaps, share, random_state=0)
    n_observed = gaps.observed.sum()
    assert (~dropped.observed & gaps.observed).sum() == round(share * n_observed)
    assert not (dropped.observed & ~gaps.observed).any()
    n_spare = n_observed - 40  # cells whose removal leaves each sample a modality
    assert dropped.observed.any(axis=1).all() == (round(share * n_observed) <= n_spare)


def test_a_modality_can_be_removed_completely(frame):
    dropped = drop_modalities(frame, 1, "video", random_state=0)
    assert dropped.observed.all(axis=0).tolist() == [True, False, True]
    assert not dropped.observed[:, 1].any()
    assert not drop_modalities(frame, 1, random_state=0).observed.any()


def test_the_last_modality_of_a_sample_is_removed_last():
    observed = np.ones((20, 2), dtype=bool)
    observed[:10, 0] = False  # these have video only
    frame = Modalities({"audio": np.ones((20, 1)), "video": np.ones((20, 1))})
    frame = Modalities(frame, observed=observed)
    half = drop_modalities(frame, 0.5, "video", random_state=0)
    assert half.observed.any(axis=1).all()
    assert not half.observed[10:, 1].any()


def test_cells_of_a_smaller_share_are_among_those_of_a_larger_one(gaps):
    shares = [0.1, 0.3, 0.6, 0.9]
    masks = [drop_modalities(gaps, s, random_state=3).observed for s in shares]
    for more, less in pairwise(masks):
        assert (more >= less).all()


def test_cells_are_removed_with_equal_probability():
    frame = Modalities([np.ones((4, 1))] * 3)
    gone = [~drop_modalities(frame, 0.5, random_state=s).observed for s in range(2000)]
    assert np.mean(gone, axis=0) == pytest.approx(np.full((4, 3), 0.5), abs=0.05)


def test_noise_has_the_deviation_of_its_level():
    scales = np.array([0.01, 1, 100, 0])
    X = {"audio": 7 + scales * RNG.normal(size=(20_000, 4)), "video": np.eye(20_000, 1)}
    noise = add_noise(X, 2, "audio", random_state=0)["audio"] - X["audio"]
    assert noise.std(axis=0) == pytest.approx(2 * X["audio"].std(axis=0), rel=0.03)
    assert np.abs(noise.mean(axis=0)) == pytest.approx(np.zeros(4), abs=6)
    assert not noise[:, 3].any()


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_noise_scales_with_the_unit(unit):
    X = np.random.default_rng(0).normal(size=(50, 2))
    noisy = add_noise({"audio": X}, 1.0, random_state=0)["audio"]
    scaled = add_noise({"audio": X * unit}, 1.0, random_state=0)["audio"]
    np.testing.assert_allclose(scaled / unit, noisy)


def test_noise_is_in_units_of_the_reference(frame):
    louder = {name: 10 * block for name, block in frame.to_dict().items()}
    own = add_noise(frame, 1, random_state=0)["video"] - frame["video"]
    by_reference = add_noise(frame, 1, reference=louder, random_state=0)["video"]
    assert by_reference - frame["video"] == pytest.approx(10 * own)


def test_missing_rows_set_no_units_and_stay_missing(frame):
    block = np.array(frame["audio"])
    block[:20] = 1e6
    observed = np.ones(frame.shape, dtype=bool)
    observed[:20, 0] = False
    masked = Modalities({**frame.to_dict(), "audio": block}, observed=observed)
    noisy = add_noise(masked, 1, random_state=0)
    assert (noisy.observed == observed).all()
    assert np.abs(noisy["audio"][20:] - block[20:]).max() < 10
    block[:20] = np.nan
    nan = add_noise({**frame.to_dict(), "audio": block}, 1, random_state=0)
    assert (nan.observed == observed).all()
    assert nan["audio"][20:] == pytest.approx(noisy["audio"][20:])


def test_noise_on_every_kind_of_block():
    table = RNG.poisson(1.0, size=(30, 4))
    lengths = RNG.integers(2, 6, size=30)
    X = Modalities(
        {
            "counts": table,
            "sparse": sparse.csr_matrix(table),
            "pandas": pd.DataFrame(table, columns=list("abcd")),
            "single": table.astype(np.float32),
            "images": RNG.normal(size=(30, 2, 2)),
            "sequences": [
                None if i == 3 else RNG.normal(size=(n, 2)) * [1, 100]
                for i, n in enumerate(lengths)
            ],
        }
    )
    noisy = add_noise(X, 1, random_state=0)
    assert (noisy.observed == X.observed).all()
    assert list(noisy["pandas"].columns) == list("abcd")
    assert noisy["single"].dtype == np.float32
    assert noisy["images"].shape == (30, 2, 2)
    for name in ("counts", "sparse", "pandas", "single"):
        moved = np.asarray(noisy[name]) - table
        assert moved.std() == pytest.approx(table.std(), rel=0.3)
    assert noisy["sequences"][3] is None
    moved = np.concatenate(
        [noisy["sequences"][i] - X["sequences"][i] for i in range(30) if i != 3]
    )
    assert moved.std(axis=0) == pytest.approx([1, 100], rel=0.25)


def test_swapped_modalities_are_those_of_other_samples(gaps):
    mixed = swap_rows(gaps, 0.5, "video", random_state=0)
    observed = gaps.observed[:, 1]
    moved = (mixed["video"] != gaps["video"]).any(axis=1)
    assert moved.sum() == round(0.5 * observed.sum())
    assert not (moved & ~observed).any()
    assert (mixed.observed == gaps.observed).all()
    rows = [tuple(row) for row in gaps["video"][observed]]
    assert sorted(map(tuple, mixed["video"][observed])) == sorted(rows)
    assert mixed["audio"] is gaps["audio"]


def test_at_least_two_samples_are_swapped(frame):
    mixed = swap_rows(frame, 1 / 40, "text", random_state=0)
    assert (mixed["text"] != frame["text"]).sum() == 2


@pytest.mark.parametrize("degrade", DEGRADATIONS)
class TestAll:
    def test_nothing_at_level_0(self, degrade, gaps):
        assert degrade(gaps, 0, random_state=0) == gaps

    def test_the_same_seed_does_the_same(self, degrade, gaps):
        first, again, other = (degrade(gaps, 0.5, random_state=s) for s in (1, 1, 2))
        assert first == again
        assert first != other

    def test_other_modalities_are_unchanged(self, degrade, gaps):
        worse = degrade(gaps, 0.6, ["text"], random_state=0)
        assert worse[["audio", "video"]] == gaps[["audio", "video"]]
        assert worse != gaps

    def test_the_order_of_modalities_does_not_matter(self, degrade, gaps):
        order = ["text", "audio", "video"]
        worse = degrade(gaps[order], 0.5, ["video", "text"], random_state=0)
        straight = degrade(gaps, 0.5, ["text", "video"], random_state=0)
        assert worse[["audio", "video", "text"]] == straight

    def test_the_data_are_not_changed(self, degrade, gaps):
        before = Modalities(
            {name: block.copy() for name, block in gaps.to_dict().items()},
            observed=gaps.observed.copy(),
        )
        degrade(gaps, 0.7, random_state=0)
        assert gaps == before

    def test_an_unknown_modality_is_named(self, degrade, gaps):
        with pytest.raises(ValueError, match=r"no modality 'smell'; there are \["):
            degrade(gaps, 0.5, ["audio", "smell"])

    def test_a_level_out_of_range_is_refused(self, degrade, gaps):
        with pytest.raises(ValueError, match=r"Got -0\.1 instead"):
            degrade(gaps, -0.1)


@pytest.mark.parametrize("degrade", [drop_modalities, swap_rows])
def test_a_share_is_at_most_1(degrade, frame):
    with pytest.raises(ValueError, match="The 'share' parameter of"):
        degrade(frame, 1.5)


def test_noise_on_text_is_refused(frame):
    words = np.array([["a"]] * 40)
    with pytest.raises(ValueError, match="'words' holds <U1, and noise"):
        add_noise({"words": words}, 1)


def test_a_reference_without_the_modality_is_refused(frame):
    with pytest.raises(ValueError, match="the reference has no modality 'text'"):
        add_noise(frame, 1, reference=frame[["audio", "video"]])
