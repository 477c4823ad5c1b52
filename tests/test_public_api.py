"""What is public is exported in order, documented in full, and light to import."""

import ast
import inspect
import pkgutil
import re
import runpy
import subprocess
import sys
import textwrap
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path

import pytest
from sklearn.base import BaseEstimator

import mmfusion
import mmfusion.modalities
import mmfusion.persistence
import mmfusion.progress
import mmfusion.versions
from mmfusion.base import ModalityMixin
from mmfusion.testing import all_estimators

ROOT = Path(__file__).parents[1]
TOPICS = {  # those that export something
    f"mmfusion.{module.name}": import_module(f"mmfusion.{module.name}")
    for module in pkgutil.iter_modules(mmfusion.__path__)
    if module.ispkg and import_module(f"mmfusion.{module.name}").__all__
}
MODULES = {
    "mmfusion": mmfusion,
    "mmfusion.modalities": mmfusion.modalities,
    "mmfusion.persistence": mmfusion.persistence,
    "mmfusion.progress": mmfusion.progress,
    "mmfusion.versions": mmfusion.versions,
    **TOPICS,
}
PUBLIC = {
    name: getattr(module, name)
    for module in MODULES.values()
    for name in module.__all__
}
ESTIMATORS = {
    name: public
    for name, public in PUBLIC.items()
    if inspect.isclass(public) and issubclass(public, BaseEstimator)
}


def own_methods(cls):
    """Public methods that mmfusion, not scikit-learn, defines."""
    names = {
        name
        for base in inspect.getmro(cls)
        if base.__module__.startswith("mmfusion.")
        for name, value in vars(base).items()
        if not (name.startswith("_") or isinstance(value, property | cached_property))
    }
    found = {name: getattr(cls, name) for name in sorted(names)}
    return {
        name: method
        for name, method in found.items()
        if inspect.isroutine(method) and not name.endswith("_request")
    }


CALLABLES = PUBLIC | {
    f"{name}.{method}": function
    for name, public in PUBLIC.items()
    if inspect.isclass(public)
    for method, function in own_methods(public).items()
}


def parameters(function):
    found = dict(inspect.signature(function).parameters)
    found.pop("self", None)
    return found


def spelled(parameter):
    """The name as numpydoc wants it, with the stars."""
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
    return stars.get(parameter.kind, "") + parameter.name


