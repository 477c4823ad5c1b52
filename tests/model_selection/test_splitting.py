"""Whatever a modality holds comes through scikit-learn's splits sample by sample."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupShuffleSplit,
    KFold,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
    TimeSeriesSplit,
    cross_val_predict,
    cross_val_score,
    train_test_split,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import resample, shuffle

from mmfusion import EarlyFusion, Modalities

from .block_kinds import FUSED_KINDS
from .planted import classifier, plant

X, Y = plant()
AUDIO, VIDEO = X.blocks
SAMPLE = np.arange(len(Y))


def everything():
    """Every sample carries its own number in every modality that it has."""
    lacks = SAMPLE % 7 == 3
    number = SAMPLE[:, None].astype(float)
    return Modalities(
        {
            "dense": number,
            "lacking": np.where(lacks[:, None], np.nan, number),
            "sparse": sparse.csr_array(number),
            "sequences": [np.full((1 + i % 3, 2), float(i)) for i in SAMPLE],
            "equally long": [np.full((2, 2), float(i)) for i in SAMPLE],
            "or none": [None if i % 7 == 3 else np.full((1, 1), i) for i in SAMPLE],
            "masked": number,
        },
        observed=np.column_stack([np.ones((60, 6), dtype=bool), ~lacks]),
    )


def assert_holds(frame, samples):
    """Check that the frame is made of these samples of `everything`."""
    samples = np.asarray(samples)
    lacks = samples % 7 == 3
    assert len(frame) == len(samples)
    assert_array_equal(frame["dense"].ravel(), samples)
    assert_array_equal(frame["lacking"].ravel()[~lacks], samples[~lacks])
    assert_array_equal(frame["sparse"].toarray().ravel(), samples)
    for name in ("sequences", "equally long", "or none"):
        first = [None if s is None else s[0, 0] for s in frame[name]]
        assert first == [
            None if lack and name == "or none" else i
            for i, lack in zip(samples, lacks, strict=True)
        ]
    assert [len(s) for s in frame["sequences"]] == [1 + i % 3 for i in samples]
    for name in ("lacking", "or none", "masked"):
        assert_array_equal(frame.observed[:, frame.names.index(name)], ~lacks)
    assert frame[["dense", "sparse", "sequences"]].observed.all()


@pytest.mark.parametrize("stratify", [None, Y])
def test_train_test_split(stratify):
    train, test, train_samples, test_samples = train_test_split(
        everything(), SAMPLE, stratify=stratify, random_state=0
    )
    assert_holds(train, train_samples)
    assert_holds(test, test_samples)
    assert set(train_samples) | set(test_samples) == set(SAMPLE)


def test_train_test_split_without_shuffling():
    train, test = train_test_split(everything(), shuffle=False, test_size=20)
    assert_holds(train, SAMPLE[:40])
    assert_holds(test, SAMPLE[40:])


def test_shuffle_and_resample():
    assert_holds(*shuffle(everything(), SAMPLE, random_state=0))
    assert_holds(*resample(everything(), SAMPLE, n_samples=80, random_state=0))


@pytest.mark.parametrize(
    "splitter",
    [
        KFold(4),
        StratifiedKFold(4, shuffle=True, random_state=0),
        ShuffleSplit(4, random_state=0),
        TimeSeriesSplit(4),
        GroupShuffleSplit(4, random_state=0),
        StratifiedGroupKFold(4),
    ],
)
def test_splitters_count_samples(splitter):
    groups = SAMPLE // 4 if "Group" in type(splitter).__name__ else None
    splits = list(splitter.split(everything(), Y, groups))
    expected = list(splitter.split(SAMPLE[:, None], Y, groups))
    assert len(splits) == 4
    for (train, test), (train_expected, test_expected) in zip(
        splits, expected, strict=True
    ):
        assert_array_equal(train, train_expected)
        assert_array_equal(test, test_expected)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_cross_validation_keeps_what_one_array_cannot_hold(n_jobs):
    """Sequences are pooled, gaps filled, inside the pipeline: fold by fold."""
    sequences = [np.tile(a, (1 + i % 3, 1)) for i, a in enumerate(AUDIO)]
    gaps = [None if i % 5 == 0 else sequence for i, sequence in enumerate(sequences)]
    text = sparse.csr_array(np.eye(3)[Y])
    frame = Modalities({"audio": gaps, "video": VIDEO, "text": text})
    pipeline = make_pipeline(
        FunctionTransformer(pool), EarlyFusion("block"), LogisticRegression()
    )
    scores = cross_val_score(pipeline, frame, Y, cv=3, n_jobs=n_jobs)
    assert_array_equal(scores, 1)  # text is the class
    alone = cross_val_predict(pipeline, frame[["audio"]], Y, cv=3, n_jobs=n_jobs)
    pooled = np.where(np.arange(60)[:, None] % 5 == 0, 0, AUDIO)
    expected = cross_val_predict(
        make_pipeline(EarlyFusion("block"), LogisticRegression()), pooled, Y, cv=3
    )
    assert_array_equal(alone, expected)


def pool(frame):
    """Take means over frames, and zeros where the modality is missing."""
    audio = [np.zeros(3) if s is None else s.mean(axis=0) for s in frame["audio"]]
    return Modalities(frame.to_dict() | {"audio": np.array(audio)})


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("kind", FUSED_KINDS)
def test_every_kind_of_block_is_cross_validated(kind, n_jobs):
    frame = Modalities({"it": FUSED_KINDS[kind](AUDIO), "video": VIDEO})
    table = frame.to_array()
    assert sparse.issparse(table) == ("sparse" in kind)
    as_it_is = classifier().set_params(earlyfusion__scaling=None)
    of_table = clone(as_it_is).set_params(earlyfusion__modalities=frame.column_spec())
    found = cross_val_predict(as_it_is, frame, Y, cv=3, n_jobs=n_jobs)
    assert_array_equal(found, cross_val_predict(of_table, table, Y, cv=3))


def test_tables_with_modalities_in_their_columns_need_no_container():
    import pandas as pd

    names = [(n, f"f{j}") for n, b in X.to_dict().items() for j in range(b.shape[1])]
    table = pd.DataFrame(X.to_array(), columns=["__".join(n) for n in names])
    two_levels = table.set_axis(pd.MultiIndex.from_tuples(names), axis=1)
    expected = cross_val_score(classifier(), X, Y, cv=3)
    assert_allclose(cross_val_score(classifier("__"), table, Y, cv=3), expected)
    assert_allclose(cross_val_score(classifier(), two_levels, Y, cv=3), expected)


def test_a_plain_list_is_refused_by_scikit_learn_and_works_as_modalities():
    search = GridSearchCV(classifier(), {"logisticregression__C": [0.1, 1]}, cv=3)
    blocks = [AUDIO, VIDEO]
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[2, 60\]"):
        search.fit(blocks, Y)
    assert search.fit(Modalities(blocks), Y).best_score_ > 0.6
