"""The shape of the code that no other tool watches: short functions, small rooms, no circle of imports."""

import ast
import re
import subprocess
import tomllib
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


LEAST_SECONDS = 300
"""Before a test gives up what it waits for: a machine with much else to do is slow, and that says nothing."""

HASTY = {
    "tests/daemons/service/test_lifecycle_busy_poll.py": "waits in vain for CPU time that an idle daemon does not use",
    "tests/daemons/service/log/test_writer.py": "asks again and again whether there is more to read",
    "tests/lab/inventory.py": "clears up for each folder what may be in use for good, and the run goes on",
    "tests/lab/machine.py": "asks again and again whether a machine is up yet",
    "tests/lab/test_wan.py": "asks again and again until all have come",
    "tests/monitoring/servers.py": "asks again and again whether a server is there yet",
    "tests/proof/__main__.py": "asks a host on the internet, for a person who waits",
    "tests/provisioning/test_patience.py": "is of virtual time",
    "tests/scenarios/test_prometheus.py": "asks again and again whether a server is there yet",
    "tests/squid.py": "asks again and again whether a server is there yet",
    "tests/test_processes.py": "waits in vain, which it is about",
}
"""Files of tests that give up sooner somewhere, each with its reason; programs in tests/lab have their own."""


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


@cache
def graph_of_imports() -> dict[str, set[str]]:
    """Return what each module of the product imports of it, also where types are checked, and in functions."""
    sources = {
        name.removesuffix(".py").replace("/", ".").removesuffix(".__init__"): name
        for name in files()
        if name.split("/")[0] in PRODUCT
    }
    modules = frozenset(sources)
    return {module: set(imports(modules, tree(name))) for module, name in sources.items()}


def depth(graph: dict[str, set[str]], start: str) -> int:
    """Return how many imports the longest chain has that begins there; the graph has no circle."""
    return max((1 + depth(graph, below) for below in graph[start]), default=0)


def test_modules_import_in_no_circle_also_where_types_are_checked() -> None:
    assert in_circles(graph_of_imports()) == set()


def test_the_probe_is_seven_imports_deep_at_the_most() -> None:
    whole = graph_of_imports()
    own = {name for name in whole if name.startswith("daemons.probe.")}
    assert depth({name: whole[name] & own for name in own}, "daemons.probe.main") <= 7


def test_a_chain_of_imports_is_as_long_as_its_longest_way() -> None:
    assert depth({"a": {"b", "d"}, "b": {"c"}, "c": {"d"}, "d": set()}, "a") == 3


def test_a_circle_is_seen_and_what_hangs_on_it_is_not() -> None:
    assert in_circles({"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": {"b", "e"}, "e": {"f"}, "f": set()}) == {"b", "c", "d"}
    assert in_circles({"a": {"b"}, "b": {"a", "c"}, "c": {"d"}, "d": {"e"}, "e": {"d"}}) == {"a", "b", "d", "e"}
    assert in_circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == set()


def test_a_long_function_is_seen_wherever_it_is_and_its_decorators_are_not() -> None:
    body = "\n".join(f"        x = {number}" for number in range(MOST_LINES))
    assert list(long_functions(ast.parse(f"class A:\n    async def f(self):\n{body}\n"))) == [("f", MOST_LINES + 1)]
    options = "\n".join("@option" for _ in range(MOST_LINES))
    assert not list(long_functions(ast.parse(f"{options}\ndef f(): pass\n")))


def hasty(source: ast.Module) -> Iterator[str]:
    """Yield the calls that give up too soon what is not expected to fail."""
    for node in ast.walk(source):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            named = {"timeout", "deadline_seconds"}
            if called.endswith(("wait_until", "wait_for", "wait_live")):
                named.add("seconds")
            limits = [word.value for word in node.keywords if word.arg in named]
            if called == "asyncio.timeout" or called.endswith((".settimeout", ".join", ".wait", ".result")):
                limits += node.args
            elif called == "asyncio.wait_for":
                limits += node.args[1:]
            elif called in {"until", "settled", "wait_until"} or called.endswith((".wait_for_log", ".wait_for_json")):
                # After what is waited for: of a metric, its name and value.
                limits += node.args[{"until": 2, "settled": 3, "wait_until": 2}.get(called, 1) :][:1]
            for limit in limits:
                # None is for ever, and 0 asks without waiting.
                value = limit.value if isinstance(limit, ast.Constant) else None
                if isinstance(value, int | float) and 0 < value < LEAST_SECONDS:
                    yield ast.unparse(node)


