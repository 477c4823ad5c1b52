"""Docstrings, errors, comments and pages use the words of docs/glossary.rst.

Personifications and words with several meanings are not used: a function returns,
computes or checks, it does not tell, say or judge.
"""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = {
    path.relative_to(ROOT).as_posix(): path
    for pattern in ("mmfusion/**/*.py", "docs/**/*.rst", "docs/examples/*", "*.md")
    for path in ROOT.glob(pattern)
    if not {"_build", "gallery", "generated"}.intersection(path.parts)
}
INSTEAD = {
    r"answer\w*": "result, prediction",
    r"ask(?:s|ed|ing)?": "request, require",
    r"deceiv\w*": "adversarial loss",
    r"door\w*": "input validation",
    r"hows": "scalings",
    r"judg\w+": "test, decide, score",
    r"lanes?": "SIMD vector",
    r"sa(?:y|ys|id|ying)": "state, report, be",
    r"sp(?:eak|eaks|oke|oken(?! word recognition))": "be named",  # but in a title
    r"t(?:ell|ells|old|elling)": "return, report, distinguish",
    r"warm[- ]start\w*": "pretraining",
    r"whom": "which",
}
OPENINGS = {"how", "of", "say", "take", "tell", "what", "who"}


def words_of(path):
    """The texts and comments of a module, or the text of a page without its code."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return re.sub(r"^ *(>>>|\.\.\.) .*$|``[^`]+``", "", text, flags=re.MULTILINE)
    nodes = ast.walk(ast.parse(text))
    texts = [n.value for n in nodes if isinstance(n, ast.Constant)]
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
    return "\n".join([*(t for t in texts if isinstance(t, str)), *comments])


def docstrings(source):
    nodes = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, nodes) and ast.get_docstring(node):
            yield ast.get_docstring(node)


def misused(text):
    """Words that are not used, each with what to write in place of it."""
    return {
        found: instead
        for pattern, instead in INSTEAD.items()
        for found in re.findall(rf"\b{pattern}\b", text, re.IGNORECASE)
    }


@pytest.mark.parametrize("name", sorted(FILES))
def test_words_are_plain(name):
    assert not misused(words_of(FILES[name]))


@pytest.mark.parametrize("name", sorted(n for n in FILES if n.endswith(".py")))
def test_docstrings_open_with_what_is_done(name):
    source = FILES[name].read_text(encoding="utf-8")
    opened = [
        text for text in docstrings(source) if text.split()[0].lower() in OPENINGS
    ]
    assert not opened


def test_misused_words_are_found():
    text = (
        "Told by those who were asked; a warm start. It is essay, taskwork, a basket."
    )
    assert misused(text).keys() == {"Told", "asked", "warm start"}
