"""Generate the parts of the developer pages that follow from other files."""

import ast
import configparser
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLES = {
    "limits": (ROOT / "tests/test_limits.py", "LIMITS", "In the case of", "reduce to"),
    "invariances": (
        ROOT / "tests/test_invariances.py",
        "INVARIANCES",
        "After a change of",
        "give",
    ),
}


def read_layers() -> list[list[str]]:
    """Read the layers from ``setup.cfg``: names of modules, the highest layer first."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    text = config["importlinter:contract:layers"]["layers"]
    return [re.split(r" [|:] ", line) for line in text.strip().splitlines()]


def subject(module: str) -> str:
    """Return the first line of the docstring of a module of mmfusion."""
    path = ROOT / module.replace(".", "/")
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    docstring = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8")))
    return docstring.partition("\n")[0] if docstring else ""


def layers_table() -> str:
    """Return the table of layers with the subject of every module."""
    layers = read_layers()
    rows = [
        (
            str(len(layers) - k),
            f"``{module.removeprefix('mmfusion.')}``",
            subject(module),
        )
        for k, layer in enumerate(layers)
        for module in sorted(layer)
    ]
    return list_table(("Layer", "Module", "Subject"), rows)


def statements_table(path: Path, variable: str, *titles: str) -> str:
    """Return a table of statements about estimators, read from the source of a test.

    The source is parsed, not run: building the pages needs no test tools.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants, rows, reasons = {}, [], {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if node.targets[0].id == variable:
                reasons = ast.literal_eval(node.value.keywords[0].value)
            elif isinstance(node.value, ast.Constant):
                constants[node.targets[0].id] = node.value.value
        elif isinstance(node, ast.FunctionDef):
            for call in node.decorator_list:
                if ast.unparse(call).startswith(f"{variable}.row("):
                    rows.append(
                        [constants.get(ast.unparse(a)) or a.value for a in call.args]
                    )
    rows = [(_references(names), case, result) for names, case, result in rows]
    rows += [(_references(name), "none", reason) for name, reason in reasons.items()]
    return list_table(("Estimators", *titles), rows)


def _references(names: str) -> str:
    return ", ".join(f"`{name}`" for name in names.split())


def list_table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table in reStructuredText."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (titles, *rows):
        lines += [f"   {'-' if k else '* -'} {cell}" for k, cell in enumerate(row)]
    return "\n".join(lines).replace("\n   - ", "\n     - ") + "\n"


def write_parts(folder: Path) -> None:
    """Write the generated parts, which the pages include."""
    folder.mkdir(exist_ok=True)
    texts = {"layers": layers_table()}
    texts |= {name: statements_table(*table) for name, table in TABLES.items()}
    for name, text in texts.items():
        part = folder / f"{name}.txt"
        if not part.exists() or part.read_text(encoding="utf-8") != text:
            part.write_text(text, encoding="utf-8")  # else a rebuild reads all anew
