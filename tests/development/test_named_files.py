"""Files that the pages and README name are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.rst")]
# a path in backquotes, with a folder or a leading underscore, without placeholders
NAMED_FILE = re.compile(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|rst|md|csv)|_\w+\.py)`")


@pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="docs are not installed")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_in_a_page_exist(page):
    for name in NAMED_FILE.findall(page.read_text()):
        found = [p for top in ("", "mmfusion") for p in (ROOT / top).glob(name)]
        assert found, f"{page.name} names {name}, which does not exist"
