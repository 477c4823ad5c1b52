"""Degradations in time: the share of frames, where content moves, what is unchanged."""

from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfusion import LateFusionClassifier, Modalities
from mmfusion.robustness import (
    add_noise,
    degradation_curve,
    drop_modalities,
    drop_stretches,
    noise_bursts,
    shift_modality,
)

RNG = np.random.default_rng(0)
DEGRADATIONS = [noise_bursts, shift_modality, drop_stretches]


def sequence(n_frames, n_features=2, dtype=np.float64):
    """Distinct values, and the number of the frame as a clock."""
    values = RNG.normal(size=(n_frames, n_features))
    return np.column_stack([values, np.arange(n_frames)]).astype(dtype)


@pytest.fixture
def frame():
    """Ragged and padded sequences, some of them missing, beside a table."""
    padded = np.stack([sequence(12, dtype=np.float32) for _ in range(8)])
    padded[1] = np.nan
    padded[3, 9:] = np.nan
    return Modalities(
        {
            "audio": [None if i == 2 else sequence(10 + 3 * i) for i in range(8)],
            "video": padded,
            "table": RNG.normal(size=(8, 2)),
        }
    )


SEQUENCES = ["audio", "video"]


def frames_of(X, name):
    """The sequences of a modality, without padding."""
    for x, is_observed in zip(X[name], X.observed[:, X.names.index(name)], strict=True):
        yield x[~np.isnan(x).all(axis=1)] if is_observed else None


def pairs(X, changed, names=SEQUENCES):
    """Each observed sequence before and after."""
    for name in names:
        for before, after in zip(
            frames_of(X, name), frames_of(changed, name), strict=True
        ):
            if before is not None:
                yield before, after


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 60),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(0, 2**31 - 1),
)
def test_stretches_cover_the_share_and_those_of_a_smaller_one_are_nested(n, a, b, seed):
    X = {"audio": [sequence(n), sequence(n + 1)]}
    covered = []
    for share in sorted([a, b]):
        noisy = noise_bursts(X, share, random_state=seed)
        rows = [
            (x != y).any(axis=1)
            for x, y in zip(noisy["audio"], X["audio"], strict=True)
        ]
        assert [r.sum() for r in rows] == [round(share * len(r)) for r in rows]
        covered.append(rows)
    for less, more in zip(*covered, strict=True):
        assert (more >= less).all()


@pytest.mark.parametrize("n_frames", [10, 37, 200])
def test_stretches_are_from_a_tenth_to_a_half_of_a_sequence(n_frames):
    X = {"audio": [np.zeros((n_frames, 1))] * 300}
    for share in (0.1, 0.5):
        units = {"audio": [np.arange(4.0)[:, None]] * 300}
        noisy = noise_bursts(X, share, reference=units, random_state=0)["audio"]
        n_pieces = [
            np.diff((x[:, 0] != 0).astype(int), prepend=0, append=0) for x in noisy
        ]
        counts = [int((edges == 1).sum()) for edges in n_pieces]
        if share == 0.1:
            assert set(counts) == {1}
        assert max(counts) <= np.ceil(share * n_frames / np.ceil(n_frames / 10))


def test_frames_are_covered_with_about_equal_probability():
    X = {"audio": [np.arange(20.0)[:, None]] * 4000}
    noisy = noise_bursts(X, 0.3, random_state=0)["audio"]
    rate = np.mean([x[:, 0] != np.arange(20) for x in noisy], axis=0)
    assert rate == pytest.approx(np.full(20, 0.3), abs=0.08)


def test_bursts_have_the_deviation_of_their_level_and_spare_the_clock():
    X = {"audio": [sequence(50) * [1, 100, 1] for _ in range(200)]}
    for level in (1.0, 3.0):
        noisy = noise_bursts(X, 0.4, level=level, times=-1, random_state=0)
        noise = np.concatenate(noisy["audio"]) - np.concatenate(X["audio"])
        inside = noise.any(axis=1)
        assert inside.mean() == pytest.approx(0.4)
        assert noise[inside].std(axis=0) == pytest.approx(
            np.array([1, 100, 0]) * level, rel=0.05
        )
    assert add_noise(X, 1, times=-1, random_state=0)["audio"][0][:, 2].tolist() == [
        *range(50)
    ]


def test_bursts_over_all_frames_are_noise(frame):
    X = frame[SEQUENCES]
    noisy = noise_bursts(X, 1, level=2, random_state=0)
    deviation = np.concatenate([x for x in X["audio"] if x is not None]).std(axis=0)
    moved = np.concatenate([after - before for before, after in pairs(X, noisy)])
    assert (moved != 0).all()
    moved = np.concatenate([b - a for a, b in pairs(X, noisy, ["audio"])])
    assert moved.std(axis=0) == pytest.approx(2 * deviation, rel=0.3)


