"""Build the distributions, and use the wheel in a clean environment.

The checks, in ``build/package``: ``twine check``, the source distribution has every
file of the repository, and, in an environment with the wheel and nothing of the
checkout, the example of the README, the command line in both forms, and the install
command that errors name.
"""

import re
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "package"
ELSEWHERE = FOLDER / "elsewhere"  # an empty folder, from which nothing is imported
CONSTRAINTS = ["-c", str(ROOT / "constraints.txt")]


def run(*command, cwd=ELSEWHERE):
    """Run a command and return what it printed."""
    print("$", *command, flush=True)
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, text=True)
    print(done.stdout, flush=True)
    if done.returncode:
        sys.exit(f"exit status {done.returncode}")
    return done.stdout


def make_environment(name, *requirements):
    """Create an environment with what is required, and return its scripts."""
    venv.create(FOLDER / name, with_pip=True, clear=True)
    scripts = FOLDER / name / ("Scripts" if sys.platform == "win32" else "bin")
    pip = [str(scripts / "python"), "-m", "pip", "--quiet"]
    run(*pip, "install", *CONSTRAINTS, *requirements)
    return scripts


def build():
    """Build and check both distributions, and return their paths."""
    tools = make_environment("tools", "build", "twine")
    dist = FOLDER / "dist"
    python = str(tools / "python")
    run(python, "-m", "build", "--outdir", str(dist), str(ROOT))
    paths = sorted(dist.iterdir())
    run(python, "-m", "twine", "check", "--strict", *map(str, paths))
    (sdist,) = dist.glob("*.tar.gz")
    (wheel,) = dist.glob("*.whl")
    return sdist, wheel


def check_files(sdist):
    """Check that the source distribution has every file of the repository."""
    tracked = run("git", "ls-files", cwd=ROOT).split("\n")[:-1]
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    missing = set(tracked) - packed - {".gitignore"}
    if missing:
        sys.exit(f"MANIFEST.in leaves out {sorted(missing)}")


def check_wheel(wheel):
    """Use the wheel in a clean environment as the README describes."""
    scripts = make_environment("clean", str(wheel))
    python = str(scripts / "python")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)```", readme, re.DOTALL).group(1)
    (ELSEWHERE / "example.py").write_text(example, encoding="utf-8")
    if "'clusterer__n_clusters': 10" not in run(python, "example.py"):
        sys.exit("the example of the README does not find ten clusters")
    versions = {
        run(str(scripts / "mmfusion"), "--version"),
        run(python, "-m", "mmfusion", "--version"),
    }
    if len(versions) != 1 or versions.pop().split()[1] not in wheel.name:
        sys.exit("the command line and the wheel have different versions")
    run(str(scripts / "mmfusion"), "list")
    error = run(python, "-c", WITHOUT_EXTRA)
    install = re.search(r'pip (install) "(mmfusion\[.*\])"', error).groups()
    pip = [python, "-m", "pip", "--quiet"]
    run(*pip, *install, *CONSTRAINTS)
    run(python, "-c", "import mmfusion.plotting, matplotlib.pyplot")


WITHOUT_EXTRA = """
from mmfusion.plotting import LossCurveDisplay
try:
    LossCurveDisplay.from_predictions([{"loss": 1.0}])
except ImportError as error:
    print(error)
"""


def main():
    """Run all checks."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    ELSEWHERE.mkdir(parents=True)
    sdist, wheel = build()
    check_files(sdist)
    check_wheel(wheel)
    print(f"{sdist.name} and {wheel.name} are complete and work")


if __name__ == "__main__":
    main()