def section(documented, title):
    text = inspect.cleandoc(documented.__doc__ or "")
    parts = re.split(r"^(.+)\n-{3,}$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True)).get(title, "")


def documented_types(documented):
    """Types, with their defaults, by name of the parameter."""
    entries = re.findall(
        r"^(\S.*?) : (.+)$", section(documented, "Parameters"), re.MULTILINE
    )
    return {name: kind for names, kind in entries for name in names.split(", ")}


def documented_default(kind):
    found = re.search(r"default=(.+)$", kind)
    if found is None:
        return inspect.Parameter.empty
    try:
        return ast.literal_eval(found[1])
    except ValueError:  # a class, by its path
        module, _, name = found[1].rpartition(".")
        return getattr(import_module(module), name)


@pytest.mark.parametrize("module", MODULES)
def test_exports_are_sorted_and_there(module):
    exported = MODULES[module].__all__
    assert exported == sorted(set(exported))
    assert all(hasattr(MODULES[module], name) for name in exported)


def all_modules():
    paths = [m.name for m in pkgutil.walk_packages(mmfusion.__path__, "mmfusion.")]
    return [import_module(path) for path in paths if not path.endswith("__main__")]


def defined_estimators():
    """Estimators of modalities, wherever they are defined; base classes left out."""
    classes = {
        value
        for module in all_modules()
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and value.__module__ == module.__name__
        and issubclass(value, ModalityMixin)
        and issubclass(value, BaseEstimator)
        and not name.startswith("_")
    }
    return sorted(
        cls.__name__ for cls in classes if not any(cls in c.__bases__ for c in classes)
    )


@pytest.mark.parametrize("name", sorted({*defined_estimators(), *ESTIMATORS}))
def test_every_estimator_is_exported(name):
    assert name in PUBLIC, f"export {name} from the __init__.py of its topic"


LISTED = runpy.run_path(str(ROOT / "docs/reference/api.py"))["API"]


def test_the_reference_lists_the_topics_in_their_order():
    assert LISTED.keys() == TOPICS.keys() | {"mmfusion"}
    for names in LISTED.values():
        assert names == sorted(set(names))


@pytest.mark.parametrize("name", PUBLIC)
def test_the_reference_lists_every_public_name(name):
    homes = [path for path, module in TOPICS.items() if name in module.__all__]
    home = homes[0] if homes else "mmfusion"
    assert name in LISTED[home], f"add {name} to docs/reference/api.py"


def test_the_reference_lists_nothing_else():
    assert {name for names in LISTED.values() for name in names} == PUBLIC.keys()


@pytest.mark.parametrize("name", all_estimators())
def test_the_user_guide_names_every_estimator(name):
    guide = (ROOT / "docs/guide").glob("*.rst")
    named = any(re.search(rf"\b{name}\b", p.read_text(encoding="utf-8")) for p in guide)
    assert named, f"write a paragraph on {name} in docs/guide"


@pytest.mark.parametrize("name", mmfusion.__all__)
def test_names_at_the_top_are_those_of_a_topic(name):
    homes = [m for path, m in MODULES.items() if path != "mmfusion"]
    (home,) = [module for module in homes if name in module.__all__]
    assert getattr(mmfusion, name) is getattr(home, name)


def test_the_package_loads_nothing_heavy():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import mmfusion"],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if line.count("|") == 2]
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    assert "mmfusion" in loaded
    heavy = {"matplotlib", "numpy", "pandas", "scipy", "sklearn", "torch"}
    assert not loaded & heavy


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_have_an_example(name):
    assert ">>>" in section(PUBLIC[name], "Examples")


@pytest.mark.parametrize("name", CALLABLES)
def test_every_parameter_is_documented_with_its_default(name):
    types = documented_types(CALLABLES[name])
    given = parameters(CALLABLES[name]).values()
    assert list(types) == [spelled(parameter) for parameter in given]
    for parameter in given:
        default = documented_default(types[spelled(parameter)])
        assert type(default) is type(parameter.default), parameter.name
        same = default is parameter.default or default == parameter.default  # NaN
        assert same, parameter.name


@cache
def loaded_attributes(code, owner):
    """Attributes that code reads of a variable or attribute `owner`."""
    return {
        node.attr
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(code))))
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Load)
        and owner in (getattr(node.value, "id", ""), getattr(node.value, "attr", ""))
    }


@cache
def read_by_helpers():
    """Parameters that functions of mmfusion read of estimators or their settings."""
    filled = [module for module in all_modules() if inspect.getsource(module)]
    owners = ("estimator", "settings", "trainer")
    read = set().union(*(loaded_attributes(m, o) for m in filled for o in owners))
    # a trainer is read by its parameters, which become settings
    return read | popped_keys(import_module("mmfusion.nn._trainer"))


def popped_keys(module):
    """Literal keys that a module takes out of dicts."""
    return {
        node.args[0].value
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", "") == "pop"
        and isinstance(node.args[0], ast.Constant)
    }


def unread_parameters(cls):
    read = {getattr(cls, "_estimators_param", None)} | read_by_helpers()
    for base in inspect.getmro(cls):
        if base.__module__.startswith(("mmfusion.", __name__)):
            read |= loaded_attributes(base, "self")
    return parameters(cls).keys() - read


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_parameter_of_an_estimator_is_read(name):
    assert not unread_parameters(ESTIMATORS[name])


class WithDeadOption(BaseEstimator):
    """Reads one of its two parameters."""

    def __init__(self, used=1, dead=2):
        self.used = used
        self.dead = dead

    def fit(self, X, y=None):
        self.fitted_ = self.used
        return self


def test_a_dead_option_would_be_found():
    assert unread_parameters(WithDeadOption) == {"dead"}


@pytest.mark.parametrize(
    "name", [name for name, public in PUBLIC.items() if inspect.isfunction(public)]
)
def test_every_parameter_of_a_function_is_read(name):
    tree = ast.parse(inspect.getsource(PUBLIC[name]))
    loaded = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    assert parameters(PUBLIC[name]).keys() <= loaded


def test_nothing_public_goes_unchecked():
    assert len(PUBLIC) >= 30
    assert len(CALLABLES) >= 80
    assert len(ESTIMATORS) >= 6