def test_tests_wait_long_for_what_must_come_or_have_a_reason() -> None:
    found = {name: calls for name in files() if name.startswith("tests/") and (calls := list(hasty(tree(name))))}
    assert {name: calls for name, calls in found.items() if name not in HASTY} == {}, "wait longer, or give the reason"
    assert HASTY.keys() - found.keys() == set(), "wait long now, or are gone: strike them off the list"


def test_a_hasty_wait_is_seen_however_it_is_written() -> None:
    for text in (
        "run(command, timeout=30)",
        "sock.settimeout(5)",
        "until(lambda: True, 'it comes', 10.0)",
        "settled(program, 'a_total', 120, 5)",
        "wait_until('it comes', lambda: True, 30.0)",
        "host.wait_for('a.service', seconds=60)",
        "program.wait_for_log('ready', 1)",
        "asyncio.timeout(20)",
        "asyncio.wait_for(reader.read(1), 10)",
        "thread.join(60)",
        "process.wait(10)",
    ):
        assert list(hasty(ast.parse(text))) == [text]
    for text in (
        "run(command, timeout=300)",
        "sock.settimeout(None)",
        "settled(program, 'a_total', 5)",
        "until(f, 'it')",
    ):
        assert not list(hasty(ast.parse(text)))


def test_linters_know_every_program_without_a_suffix() -> None:
    """As pre-commit does, which goes by a file's first line."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    files = [ROOT / name for name in tracked.split("\0") if name and "." not in Path(name).name]
    python = {
        str(file.relative_to(ROOT))
        for file in files
        if file.is_file() and re.match(rb"#!.*python", file.read_bytes().partition(b"\n")[0])
    }
    assert len(python) > 2
    assert python == set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["extend-include"])
    (types,) = re.findall("--scripts-are-modules (.+)", (ROOT / "Makefile").read_text())
    assert set(types.split()) == python


def wide_prose(text: str, most: int) -> Iterator[str]:
    """Give the lines of a document that are too wide, but for tables, code and lines that are one link or picture."""
    in_code = False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif not in_code and len(line) > most and not re.match(r" *\||(- )?!?\[[^]]*\]\([^)]*\)$", line):
            yield line


def test_documents_are_as_wide_as_editors_are_told() -> None:
    told = re.search(r"^max_line_length = (\d+)$", (ROOT / ".editorconfig").read_text(), re.MULTILINE)
    assert told
    documents = [*ROOT.glob("docs/*.md"), *ROOT.glob("docs/decisions/*.md"), *ROOT.glob("[A-Z]*.md")]
    # An entry of the change log is a line, so that two changes do not meet in one.
    wide = {
        f"{file.relative_to(ROOT)}: {line[:60]}"
        for file in documents
        if file.name != "CHANGELOG.md"
        for line in wide_prose(file.read_text(encoding="utf-8"), int(told[1]))
    }
    assert not wide
    assert list(wide_prose("a b\n```\nlong code\n```\n| long row |\nlong prose", 4)) == ["long prose"]


_METRIC = re.compile(r"latency_(?:forwarder|receiver|probe|feed|tcp)_[a-z_]*[a-z](?=[\"{])")


def unknown_metrics(text: str, documented: str) -> list[str]:
    """Give the metrics that a test names and no document does: a sum of what is never there is always 0."""
    named = {re.sub(r"_(bucket|count|sum|total)$", "", name) for name in _METRIC.findall(text)}
    return sorted(name for name in named if name not in documented)


def test_tests_ask_for_metrics_that_there_are() -> None:
    documented = (ROOT / "docs/monitoring.md").read_text(encoding="utf-8")
    asked = {name: unknown_metrics((ROOT / name).read_text(), documented) for name in files() if name[:6] == "tests/"}
    assert not {name: found for name, found in asked.items() if found}
    for name, known in (("events_gone", False), ("events", True)):
        family = f"latency_receiver_{name}"
        found = unknown_metrics(f'sum(page.matching("{family}_total"))', documented)
        assert found == ([] if known else [family])
