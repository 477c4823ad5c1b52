"""
Words of translations (planted without the corpus)
==================================================

Which words translate each other is learned from pairs of sentences alone. Here the
debates of the Canadian parliament, in English and French, are aligned by models of
growing detail, and compared with links that people have set.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from mmfusion.alignment import WordAligner
from mmfusion.datasets import load_parallel_corpus, make_parallel_corpus
from mmfusion.plotting import WordAlignmentDisplay

# %%
# The corpus is not part of this package: ``benchmarks/README.md`` names its source. The
# first pairs of the training text are used here, beside those with known links, which
# serve for evaluation only. Where the files are missing, a corpus with a planted
# lexicon takes their place.

NAME = "shared/data/wordalign"
FOLDER = next((p / NAME for p in Path.cwd().parents if (p / NAME).exists()), None)


def texts(name, *ends):
    paths = [FOLDER / f"hansards_{name}.{end}" for end in ends]
    return load_parallel_corpus(*paths, lowercase=True)


if FOLDER:
    known, y = texts("test", "en", "fr", "gold")
    training, _ = texts("train30k", "en", "fr")
    X = known.concat(training[:6000])
else:
    X, y, _ = make_parallel_corpus(400, random_state=0)
    known = X
print(X)

# %%
# Three models
# ------------
#
# Model 1 of IBM takes a sentence as a bag of words. 'diagonal' prefers positions near
# the diagonal, the hidden Markov model jumps to the next position. In the latter, both
# directions learn from the links on which they agree.

methods = {"IBM-1": "ibm1", "diagonal": "diagonal", "hidden Markov model": "hmm"}
aligners = {name: WordAligner(method).fit(X) for name, method in methods.items()}
for name, aligner in aligners.items():
    print(f"{name:20} alignment error rate {1 - aligner.score(known, y):.3f}")

# %%
# One pair of sentences
# ---------------------
#
# Dark cells are probable links, dots the links that are found, squares those that
# people have set, thin where they held a link for possible only. Without a sense of
# order, IBM-1 cannot distinguish repeated words, such as the commas.

n_source = np.array([0 if own is None else len(own) for own in known["source"]])
sample = int(np.flatnonzero(n_source == min(20, n_source.max()))[0])
fig, axes = plt.subplots(1, 2, figsize=(13, 6.5), layout="constrained")
for ax, name in zip(axes, ("IBM-1", "hidden Markov model"), strict=True):
    WordAlignmentDisplay.from_estimator(aligners[name], known, y, sample=sample, ax=ax)
    ax.set_xlabel(name)

# %%
# Fewer or more links
# -------------------
#
# The threshold trades precision for recall, which the rule 'agreement' offers after the
# fit: it is not fitted again.

aligner = aligners["hidden Markov model"]
thresholds = np.linspace(0.05, 0.95, 13)
rates, counts = [], []
for threshold in thresholds:
    aligner.set_params(threshold=threshold)
    rates.append(1 - aligner.score(known, y))
    counts.append(np.mean([len(links) for links in aligner.align(known)]))
fig, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
ax.plot(thresholds, rates, color="C0", marker=".")
ax.set(xlabel="threshold", ylabel="alignment error rate")
other = ax.twinx()
other.plot(thresholds, counts, color="C1", marker=".")
other.set_ylabel("links per sample", color="C1")

# %%
# A lexicon
# ---------
#
# The likeliest translations of some words, from the sparse table of probabilities.

table = aligner.translations_
targets = np.array(list(aligner.target_vocabulary_), dtype=object)
words = ["government", "house", "minister", "canada", "speaker", "not"]
for word in words if FOLDER else ["s0", "s1", "s5", "s20"]:
    row = table[[aligner.source_vocabulary_[word]]].tocoo()
    best = np.argsort(-row.data)[:3]
    shown = [f"{targets[row.coords[1][k]]} {row.data[k]:.2f}" for k in best]
    print(f"{word:12}", ", ".join(shown))

plt.show()
