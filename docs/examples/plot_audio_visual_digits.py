"""
Digits that are heard and shown, in rising noise
================================================

Somebody reads a string of digits, and images of them appear along with it. Training
data name the digits in their order, but not when each was read. What do the images
add where the recording is noisy, and are the times of the digits found?
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmfusion import CTCRecognizer, LateFusionClassifier, Modalities
from mmfusion.datasets import make_digit_strings

# %%
# Single digits
# -------------
#
# Recordings of six speakers are 20 frames of 13 cepstra each, and images are those of
# MNIST. They are not part of this package: ``benchmarks/README.md`` names their source.
# Where their file is missing, images are those of scikit-learn, and **the audio is
# made**: each digit has a smooth course of cepstra, which a speaker shifts and a
# recording stretches and varies.


def made_audio(y, speaker, rng, n_frames=20, n_cepstra=13):
    """Draw recordings of digits."""
    waves = rng.normal(size=(10, 4, n_cepstra)) / np.arange(1, 5)[:, None]
    offsets = rng.normal(size=(speaker.max() + 1, n_cepstra))
    audio = np.empty((len(y), n_frames, n_cepstra))
    for i, (digit, own) in enumerate(zip(y, speaker, strict=True)):
        time = np.linspace(0, 1, n_frames) ** rng.uniform(0.7, 1.4)
        audio[i] = np.cos(np.pi * np.outer(time, np.arange(1, 5))) @ waves[digit]
        audio[i] += 0.5 * offsets[own]
    return audio + 0.3 * rng.normal(size=audio.shape)


NAME = "shared/data/avdigits_fsdd_mnist.npz"
FILE = next((p / NAME for p in Path.cwd().parents if (p / NAME).exists()), None)
if FILE:
    with np.load(FILE) as data:
        audio = data["view_1"].reshape(-1, 20, 13)
        images, y, speaker = data["view_0"], data["y"], data["speaker"]
else:
    rng = np.random.default_rng(0)
    images, y = load_digits(return_X_y=True)
    speaker = rng.integers(6, size=len(y))
    audio = made_audio(y, speaker, rng)
known = speaker <= 3
train = audio[known], images[known], y[known]
test = audio[~known], images[~known], y[~known]
print(f"{len(audio)} recordings of {len(np.unique(speaker))} speakers")

# %%
# Strings
# -------
#
# A string has 3 to 6 digits; each recording is stretched in time, and one follows the
# other without pauses. The image comes with a random frame of the recording. The last
# feature of both modalities is the time. Speakers and images of the test are not among
# those of training. A third of the training strings each has noise in its audio of 0, 1
# and 2 standard deviations.

NOISES = [0.0, 1.0, 2.0]
parts = [
    make_digit_strings(*train, 300, noise_std=noise, random_state=k)
    for k, noise in enumerate(NOISES)
]
X = Modalities(
    {name: [x for own, _, _ in parts for x in own[name]] for name in parts[0][0].names}
)
labels = [own for _, strings, _ in parts for own in strings]
print(X)

# %%
# One network has both modalities, and the other the audio alone. ``context`` is 0 for
# images, since the image beside is another digit. Error rates are edits (digits left
# out, put in or replaced) per digit.

networks = {
    "audio and images": CTCRecognizer(context={"images": 0}, times=-1, random_state=0),
    "audio": CTCRecognizer(times=-1, random_state=0),
}
names = {"audio and images": ["audio", "images"], "audio": ["audio"]}
for name, network in networks.items():
    network.fit(X[names[name]], labels)

_, ax = plt.subplots(figsize=(5.5, 3.2), layout="constrained")
for name, network in networks.items():
    ax.plot([epoch["train_error"] for epoch in network.history_], label=name)
ax.set(xlabel="epoch", ylabel="error rate on training strings", ylim=(0, None))
ax.xaxis.get_major_locator().set_params(integer=True)
ax.legend()
plt.show()

# %%
# Both have nearly converged, on training strings as they are in training. Without that,
# a comparison would mean little: networks whose training ends early return blanks, or
# half of the digits. The error of the network of both rises at first, since modalities
# are dropped and get noise as soon as it is below a half: from then on the network has
# to recognise strings by their images alone, too.
#
# Two baselines are given what the networks have to find out, namely where each digit
# begins and ends, and which image belongs to it: a logistic regression of the images,
# which no noise of the audio affects, and late fusion of it with one of the audio.


def single_digits(audio, images, noise, rng):
    """Add noise to recordings, and join them with their images."""
    deviations = audio.std(axis=(0, 1))
    noisy = audio + noise * deviations * rng.normal(size=audio.shape)
    return Modalities({"audio": noisy.reshape(len(audio), -1), "images": images})


rng = np.random.default_rng(1)
n_digits = sum(len(own) for own in labels)
at = rng.choice(len(train[2]), n_digits)  # drawn with repetition, as in the strings
noise = np.resize(NOISES, n_digits)[:, None, None]
singles, digits = single_digits(train[0][at], train[1][at], noise, rng), train[2][at]
learner = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
reader = clone(learner).fit(singles["images"], digits)
late = LateFusionClassifier(learner, combine="log_pool").fit(singles, digits)

LEVELS = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0]
rows = []
for noise in LEVELS:
    strings, truth, _ = make_digit_strings(*test, 60, noise_std=noise, random_state=100)
    singles = single_digits(test[0], test[1], noise, rng)
    scores = {
        name: network.score(strings[names[name]], truth)
        for name, network in networks.items()
    }
    scores["images of single digits"] = reader.score(singles["images"], test[2])
    scores["late fusion of single digits"] = late.score(singles, test[2])
    rows.append(scores)
errors = 1 - pd.DataFrame(rows, index=pd.Index(LEVELS, name="noise"))
_, ax = plt.subplots(figsize=(5.5, 3.6), layout="constrained")
errors.plot(ax=ax, style=["o-", "s-", "v:", "D:"], alpha=0.8)
ax.axvspan(NOISES[-1], LEVELS[-1], color="0.93", label="not in training")
ax.set(xlabel="noise of the audio (standard deviations)", ylabel="errors per digit")
ax.set_ylim(0, None)
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
plt.show()
errors.round(3)

# %%
# With images, the network makes about a third of the errors of the audio alone, at the
# noises of training. Up to one standard deviation it is about as good as a linear
# classifier that is given the images one by one, or better; in louder noise its errors
# rise beyond that, though the images are as they were. Late fusion is better still.
# Where digits can be cut out, do that, and fuse them late; a network of transcripts is
# for when they cannot.

# %%
# When each digit was read
# ------------------------
#
# ``align`` finds the moments of digits that are known. The network of both modalities
# returns a probability of each digit for each frame of the audio.

strings, truth, spans = make_digit_strings(*test, 60, noise_std=1.0, random_state=100)
network = networks["audio and images"]
found = network.align(strings, truth)
i = int(np.argmax([len(own) for own in truth]))
table = np.exp(network.frame_log_probabilities(strings)[i])
starts, ends = spans[i].T

_, ax = plt.subplots(figsize=(8, 3.4), layout="constrained")
ax.imshow(table[:, 1:].T, aspect="auto", cmap="Greys", vmin=0, vmax=1, origin="lower")
for start, end, digit in zip(starts, ends, truth[i], strict=True):
    ax.hlines(digit, start - 0.5, end - 0.5, color="tab:blue", lw=8, alpha=0.3)
    ax.axvline(end - 0.5, color="0.8", lw=0.8)
shown = strings["images"][i][:, -1]
ax.plot(shown, truth[i], "s", color="tab:green", mfc="none", label="image")
ax.plot(found[i].moments, truth[i], "x", color="tab:red", label="moment found")
ax.plot([], color="tab:blue", lw=8, alpha=0.3, label="digit read")
ax.set(xlabel="frame of the audio", ylabel="digit", yticks=range(10))
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
plt.show()

places = [
    (own.moments - truth[:, 0]) / np.ptp(truth, axis=1)
    for own, truth in zip(found, spans, strict=True)
]
places = np.concatenate(places)
inside = np.mean((places >= 0) & (places < 1))
print(f"{inside:.0%} of moments are within the digit, at {np.median(places):.2f} of it")

# %%
# Nearly all moments are within their digit, though training data had no times. Where
# within it is for the network to choose. The probabilities, in grey, are short peaks
# with blanks between: they do not show where a digit begins or ends. A digit without a
# peak would not be recognised; since ``align`` is given the digits, it places this one,
# too.
