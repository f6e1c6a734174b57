"""The shape of the code that no other tool watches: short functions, small rooms, no circle of imports."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PRODUCT = ("daemons", "experiments", "provisioning")

MOST_LINES = 60
"""Of a function: what fits on a screen. Decorators, which for commands are the options, do not count."""

LONG = {
    "experiments/local/monitoring.py monitor": "what is started in turn, and ended in reverse, is one context",
    "provisioning/cost.py estimate": "the kinds of cost, one after the other",
    "provisioning/desired.py _host": "the resources of a host, in the order in which they need each other",
    "provisioning/loading.py adjusted": "an option for each thing that can be adjusted",
}
"""Functions of more lines, each with its reason. A scenario under tests/ reads best in one piece and needs none."""

MOST_FILES = 14
"""Of a package, without its ``__init__``: about a dozen names are read at a glance."""

LARGE = {
    "provisioning": "what is read, decided and done, in layers that an import contract holds",
    "daemons/probe": "the parts of a measured request, in layers that an import contract holds",
    "experiments/commands": "a command each, and what it does where that imports more than its help needs",
    "daemons/service": "what every daemon is made with, each of it by itself",
}

SHARED = {
    "Block": "of an experiment, and of public access",
    "Clock": "the daemons' times, and provisioning's patience: both are handed in to be replaced by a test's",
    "Departures": "the frame that tells of them, and where they come from",
    "Event": "the simulated market's, and a step of provisioning",
    "Faults": "the probe's that nobody expected, and the simulator's that were asked for",
    "Grid": "of times, and of a table",
    "Kind": "of a frame, and of a resource",
    "Proxy": "that the probe goes through, and that a topology has",
    "Request": "of the probe, and to a page",
    "Rule": "of a stream's name, and of a firewall",
    "Settings": "of the simulator, and of a command of provision",
    "Stream": "as the feed reads its name, and as the simulator makes it",
    "Target": "of the probe, and of a topology",
}
"""Names of two public classes, with what each is."""


@cache
def files() -> tuple[str, ...]:
    listed = subprocess.run(("git", "ls-files", "*.py"), cwd=ROOT, check=True, capture_output=True, text=True)
    return tuple(name for name in listed.stdout.split() if (ROOT / name).exists())


@cache
def tree(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text())


def long_functions(source: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(source):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            if (lines := node.end_lineno - node.lineno + 1) > MOST_LINES:
                yield node.name, lines


def test_functions_fit_on_a_screen_or_have_a_reason() -> None:
    found = {
        f"{name} {function}": lines
        for name in files()
        if not name.startswith("tests/")
        for function, lines in long_functions(tree(name))
    }
    assert {key: lines for key, lines in found.items() if key not in LONG} == {}, "divide them, or give the reason"
    assert LONG.keys() - found.keys() == set(), "are short now, or gone: strike them off the list"


def test_packages_are_read_at_a_glance_or_have_a_reason() -> None:
    counts: dict[str, int] = {}
    for name in files():
        folder, _slash, file = name.rpartition("/")
        if name.split("/")[0] in PRODUCT and file != "__init__.py":
            counts[folder] = counts.get(folder, 0) + 1
    found = {folder for folder, count in counts.items() if count > MOST_FILES}
    assert found - LARGE.keys() == set(), "divide them, or give the reason"
    assert LARGE.keys() - found == set(), "are small now, or gone: strike them off the list"


def test_a_class_has_a_name_of_its_own_or_a_reason() -> None:
    homes: dict[str, set[str]] = {}
    for name in files():
        # What is printed as JSON is named after what it describes.
        if name.split("/")[0] in PRODUCT and not name.endswith("/document.py"):
            for node in tree(name).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    homes.setdefault(node.name, set()).add(name)
    found = {name: sorted(where) for name, where in homes.items() if len(where) > 1}
    assert {name: where for name, where in found.items() if name not in SHARED} == {}, "rename one, or give the reason"
    assert SHARED.keys() - found.keys() == set(), "have a name of their own now: strike them off the list"


def imports(modules: frozenset[str], source: ast.Module) -> Iterator[str]:
    """Yield which of these modules another imports, wherever in it that is written."""
    for node in ast.walk(source):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                if (found := below if below in modules else node.module) in modules:
                    yield found


def in_circles(graph: dict[str, set[str]]) -> set[str]:
    """Return what can be reached from itself."""
    return {name for name in graph if name in reached(graph, name)}


def reached(graph: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    edge = graph[start]
    while edge:
        found |= edge
        edge = set[str]().union(*(graph[name] for name in edge)) - found
    return found


def test_modules_import_in_no_circle_also_where_types_are_checked() -> None:
    sources = {
        name.removesuffix(".py").replace("/", ".").removesuffix(".__init__"): name
        for name in files()
        if name.split("/")[0] in PRODUCT
    }
    modules = frozenset(sources)
    graph = {module: set(imports(modules, tree(name))) for module, name in sources.items()}
    assert in_circles(graph) == set()


def test_a_circle_is_seen_and_what_hangs_on_it_is_not() -> None:
    assert in_circles({"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": {"b", "e"}, "e": {"f"}, "f": set()}) == {"b", "c", "d"}
    assert in_circles({"a": {"b"}, "b": {"a", "c"}, "c": {"d"}, "d": {"e"}, "e": {"d"}}) == {"a", "b", "d", "e"}
    assert in_circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == set()


def test_a_long_function_is_seen_wherever_it_is_and_its_decorators_are_not() -> None:
    body = "\n".join(f"        x = {number}" for number in range(MOST_LINES))
    assert list(long_functions(ast.parse(f"class A:\n    async def f(self):\n{body}\n"))) == [("f", MOST_LINES + 1)]
    options = "\n".join("@option" for _ in range(MOST_LINES))
    assert not list(long_functions(ast.parse(f"{options}\ndef f(): pass\n")))
