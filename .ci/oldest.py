"""Print the oldest versions that pyproject.toml allows, as pins for pip."""

import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
for requirement in project["dependencies"] + extras["benchmark"] + extras["datasets"]:
    print(requirement.replace(">=", "=="))
