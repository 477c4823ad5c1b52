"""Alignments of recorded sequences, beside the truth."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from mmfusion.alignment import CTWAligner, dtw_path


def sequences(frames, lengths):
    return np.split(frames.astype(np.float64), np.cumsum(lengths)[:-1])


def some_kept(n_frames, rng):
    """A random share of the frames of each fifth, between 30 and 90 %, and the ends."""
    shares = np.repeat(rng.uniform(0.3, 0.9, 5), -(-n_frames // 5))[: n_frames - 1]
    taken = np.concatenate([[0], shares.cumsum()])
    whole = np.arange(round(taken[-1]) + 1)
    return np.unique(np.rint(np.interp(whole, taken, np.arange(n_frames))).astype(int))


def error(path, at, truth):
    """Mean distance from the truth, in frames of the second sequence."""
    i, j = path.T
    found = np.bincount(i, j) / np.bincount(i)
    return np.abs(np.interp(at, np.arange(len(found)), found) - truth).mean()


def mean_errors(pairs, kept):
    """Of DTW between features."""
    return np.mean(
        [
            error(dtw_path(x, y).path, np.arange(len(x)), k)
            for (x, y), k in zip(pairs, kept, strict=True)
        ]
    )


def learned_errors(learning, pairs, kept):
    """Of CTW with projections from other samples."""
    x, y = zip(*learning, strict=True)
    aligner = CTWAligner().fit({"x": list(x), "y": list(y)})
    projected = [
        tuple(
            (z - aligner.means_[name]) @ aligner.projections_[name]
            for name, z in zip("xy", pair, strict=True)
        )
        for pair in pairs
    ]
    return mean_errors(projected, kept)


@pytest.mark.parametrize(
    "options", [{}, {"window": "sakoe_chiba"}, {"metric": "cosine"}]
)
def test_onsets_of_two_pianists_meet(shared_data, options):
    with np.load(shared_data / "align_vienna4x22.npz") as data:
        rolls = sequences(data["frames_roll"], data["lengths"])
        first = np.flatnonzero(data["piece"] == "Schubert_D783_no15")[0]
        onsets = data["gold_Schubert_D783_no15"][:, :2]
        rate = int(data["fps"])
    x, y = rolls[first], rolls[first + 1]
    at, truth = onsets[np.isfinite(onsets).all(axis=1)].T
    i, j = dtw_path(x, y, **options).path.T
    found = np.interp(at, np.arange(len(x)), np.bincount(i, j) / np.bincount(i))
    median = np.median(np.abs(found - truth)) / rate
    at_one_pace = np.median(np.abs(at * (len(y) - 1) / (len(x) - 1) - truth)) / rate
    assert median < 0.1
    assert median < at_one_pace / 4


def test_sensors_meet_a_linear_mixing_of_themselves(shared_data):
    with np.load(shared_data / "ts_basicmotions.npz") as data:
        whole = sequences(data["frames"], data["lengths"])
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(6, 6))
    kept = [some_kept(len(x), rng) for x in whole]
    pairs = [(x[k] @ mixing, x) for x, k in zip(whole, kept, strict=True)]
    learned = learned_errors(pairs[::4], pairs[1::4], kept[1::4])
    assert learned < 0.5  # a frame is where it is
    assert learned < mean_errors(pairs[1::4], kept[1::4]) / 10


def test_masks_meet_distance_transforms_of_unseen_persons(shared_data):
    with np.load(shared_data / "ts_weizmann.npz") as data:
        lengths, person = data["lengths"], data["person"]
        masks = sequences(data["frames_mask"], lengths)
        transforms = sequences(data["frames_edt"], lengths)
    rng = np.random.default_rng(0)
    kept = [some_kept(n, rng) for n in lengths]
    fewer = [x[k] for x, k in zip(transforms, kept, strict=True)]
    seen, unseen = np.flatnonzero(person < 4), np.flatnonzero(person >= 7)
    images, components = [], []
    for modality in (fewer, masks):
        frames = np.concatenate([modality[k] for k in seen])
        pca = PCA(20).fit(frames)
        images.append([(x - frames.mean(axis=0)) / frames.std() for x in modality])
        components.append([pca.transform(x) for x in modality])
    images, components = (list(zip(*z, strict=True)) for z in (images, components))
    truth = [kept[k] for k in unseen]
    learned = learned_errors(
        [components[k] for k in seen], [components[k] for k in unseen], truth
    )
    assert learned < mean_errors([images[k] for k in unseen], truth)