def test_bursts_are_in_units_of_the_reference(frame):
    X = frame[SEQUENCES]
    louder = {
        "audio": [None if x is None else 10 * x for x in X["audio"]],
        "video": 10 * X["video"],
    }
    own = noise_bursts(X, 0.5, random_state=0)
    by_reference = noise_bursts(X, 0.5, reference=louder, random_state=0)
    for (before, a), (_, b) in zip(pairs(X, own), pairs(X, by_reference), strict=True):
        np.testing.assert_allclose(b - before, 10 * (a - before), rtol=1e-3, atol=1e-4)
    narrow = {"audio": [np.ones((3, 2))] * 8, "video": X["video"]}
    with pytest.raises(ValueError, match=r"'audio' of the reference has features of"):
        noise_bursts(X, 0.5, reference=narrow)


@pytest.mark.parametrize("shift", [-30, -3, 1, 4, 1000])
def test_without_a_clock_frames_move_and_the_edge_is_repeated(frame, shift):
    late = shift_modality(frame, shift, SEQUENCES)
    for before, after in pairs(frame, late):
        last = len(before) - 1
        for t in range(len(before)):
            assert after[t].tolist() == before[min(max(t - shift, 0), last)].tolist()


@pytest.mark.parametrize("shift", [-0.5, 7, 0.25])
def test_with_a_clock_the_clock_moves_and_nothing_else(frame, shift):
    late = shift_modality(frame, shift, SEQUENCES, times=-1)
    for before, after in pairs(frame, late):
        assert (after[:, :-1] == before[:, :-1]).all()
        np.testing.assert_allclose(after[:, -1] - before[:, -1], shift)


def test_shifts_per_sample_are_uniform_and_proportional():
    X = {"audio": [sequence(3) for _ in range(2000)]}
    shifts = {}
    for shift in (1, 6):
        options = {"per_sample": True, "times": -1, "random_state": 0}
        late = shift_modality(X, shift, "audio", **options)["audio"]
        shifts[shift] = np.array([x[0, -1] for x in late])
    assert shifts[6] == pytest.approx(6 * shifts[1])
    assert abs(shifts[1].mean()) < 0.05
    assert shifts[1].min() < -0.98
    assert shifts[1].max() > 0.98


@pytest.mark.parametrize("share", [0.1, 0.3, 0.7])
def test_dropped_frames_are_left_out_with_a_clock_and_else_the_last_is_held(
    frame, share
):
    options = {"modalities": SEQUENCES, "random_state": 3}
    short = drop_stretches(frame, share, times=-1, **options)
    held = drop_stretches(frame, share, **options)
    for (before, left), (_, full) in zip(
        pairs(frame, short), pairs(frame, held), strict=True
    ):
        assert len(before) - len(left) == round(share * len(before))
        kept = [t for t in range(len(before)) if before[t, -1] in left[:, -1]]
        assert (before[kept] == left).all()
        for t in range(len(before)):
            earlier = [k for k in kept if k <= t]
            source = earlier[-1] if earlier else kept[0]
            assert (full[t] == before[source]).all()


def test_a_sequence_without_frames_is_missing(frame):
    for times in (None, -1):
        gone = drop_stretches(frame, 1, "video", times=times, random_state=0)
        dropped = drop_modalities(frame, 1, "video")
        assert (gone.observed == dropped.observed).all()
        assert np.isnan(gone["video"]).all()


def test_dropped_stretches_are_those_of_bursts_and_nested(frame):
    options = {"modalities": "audio", "random_state": 5}
    kept = [drop_stretches(frame, s, times=-1, **options) for s in (0.2, 0.5, 0.8)]
    for more, less in pairwise(kept):
        for a, b in pairs(more, less, ["audio"]):
            assert set(b[:, -1]) <= set(a[:, -1])


