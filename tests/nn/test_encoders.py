"""Encoders of the options of a modality."""

import numpy as np
import pytest
import torch
from torch import nn

from mmfusion.nn._encoders import latent_width, make_encoder


@pytest.mark.parametrize("n_features", [1, 7])
@pytest.mark.parametrize(("option", "width"), [([16, 8], 8), ((5,), 5), (6, 6)])
def test_widths_make_a_fully_connected_encoder(option, width, n_features):
    encoder = make_encoder(option, (n_features,), "text")
    latents = encoder(torch.randn(4, n_features))
    assert latents.shape == (4, width)
    assert latents.min() >= 0  # a ReLU on the output, too
    assert latent_width(encoder, (n_features,), "text") == width


def test_vectors_get_layers_of_the_given_widths():
    encoder = make_encoder([16, 8], (5,), "text")
    sizes = [(m.in_features, m.out_features) for m in encoder if hasattr(m, "bias")]
    assert sizes == [(5, 16), (16, 8)]


def test_initial_weights_are_he_normal():
    weight = make_encoder([300], (400,), "text")[0].weight.detach()
    assert float(weight.var()) == pytest.approx(2 / 400, rel=0.05)
    assert abs(float(weight.mean())) < 1e-3


@pytest.mark.parametrize(
    "shape",
    [
        (1, 28, 28),
        (3, 32, 32),
        (1, 8, 8),
        (1, 9, 9),
        (2, 5, 5),
        (1, 4, 4),
        (1, 3, 3),
        (1, 2, 2),
        (1, 1, 1),
        (1, 16, 8),
        (1, 40, 3),
        (1, 1, 20),
        (3, 64, 48),
        (1, 128, 128),
        (1, 1000, 3),
        (1, 1, 300),
    ],
)
def test_images_of_every_size_get_a_convolutional_encoder(shape):
    encoder = make_encoder(10, shape, "image")
    assert any(isinstance(module, nn.Conv2d) for module in encoder.modules())
    assert encoder(torch.randn(4, *shape)).shape == (4, 10)
    assert latent_width(encoder, shape, "image") == 10


def test_the_latent_of_a_small_image_depends_on_every_pixel():
    image = torch.zeros(1, 1, 3, 3, requires_grad=True)
    encoder = make_encoder(50, (1, 3, 3), "image").eval()
    encoder(image + torch.rand(1, 1, 3, 3)).sum().backward()
    assert (image.grad != 0).all()


def test_images_as_large_as_those_of_the_paper_get_its_layers():
    encoder = make_encoder(500, (1, 28, 28), "image")
    convolutions = [m for m in encoder if isinstance(m, nn.Conv2d)]
    assert [c.kernel_size for c in convolutions] == [(5, 5), (5, 5)]
    assert [c.out_channels for c in convolutions] == [32, 64]
    (linear,) = (m for m in encoder if isinstance(m, nn.Linear))
    assert (linear.in_features, linear.out_features) == (64 * 4 * 4, 500)


@pytest.mark.parametrize(
    "shape", [(1, 48, 48), (1, 128, 128), (3, 224, 224), (1, 1000, 3), (1, 1, 300)]
)
def test_large_images_are_pooled_until_their_dense_layer_is_small(shape):
    encoder = make_encoder(500, shape, "image")
    (linear,) = (m for m in encoder if isinstance(m, nn.Linear))
    assert linear.in_features <= 64 * 8 * 8
    convolutions = [m for m in encoder if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions[:2]] == [32, 64]
    assert len(convolutions) > 2


def test_other_arrays_are_flattened():
    encoder = make_encoder([6], (4, 5), "signal")
    assert encoder(torch.randn(3, 4, 5)).shape == (3, 6)
    assert latent_width(encoder, (4, 5), "signal") == 6


def test_by_default_vectors_and_images_have_latents_of_one_width():
    shapes = [(5,), (1, 8, 8), (3, 4)]
    widths = {latent_width(make_encoder(None, s, "x"), s, "x") for s in shapes}
    assert len(widths) == 1


def test_a_given_module_is_copied_with_its_weights():
    given = nn.Sequential(nn.Linear(5, 3), nn.Tanh())
    encoder = make_encoder(given, (5,), "text")
    x = torch.randn(4, 5)
    before = given(x)
    torch.testing.assert_close(encoder(x), before)
    with torch.no_grad():
        encoder[0].weight.zero_()
    torch.testing.assert_close(given(x), before)


def test_a_factory_is_called_with_the_shape():
    seen = []

    def factory(shape):
        seen.append(shape)
        return nn.Linear(shape[0], 3)

    encoder = make_encoder(factory, (5,), "text")
    assert seen == [(5,)]
    assert encoder(torch.randn(2, 5)).shape == (2, 3)


def test_a_factory_that_returns_no_module_is_refused():
    with pytest.raises(TypeError, match=r"'text'.*ndarray.*Module"):
        make_encoder(lambda shape: np.zeros(shape), (5,), "text")


@pytest.mark.parametrize("option", [0, [], [8, 0], [-1, 8]])
def test_widths_that_are_not_positive_are_refused(option):
    with pytest.raises(ValueError, match=r"'text'.*positive"):
        make_encoder(option, (5,), "text")


@pytest.mark.parametrize(
    "encoder",
    [
        nn.Linear(4, 3),
        nn.Conv2d(1, 2, 3),
        nn.Sequential(nn.Linear(5, 3), nn.BatchNorm2d(3)),
        nn.Sequential(nn.Flatten(), nn.Unflatten(1, (2, 2))),
        nn.Bilinear(5, 5, 3),
    ],
    ids=["width", "image", "norm", "unflatten", "two inputs"],
)
def test_an_encoder_that_does_not_accept_the_samples_is_refused_by_name(encoder):
    with pytest.raises(ValueError, match=r"'text'.*\(5,\)"):
        latent_width(encoder, (5,), "text")


@pytest.mark.parametrize(
    "encoder", [nn.Unflatten(1, (5, 1)), nn.Flatten(0), nn.LSTM(5, 3)]
)
def test_an_encoder_without_one_row_for_each_sample_is_refused_by_name(encoder):
    with pytest.raises(ValueError, match=r"'text'.*one row"):
        latent_width(encoder, (5,), "text")


@pytest.mark.parametrize("training", [True, False])
def test_finding_the_width_does_not_change_the_encoder(training):
    encoder = make_encoder(6, (1, 8, 8), "image").train(training)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    latent_width(encoder, (1, 8, 8), "image")
    assert encoder.training is training
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_the_width_of_an_encoder_of_other_precision_is_found():
    encoder = make_encoder([6], (5,), "text").double()
    assert latent_width(encoder, (5,), "text") == 6
