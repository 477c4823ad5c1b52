"""Everything that can be a modality, and everything that can be an encoder."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import adjusted_rand_score
from torch import nn
from torch.utils.data import Dataset

from mmfusion import Modalities

from .small import X, Y, small

BLOCKS = X.to_dict()


def pictures(size, channels=None):
    """Noisy squares: where the bright one is tells the cluster."""
    rng = np.random.default_rng(0)
    images = rng.normal(scale=0.3, size=(len(Y), size, size))
    for i, cluster in enumerate(Y):
        start = cluster * size // 3
        images[i, start : start + size // 3] += 2
    if channels is None:
        return images
    return np.repeat(images[:, None], channels, axis=1)


class Items(Dataset):
    """Samples one by one, as tuples, or as dicts by name."""

    def __init__(self, blocks, names=None):
        self.blocks, self.names = blocks, names

    def __len__(self):
        return len(next(iter(self.blocks.values())))

    def __getitem__(self, i):
        if self.names is None:
            return tuple(block[i] for block in self.blocks.values())
        return {name: self.blocks[name][i] for name in self.names}


class ItemsAtOnce(Items):
    """The same, with torch's way to take many at once."""

    def __getitems__(self, indices):
        return [self[i] for i in indices]


@pytest.mark.parametrize("position", [0, 3])
def test_items_with_a_missing_modality_are_refused_with_a_remedy(position):
    blocks = {name: block.copy() for name, block in X.to_dict().items()}
    blocks["audio"][position] = np.nan
    message = f"'audio': sample {position} of the Dataset holds NaN.*give arrays"
    with pytest.raises(ValueError, match=message):
        small().fit(Items(blocks, list(blocks)))
    assert len(small().fit(blocks).labels_) == len(X)


@pytest.mark.parametrize("size", [3, 12])
def test_images_beside_vectors(size):
    mixed = Modalities({"photo": pictures(size, channels=2), "audio": X["audio"]})
    fitted = small(encoders=8, pretrain_epochs=10).fit(mixed)
    assert adjusted_rand_score(Y, fitted.labels_) > 0.9
    np.testing.assert_array_equal(fitted.predict(mixed), fitted.labels_)
    assert fitted.transform(mixed).shape == (120, 8)
    alone = fitted.predict({name: block[:1] for name, block in mixed.to_dict().items()})
    assert alone == fitted.labels_[:1]


def test_images_without_channels_are_taken_too():
    mixed = Modalities({"photo": pictures(6), "audio": X["audio"]})
    fitted = small(pretrain_epochs=10).fit(mixed)
    assert adjusted_rand_score(Y, fitted.labels_) > 0.9
    assert 0 <= fitted.score(mixed) <= 1


def test_sparse_beside_dense_is_the_same_as_dense():
    text = np.where(np.abs(X["video"]) > 2, X["video"], 0)
    dense = Modalities({"audio": X["audio"], "text": text})
    mixed = Modalities({"audio": X["audio"], "text": sparse.csr_array(text)})
    fitted = small(scaling=None).fit(mixed)
    expected = small(scaling=None).fit(dense)
    np.testing.assert_array_equal(fitted.labels_, expected.labels_)
    np.testing.assert_allclose(fitted.transform(mixed), expected.transform(dense))


@pytest.mark.parametrize("kind", [Items, ItemsAtOnce])
@pytest.mark.parametrize("names", [None, ["audio", "video"]])
def test_a_dataset_is_the_same_as_the_list_of_its_arrays(kind, names):
    dataset = kind(BLOCKS, names)
    fitted = small().fit(dataset)
    expected = small().fit(BLOCKS if names else list(X.blocks))
    np.testing.assert_array_equal(fitted.labels_, expected.labels_)
    assert list(fitted.modality_names_in_) == list(expected.modality_names_in_)
    assert fitted.n_features_in_ == 10
    np.testing.assert_array_equal(fitted.predict(dataset), fitted.labels_)
    proba = fitted.predict_proba(dataset)
    alike = expected.predict_proba(BLOCKS if names else list(X.blocks))
    np.testing.assert_allclose(proba, alike, atol=1e-4)


def test_items_that_are_dicts_are_matched_by_name():
    fitted = small().fit(X)
    turned = Items(BLOCKS, ["video", "audio"])
    np.testing.assert_array_equal(fitted.predict(turned), fitted.labels_)
    with pytest.raises(ValueError, match="touch"):
        fitted.predict(Items({"audio": X["audio"], "touch": X["video"]}, ["touch"] * 2))
    other = {"audio": X["audio"], "touch": X["video"]}
    with pytest.raises(ValueError, match=r"touch.*video"):
        fitted.predict(Items(other, list(other)))


