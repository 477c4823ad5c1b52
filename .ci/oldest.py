"""Print the oldest versions that pyproject.toml allows, as pins for pip."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
wanted = [extras[name] for name in extras if name not in ("docs", "lint")]
for requirement in sorted(set(sum(wanted, project["dependencies"]))):
    # torch has one CPU build, which constraints.txt names
    if ">=" in requirement and not requirement.startswith("torch"):
        print(re.sub(r"\[.*\]", "", requirement).replace(">=", "=="))
