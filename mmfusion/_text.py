"""Names of arbitrary characters as one line of text and as labels of plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from unicodedata import category

MAX_LABEL_CHARACTERS = 40  # of a name in a plot
LABEL_END_CHARACTERS = 10  # of a shortened name, after the ellipsis


def one_line(text: str) -> str:
    """Return text in one line of visible characters, with escapes for others.

    Parameters
    ----------
    text : str
        Text of any characters.

    Returns
    -------
    str
        The text, with spaces for all kinds of space and escapes for the rest.

    Examples
    --------
    >>> from mmfusion._text import one_line
    >>> print(one_line("two" + chr(10) + "lines"))
    two\\nlines
    """
    return "".join(
        " "
        if category(character) == "Zs"
        else character
        if character.isprintable()
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def recordings_remedy(names: Sequence[str], *, are_named: bool) -> str:
    """Return how one long recording per modality is given, as a single sample.

    Parameters
    ----------
    names : sequence of str
        Names of the modalities.
    are_named : bool
        Whether they were given names.

    Returns
    -------
    str
        The end of a sentence.

    Examples
    --------
    >>> from mmfusion._text import recordings_remedy
    >>> recordings_remedy(["audio", "video"], are_named=True)
    "give the recordings as one sample: {'audio': [audio], 'video': [video]}"
    """
    few = [*names[:2], *(["..."] if len(names) > 2 else [])]
    if are_named:
        lists = [n if n == "..." else f"{n!r}: [{n}]" for n in few]
        form = f"{{{', '.join(lists)}}}"
    else:
        order = ["first", "second", "..."]
        lists = [n if n == "..." else f"[{n}]" for n in order[: len(few)]]
        form = f"[{', '.join(lists)}]"
    return f"give the recordings as one sample: {form}"


def drawable(name: str) -> str:
    """Return a name as text that matplotlib draws literally, shortened if long.

    Parameters
    ----------
    name : str
        Text of any characters.

    Returns
    -------
    str
        Text for matplotlib.

    Examples
    --------
    >>> from mmfusion._text import drawable
    >>> print(drawable("$x$"))
    \\$x\\$
    """
    text = one_line(name)
    if len(text) > MAX_LABEL_CHARACTERS:
        n_first = MAX_LABEL_CHARACTERS - LABEL_END_CHARACTERS
        text = f"{text[:n_first]}…{text[-LABEL_END_CHARACTERS:]}"
    text = text.replace("$", r"\$")  # which would begin a formula
    # legends omit labels that begin with an underscore
    return f"\N{NO-BREAK SPACE}{text}" if text.startswith("_") else text


def encodable(text: str) -> str:
    """Escape characters that UTF-8 cannot encode, as in names of foreign files."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def encodable_keys(by_name: Mapping[Any, Any]) -> dict[Any, Any]:
    """Escape those keys of a dict that are texts; pandas encodes its strings."""
    return {
        encodable(name) if isinstance(name, str) else name: value
        for name, value in by_name.items()
    }