def test_a_dataset_of_other_widths_or_no_samples_is_refused():
    fitted = small().fit(X)
    narrow = {"audio": X["audio"], "video": X["video"][:, :5]}
    with pytest.raises(ValueError, match=r"'video'.* 5 .* 6 "):
        fitted.predict(Items(narrow, list(narrow)))
    with pytest.raises(ValueError, match="0 samples"):
        fitted.predict(Items({name: block[:0] for name, block in BLOCKS.items()}))


def test_memmaps_are_the_same_as_arrays(tmp_path):
    for name, block in BLOCKS.items():
        np.save(tmp_path / f"{name}.npy", block)
    mapped = {n: np.load(tmp_path / f"{n}.npy", mmap_mode="r") for n in BLOCKS}
    fitted = small().fit(mapped)
    np.testing.assert_array_equal(fitted.labels_, small().fit_predict(X))
    np.testing.assert_array_equal(fitted.predict(mapped), fitted.labels_)


def test_data_that_stream_are_the_same_as_data_in_memory(monkeypatch):
    expected = small().fit(X)
    monkeypatch.setattr("mmfusion.nn._data.RESIDENT_BYTES", 0)
    streamed = small().fit(X)
    np.testing.assert_array_equal(streamed.labels_, expected.labels_)
    assert streamed.history_ == expected.history_


def test_float32_stays_float32():
    single = Modalities({n: b.astype(np.float32) for n, b in BLOCKS.items()})
    fitted = small().fit(single)
    assert fitted.transform(single).dtype == np.float32
    assert fitted.predict_proba(single).dtype == np.float32
    assert fitted.transform(X).dtype == np.float64


class Halves(nn.Module):
    """An encoder of one's own: a linear layer after dropout of nothing."""

    def __init__(self, n_features, width=8):
        super().__init__()
        self.layer = nn.Linear(n_features, width)

    def forward(self, x):
        return self.layer(x).relu()


def linear(shape):
    return Halves(shape[0])


@pytest.mark.parametrize(
    ("encoders", "width"),
    [
        (None, 128),
        (6, 6),
        ([12, 7], 7),
        ((12, 7), 7),
        ({"audio": [9, 8], "video": 8}, 8),
        (linear, 8),
        ({"audio": linear, "video": Halves(6)}, 8),
        ({"audio": 128}, 128),
    ],
    ids=["none", "int", "list", "tuple", "dict", "factory", "dict of modules", "one"],
)
def test_encoders_of_every_form(encoders, width):
    fitted = small(encoders=encoders, pretrain_epochs=10).fit(X)
    assert fitted.transform(X).shape == (120, width)
    assert len(fitted.get_feature_names_out()) == width
    assert adjusted_rand_score(Y, fitted.labels_) > 0.7


def test_a_module_that_is_given_is_copied_not_trained():
    module = Halves(6)
    before = module.layer.weight.detach().clone()
    fitted = small(encoders={"audio": 8, "video": module}).fit(X)
    assert (module.layer.weight == before).all()
    trained = fitted._net.module_.encoders[1].layer.weight.cpu()
    assert not (trained == before).all()


@pytest.mark.parametrize(
    ("encoders", "message"),
    [
        ({"audio": [8], "video": [8, 0]}, r"'video'.*positive"),
        ({"video": []}, r"'video'.*positive"),
        ({"touch": 8}, r"encoders.*touch.*audio"),
        ({"audio": 8, "video": 9}, r"'audio': 8.*'video': 9"),
        ({"audio": 8, "video": Halves(5)}, r"'video'.*\(6,\)"),
        ({"audio": 8, "video": nn.Unflatten(1, (2, 3))}, r"'video'.*one row"),
    ],
)
def test_encoders_that_do_not_fit_are_refused_by_name(encoders, message):
    with pytest.raises(ValueError, match=message):
        small(encoders=encoders).fit(X)


def test_a_factory_that_makes_no_module_is_refused_by_name():
    with pytest.raises(TypeError, match=r"'video'.*int"):
        small(encoders={"audio": 8, "video": len}).fit(X)


def test_fewer_samples_than_clusters_are_refused():
    with pytest.raises(ValueError, match=r"n_samples=2 .*n_clusters=3"):
        small().fit(X[:2])
