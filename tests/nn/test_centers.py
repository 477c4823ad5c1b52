"""The head of centres: distances, assignments, and k-means of incomplete points."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.pairwise import nan_euclidean_distances

from mmfusion.datasets import make_multimodal_blobs
from mmfusion.nn import losses as fast
from mmfusion.nn._centers import Centers, squared_distances_to

from . import slow_losses as slow

RNG = np.random.default_rng(0)
POINTS, MEANS = RNG.normal(size=(20, 6)), RNG.normal(size=(4, 6))
OBSERVED = np.array([[1, 1], [1, 0], [0, 1], [1, 1]] * 5, bool)


@pytest.mark.parametrize("observed", [None, OBSERVED])
def test_distances_are_those_of_the_observed_coordinates(observed):
    gaps = POINTS.copy()
    if observed is not None:
        gaps[~np.repeat(observed, 3, axis=1)] = np.nan
    expected = nan_euclidean_distances(gaps, MEANS, squared=True)
    mask = None if observed is None else torch.tensor(observed)
    points = torch.tensor(np.nan_to_num(gaps))
    found = squared_distances_to(points, torch.tensor(MEANS), mask)
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("student_t", [False, True])
def test_assignments_are_those_of_the_formula(student_t):
    head = Centers(4, 6, student_t=student_t).double()
    with torch.no_grad():
        head.centers.copy_(torch.tensor(MEANS))
        head.scale.fill_(2.0)
    hidden, logits = head(torch.tensor(POINTS))
    assert hidden.shape == (1, 20, 6)
    found = logits[0].softmax(1).detach().numpy()
    for q in range(20):
        squares = [((POINTS[q] - mean) ** 2).sum() / 2 for mean in MEANS]
        kernel = [1 / (1 + s) if student_t else np.exp(-s) for s in squares]
        np.testing.assert_allclose(found[q], np.array(kernel) / sum(kernel))


def test_centers_of_student_t_are_trained_and_others_are_not():
    assert Centers(2, 3, student_t=True).centers.requires_grad
    assert not Centers(2, 3).centers.requires_grad


def test_centers_are_those_of_k_means_and_keep_their_order():
    points = np.concatenate([POINTS + 20 * i for i in range(3)])
    head = Centers(3, 6).double()
    head.fit(points, None, 0)
    expected = KMeans(3, n_init=10, random_state=0).fit(points).cluster_centers_
    np.testing.assert_allclose(head.centers, expected)
    distances = [min(((x - c) ** 2).sum() for c in expected) for x in points]
    assert float(head.scale) == pytest.approx(np.mean(distances))
    head.fit(points + 1, None, 5)
    np.testing.assert_allclose(head.centers, expected + 1)


def test_missing_coordinates_draw_no_centre_towards_zero():
    X, y = make_multimodal_blobs(200, (3, 3), cluster_std=0.5, random_state=0)
    points = np.concatenate(X.blocks, axis=1)
    points -= points.mean(0)
    observed = np.ones((200, 2), bool)
    observed[::2, 1] = False
    gaps = np.where(np.repeat(observed, 3, axis=1), points, 0)
    complete, head = Centers(3, 6).double(), Centers(3, 6).double()
    complete.fit(points, None, 0)
    head.fit(gaps, observed, 0)
    _, logits = head(torch.tensor(gaps), torch.tensor(observed))
    assert adjusted_rand_score(y, logits[0].argmax(1)) == 1
    gaps = (head.centers[:, None] - complete.centers).norm(dim=2).min(1).values
    assert gaps.max() < 0.2


def test_more_centres_than_distinct_points_are_no_warning():
    head = Centers(3, 2).double()
    head.fit(np.repeat(np.eye(2), 5, axis=0), None, 0)
    assert len(np.unique(head(torch.eye(2).double())[1].argmax(2))) == 2


def test_targets_and_their_divergence_are_those_of_the_formulas():
    logits = torch.tensor(RNG.normal(size=(9, 4)) * 3, requires_grad=True)
    assignment = logits.detach().softmax(1)
    sizes = torch.tensor(RNG.random(4)) + 0.1
    targets = fast.sharpened(assignment, sizes)
    torch.testing.assert_close(targets, slow.sharpened(assignment, sizes))
    torch.testing.assert_close(targets, fast.sharpened(assignment, 9 * sizes))
    targets[0] = torch.tensor([1.0, 0, 0, 0])
    found = fast.target_divergence(targets, logits)
    expected = slow.target_divergence(targets, logits)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_the_divergence_of_an_assignment_from_itself_is_zero():
    logits = torch.tensor(RNG.normal(size=(9, 4)))
    assert fast.target_divergence(logits.softmax(1), logits).abs() < 1e-12


def test_empty_clusters_have_finite_targets():
    assignment = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    targets = fast.sharpened(assignment, torch.tensor([1.0, 0.0]))
    assert torch.isfinite(targets).all()
    torch.testing.assert_close(targets.sum(1), torch.ones(2))
