"""Names of any characters, as text in one line and as labels of plots."""

from __future__ import annotations

from unicodedata import category

MAX_LABEL, N_LAST = 40, 10  # characters of a name in a plot, and those of its end


def one_line(text: str) -> str:
    """Write text in one line of visible characters, others by their codes.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        The same where it can be seen and encoded.

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


def drawable(name: str) -> str:
    """Write a name so that matplotlib draws it as it is, unless it is too long.

    Parameters
    ----------
    name : str
        Any text.

    Returns
    -------
    str
        The text for matplotlib.

    Examples
    --------
    >>> from mmfusion._text import drawable
    >>> print(drawable("$x$"))
    \\$x\\$
    """
    text = one_line(name)
    if len(text) > MAX_LABEL:
        text = f"{text[: MAX_LABEL - N_LAST]}…{text[-N_LAST:]}"
    text = text.replace("$", r"\$")  # no mathematics
    # a legend leaves out what begins with an underscore
    return f"\N{NO-BREAK SPACE}{text}" if text.startswith("_") else text
