"""The command line that aligns the words of two texts."""

import subprocess
import sys

import pytest

import mmfusion._align_words as command
from mmfusion.__main__ import main
from mmfusion.alignment import WordAligner
from mmfusion.datasets import load_parallel_corpus, make_parallel_corpus


@pytest.fixture
def texts(tmp_path):
    X, _, _ = make_parallel_corpus(60, random_state=0)
    paths = [str(tmp_path / name) for name in X.names]
    for path, block in zip(paths, X.to_dict().values(), strict=True):
        lines = [" ".join(own[:, 0]) for own in block]
        lines[7] = ""
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
    return paths


def links_of(text):
    return [
        [[int(k) for k in link.split("-")] for link in line.split()]
        for line in text.splitlines()
    ]


def test_the_links_are_those_of_the_estimator(texts, capsys, monkeypatch):
    monkeypatch.setattr(command, "LINES_AT_ONCE", 25)
    assert main(["align-words", *texts]) == 0
    found = links_of(capsys.readouterr().out)
    X, _ = load_parallel_corpus(*texts)
    assert found == [own.tolist() for own in WordAligner().fit(X).align(X)]
    assert found[7] == []


def test_options_are_those_of_the_estimator(texts, tmp_path, capsys):
    out = tmp_path / "links"
    options = ["--method", "ibm1", "--symmetrize", "union", "--iterations", "2"]
    main(["align-words", *texts, *options, "--lowercase", "--out", str(out)])
    assert not capsys.readouterr().out
    X, _ = load_parallel_corpus(*texts)
    aligner = WordAligner("ibm1", symmetrize="union", n_iter=2).fit(X)
    assert links_of(out.read_text()) == [own.tolist() for own in aligner.align(X)]


def test_texts_of_unlike_length_are_refused(texts, capsys):
    with open(texts[1], "a", encoding="utf-8") as file:
        file.write("one more\n")
    with pytest.raises(SystemExit):
        main(["align-words", *texts])
    error = capsys.readouterr().err
    assert "source has 60 lines, fewer than" in error


def test_a_wrong_rule_is_refused(texts, capsys):
    with pytest.raises(SystemExit):
        main(["align-words", *texts, "--symmetrize", "grow"])
    assert "grow-diag-final-and" in capsys.readouterr().err


def test_the_command_runs_as_a_program(texts):
    program = [sys.executable, "-m", "mmfusion", "align-words", *texts]
    found = subprocess.run(program, capture_output=True, text=True, check=True)
    assert len(found.stdout.splitlines()) == 60
