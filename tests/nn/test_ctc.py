"""The network of CTCRecognizer and its loss."""

from itertools import groupby, product

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mmfusion.graphical._steps import ctc_chain, step_log_likelihood  # noqa: E402
from mmfusion.nn._attention import TimedFrames  # noqa: E402
from mmfusion.nn._ctc import CTCNetwork, Transcripts, ctc_losses  # noqa: E402


def tables_and_labels(seed=0):
    rng = np.random.default_rng(seed)
    for n_frames, labels in [(1, [1]), (5, [1, 1]), (9, [2, 1, 3]), (7, [3] * 4)]:
        table = np.log(rng.dirichlet(np.ones(4), size=n_frames))
        yield table, labels


def losses(tables, labels):
    n_frames = max(map(len, tables))
    padded = torch.full((len(tables), n_frames, 4), -7.0, dtype=torch.float64)
    observed = torch.zeros(padded.shape[:2], dtype=torch.bool)
    for i, table in enumerate(tables):
        padded[i, : len(table)] = torch.from_numpy(table)
        observed[i, : len(table)] = True
    lengths = torch.tensor([len(own) for own in labels])
    columns = torch.tensor([k for own in labels for k in own])
    return ctc_losses(padded, observed, Transcripts(columns, lengths)).numpy()


def test_loss_is_that_of_the_chain_and_of_all_paths():
    tables, labels = zip(*tables_and_labels(), strict=True)
    found = losses(tables, labels)
    for table, own, loss in zip(tables, labels, found, strict=True):
        chain = ctc_chain(np.array(own), 0)
        assert -loss == pytest.approx(step_log_likelihood(chain, table), abs=1e-10)
        if len(table) > 7:
            continue
        paths = (
            path
            for path in product(range(4), repeat=len(table))
            if [k for k, _ in groupby(path) if k] == own
        )
        sums = [sum(table[range(len(table)), path]) for path in paths]
        assert -loss == pytest.approx(np.logaddexp.reduce(sums), abs=1e-10)


def frames_of(values, times, n_frames, fill):
    m, T, d = 1, len(values), values.shape[1]
    padded = torch.full((m, n_frames, d), fill, dtype=torch.float64)
    padded[0, :T] = torch.from_numpy(values)
    clock = torch.full((m, n_frames), float(times[-1]), dtype=torch.float64)
    clock[0, :T] = torch.from_numpy(times)
    observed = torch.arange(n_frames)[None] < T
    return TimedFrames(padded, clock, observed)


@pytest.mark.parametrize("n_modalities", [1, 2])
def test_padding_changes_nothing(n_modalities):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    network = (
        CTCNetwork([3, 2][:n_modalities], 4, [8, 8], [2] * n_modalities, 0.0, 2.0, None)
        .double()
        .eval()
    )
    audio, images = rng.normal(size=(6, 3)), rng.normal(size=(3, 2))

    def table(extra, fill):
        inputs = [
            frames_of(audio, np.arange(6.0), 6 + extra, fill),
            frames_of(images, np.array([0.0, 2.0, 5.0]), 3 + extra, fill),
        ][:n_modalities]
        with torch.no_grad():
            return network(inputs[0], inputs)[0, 0, :6].numpy()

    # the number of frames may change the order of sums, what they hold may not
    np.testing.assert_allclose(table(0, 0.0), table(9, 1e30), rtol=0, atol=1e-12)
    assert (table(9, 0.0) == table(9, np.nan)).all()


def test_a_missing_modality_adds_nothing():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    network = CTCNetwork([3, 2], 4, [8], [2, 2], 0.0, 2.0, None).double().eval()
    audio = frames_of(rng.normal(size=(6, 3)), np.arange(6.0), 6, 0.0)
    images = frames_of(rng.normal(size=(2, 2)), np.array([1.0, 4.0]), 2, 0.0)
    gone = images._replace(observed=torch.zeros_like(images.observed))
    with torch.no_grad():
        found = [
            network(audio, [audio, gone._replace(values=gone.values * x)])
            for x in (0.0, 1e30, np.nan)
        ]
        other = network(audio, [audio, images])
    assert all(torch.equal(found[0], x) for x in found)
    assert not torch.allclose(found[0], other)


def test_heads_depend_on_their_modality_alone():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    network = CTCNetwork([3, 2], 4, [8], [2, 2], 0.0, 2.0, None).double().eval()
    audio = frames_of(rng.normal(size=(6, 3)), np.arange(6.0), 6, 0.0)
    images = frames_of(rng.normal(size=(2, 2)), np.array([1.0, 4.0]), 2, 0.0)
    other = images._replace(values=images.values + 1)
    with torch.no_grad():
        one, two = (
            network(audio, [audio, own], by_modality=True) for own in (images, other)
        )
        alone = network(audio, [audio, images])
    assert one.shape == (3, 1, 6, 4)
    assert torch.equal(one[:1], alone)
    assert torch.equal(one[1], two[1])
    assert not torch.allclose(one[0], two[0])
    assert not torch.allclose(one[2], two[2])
    np.testing.assert_allclose(one.exp().sum(-1), 1)