@pytest.mark.parametrize("degrade", DEGRADATIONS)
@pytest.mark.parametrize("times", [None, -1])
class TestAll:
    def test_nothing_at_level_0(self, degrade, times, frame):
        assert degrade(frame, 0, SEQUENCES, times=times, random_state=0) == frame

    def test_what_is_missing_stays_missing_and_types_stay(self, degrade, times, frame):
        worse = degrade(frame, 1, SEQUENCES, times=times, random_state=0)
        assert (worse.observed <= frame.observed).all()
        assert worse["table"] is frame["table"]
        assert worse["video"].dtype == np.float32
        assert worse["video"].shape == frame["video"].shape
        assert worse["audio"][2] is None

    def test_the_data_are_not_changed(self, degrade, times, frame):
        before = frame.copy()
        for x in frame["audio"]:
            if x is not None:
                x.flags.writeable = False
        frame["video"].flags.writeable = False
        degrade(frame, 1, SEQUENCES, times=times, random_state=0)
        assert frame == before

    def test_the_same_seed_does_the_same(self, degrade, times, frame):
        more = {"per_sample": True} if degrade is shift_modality else {}
        level = 3 if degrade is shift_modality else 0.5
        apply = partial(degrade, frame, level, SEQUENCES, times=times, **more)
        assert apply(random_state=1) == apply(random_state=1)
        assert apply(random_state=1) != apply(random_state=2)

    def test_the_order_of_modalities_does_not_matter(self, degrade, times, frame):
        order = ["table", "video", "audio"]
        options = {"times": times, "random_state": 0}
        worse = degrade(frame[order], 1, SEQUENCES, **options)
        assert worse[list(frame.names)] == degrade(
            frame, 1, ["video", "audio"], **options
        )

    def test_tables_and_images_are_refused(self, degrade, times, frame):
        for v, block in enumerate([np.ones((8, 2)), np.ones((8, 3, 4, 4))]):
            X = Modalities({"audio": frame["audio"], f"other{v}": block})
            with pytest.raises(
                ValueError, match=rf"'other{v}' has shape .* only sequences .*add_noise"
            ):
                degrade(X, 1, list(X.names), times=times)

    def test_an_unknown_modality_is_named(self, degrade, times, frame):
        with pytest.raises(ValueError, match=r"no modality 'smell'; there are \["):
            degrade(frame, 1, ["audio", "smell"], times=times)


def test_clocks_go_by_name_and_features_keep_their_names():
    own = [pd.DataFrame(sequence(6), columns=["x", "y", "time"]) for _ in range(4)]
    X = Modalities({"audio": own, "video": [sequence(5) for _ in range(4)]})
    late = shift_modality(X, 0.5, "audio", times={"audio": "time"})
    assert late["audio"][0][:, 2].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    later = shift_modality(late, 0.5, "audio", times={"audio": "time"})
    assert later["audio"][0][0, 2] == 1
    with pytest.raises(ValueError, match="times='seconds' is no feature of modality"):
        shift_modality(X, 0.5, "audio", times="seconds")
    with pytest.raises(ValueError, match=r"shift=0\.5 is no whole number of frames"):
        shift_modality(X, 0.5, "video", times={"audio": "time"})


def test_words_can_be_shifted_and_dropped_but_get_no_noise():
    X = {"words": [np.array([["a"], ["b"], ["c"]], dtype=object)]}
    late = shift_modality(X, 1, "words")["words"][0]
    assert late[:, 0].tolist() == ["a", "a", "b"]
    assert len(drop_stretches(X, 0.4, random_state=0)["words"][0]) == 3
    with pytest.raises(ValueError, match="'words' holds object, and noise and clocks"):
        noise_bursts(X, 0.5)


@pytest.fixture
def waves():
    """The class is the frequency of both sequences."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    t = np.arange(30.0)
    waves = [np.sin((0.2 + 0.2 * label) * t + 6 * rng.random()) for label in y]
    blocks = {
        name: [np.column_stack([x + 0.1 * rng.normal(size=30), t]) for x in waves]
        for name in ("audio", "video")
    }
    return Modalities(blocks | {"table": rng.normal(size=(60, 2))}), y


class FirstFrames(LateFusionClassifier):
    """Late fusion of flattened sequences; records what it predicts."""

    predicted = []

    def fit(self, X, y):
        return super().fit(self._flat(X), y)

    def predict(self, X):
        self.predicted.append(X)
        return super().predict(self._flat(X))

    def score(self, X, y, sample_weight=None):
        return float(np.mean(self.predict(X) == y))

    def _flat(self, X):
        return {n: np.stack([x.ravel()[:20] for x in X[n]]) for n in SEQUENCES}


def test_curves_of_sequences_have_levels_of_their_own_and_keep_clocks(waves):
    X, y = waves
    FirstFrames.predicted.clear()
    results = degradation_curve(
        FirstFrames(),
        X,
        y,
        degradation=["noise", "bursts", "shift"],
        modalities=SEQUENCES,
        times=-1,
        cv=2,
        random_state=0,
    )
    levels = results.frame.groupby("degradation")["level"].unique()
    assert levels["shift"].tolist() == [0, 1, 2, 5, 10]
    assert levels["bursts"].tolist() == [0, 0.25, 0.5, 0.75, 1]
    starts = {x[0, -1] for X in FirstFrames.predicted for n in SEQUENCES for x in X[n]}
    assert starts == {0.0, 1.0, 2.0, 5.0, 10.0}


def test_curves_refuse_tables_and_clocks_before_any_fit(waves):
    X, y = waves
    for kind in ("bursts", "shift", "stretches"):
        with pytest.raises(ValueError, match=r"^modality 'table' has shape"):
            degradation_curve(FirstFrames(), X, y, degradation=kind)
    with pytest.raises(ValueError, match=r"^times=7 is no position of a feature"):
        degradation_curve(FirstFrames(), X, y, times=7)
