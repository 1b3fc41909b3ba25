"""rules -- the house rules as functions of source text, so that each can be proven on a bad example (`test_architecture.py`).

A rule about one file is `rule(path, text) -> findings`; a rule about the tree takes all paths. `path` is relative to the checkout.
A finding names the file, the line, the rule and what to do.
"""

from __future__ import annotations

import ast
import re
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import PurePosixPath

Findings = list[str]
Rule = Callable[[str, str], Findings]

FLOORS = {"core": 0, "wire": 1, "openai": 2, "policy": 3, "kinds": 4, "adapters": 4, "assembly": 5, "server": 6, "cli": 7}
OWNERS = {  # a library, and the only folders that may import it
    "httptools": {"wire"},
    "opentelemetry": {"adapters"},
    "pydantic": {"policy", "kinds", "assembly"},
    "pydantic_core": {"policy", "kinds", "assembly"},
    "aiohttp": {"adapters", "assembly", "server", "cli"},
    "click": {"cli"},
    "rich": {"cli"},
}
MAX_LINES, MOST_LINES, MEDIAN_LINES, FUNCTION_LINES = 400, 300, 140, 60
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"}


def folder_of(path: str) -> str:
    """The folder under `proxy/`; "" for the package itself."""
    parts = PurePosixPath(path).parts
    return parts[1] if len(parts) > 2 else ""


def imports(text: str) -> Iterator[tuple[int, str]]:
    """Each absolute import, wherever it stands: its line and the dotted name, `from a import b` as `a.b`."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


# Imports


def imports_point_down(path: str, text: str) -> Findings:
    """cli -> server -> assembly -> {kinds, adapters} -> policy -> openai -> wire -> core."""
    mine = folder_of(path)
    found = []
    for line, name in imports(text):
        parts = name.split(".")
        if parts[0] != "proxy" or len(parts) < 2 or parts[1] not in FLOORS or mine not in FLOORS:
            continue
        other = parts[1]
        if other == mine:
            if mine == "kinds":
                found.append(f"{path}:{line}: layering: kinds import no other kind ({name}); what two share moves down")
        elif FLOORS[other] >= FLOORS[mine]:
            found.append(f"{path}:{line}: layering: {mine} may not import {other} ({name}); imports point down only")
    return found


def imports_are_absolute(path: str, text: str) -> Findings:
    """`from proxy.core.body import Body`."""
    nodes = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom) and node.level)
    return [f"{path}:{node.lineno}: imports: write the absolute name instead of a relative import" for node in nodes]


def core_is_standard_library(path: str, text: str) -> Findings:
    """What everything stands on needs nothing installed."""
    if folder_of(path) != "core":
        return []
    allowed = sys.stdlib_module_names | {"proxy"}
    lines = ((line, name) for line, name in imports(text) if name.split(".")[0] not in allowed)
    return [f"{path}:{line}: imports: core uses the standard library only, not {name}" for line, name in lines]


def libraries_stay_in_their_folders(path: str, text: str) -> Findings:
    """An engine is known in one place, so that it can be replaced there."""
    mine = folder_of(path)
    found = []
    for line, name in imports(text):
        owners = OWNERS.get(name.split(".")[0])
        if owners is not None and mine not in owners:
            found.append(
                f"{path}:{line}: imports: {name.split('.')[0]} belongs to {', '.join(sorted(owners))}, not to {mine or 'the package'}"
            )
    return found


# What code may do


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return ""


def only_cli_reads_the_environment(path: str, text: str) -> Findings:
    """`os.environ` and `sys.argv` are read by the command line alone: everything else is told."""
    if folder_of(path) == "cli":
        return []
    banned = {"os.environ", "os.environb", "os.getenv", "os.getenvb", "sys.argv"}
    used = [(node.lineno, _dotted(node)) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)]
    used += list(imports(text))
    return [f"{path}:{line}: environment: only proxy/cli reads {name}; pass the value in" for line, name in used if name in banned]


KEEPS_ITS_TASKS = {
    "proxy/core/tasks.py": "it is spawn",
    "proxy/wire/client_connection.py": "a connection holds its one task and logs what escapes it; spawn costs a microsecond more a call",
}


def tasks_are_spawned(path: str, text: str) -> Findings:
    """A task that nobody keeps may vanish, and its crash with it."""
    if path in KEEPS_ITS_TASKS:
        return []
    banned = {"create_task", "ensure_future", "run_coroutine_threadsafe", "TaskGroup"}
    used = [(node.lineno, node.attr) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)]
    used += [(line, name.rpartition(".")[2]) for line, name in imports(text) if name.startswith("asyncio.")]
    return [f"{path}:{line}: tasks: use proxy.core.tasks.spawn instead of {name}" for line, name in used if name in banned]


PURE = {  # functions that only make a value
    "KIND.at",
    *("frozenset", "set", "dict", "tuple", "list", "range", "len", "min", "max", "sum", "sorted", "reversed", "zip", "map", "enumerate"),
    *("bytes", "bytearray", "int", "float", "str", "chr", "ord", "type", "object", "getattr", "namedtuple", "field", "partial"),
    *("re.compile", "re.escape", "logging.getLogger", "struct.pack", "functools.partial", "dataclasses.field", "ipaddress.ip_network"),
    *("operator.attrgetter", "operator.itemgetter", "attrgetter", "itemgetter", "bytes.maketrans", "str.maketrans", "dict.fromkeys"),
}
PURE_METHODS = {
    *("join", "encode", "decode", "format", "split", "lower", "upper", "strip", "replace", "isalnum", "fromhex"),
    *("values", "items", "keys", "get", "union", "with_name"),
}
WORK = {"open", "print", "exec", "eval", "input", "__import__"}
WORK_OF = {"os", "sys", "socket", "asyncio", "time", "threading", "subprocess", "importlib", "json", "orjson", "ssl", "random", "shutil"}


def nothing_happens_at_import(path: str, text: str) -> Findings:
    """A module defines: imports, functions, classes, constants. Engines are imported, files read and clocks asked when needed.

    A constant may be made by a function of its own module, where that only makes values too.
    """
    tree = ast.parse(text)
    own = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    found = []
    for node in _at_import(tree.body):
        if isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Pass)):
            continue
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if not isinstance(node, (ast.Assign, ast.AnnAssign)):
            found.append(f"{path}:{node.lineno}: import time: a module only defines; move this into a function")
            continue
        for call in _calls(node):
            name = _dotted(call.func)
            if not (_only_makes(own[name]) if name in own else _is_pure(call.func)):
                what = name or ast.unparse(call.func)
                found.append(f"{path}:{call.lineno}: import time: {what}() is work; do it in a function, when it is needed")
    return found


def _at_import(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run at import; `if TYPE_CHECKING`, `if sys.platform` and `try: import` are looked into, a script's start is not."""
    for node in body:
        test = ast.unparse(node.test) if isinstance(node, ast.If) else ""
        if test == "__name__ == '__main__'":
            continue
        if isinstance(node, ast.If) and re.fullmatch(r"TYPE_CHECKING|sys\.(platform|version_info)\b.*", test):
            yield from _at_import([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            yield from _at_import(
                [*node.body, *node.orelse, *node.finalbody, *(each for handler in node.handlers for each in handler.body)]
            )
        else:
            yield node


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    """Calls that run when `node` does: not those inside a lambda or a function."""
    if isinstance(node, ast.Call):
        yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.Lambda, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _calls(child)


def _only_makes(function: ast.FunctionDef) -> bool:
    names = [_dotted(call.func) for statement in function.body for call in _calls(statement) if not isinstance(statement, ast.FunctionDef)]
    return not any(name in WORK or name.partition(".")[0] in WORK_OF or name.endswith((".read_text", ".read_bytes")) for name in names)


def _is_pure(func: ast.expr) -> bool:
    name = _dotted(func)
    last = name.rpartition(".")[2] if name else getattr(func, "attr", "")
    if name in PURE or last.lstrip("_")[:1].isupper():  # a class, as TypeVar, Kind, Field
        return True
    return isinstance(func, ast.Attribute) and last in PURE_METHODS and name.partition(".")[0] not in WORK_OF


def modules_keep_no_state(path: str, text: str) -> Findings:
    """What changes belongs to an object that somebody made."""
    tree = ast.parse(text)
    found = [f"{path}:{node.lineno}: state: no `global`; keep it in an object" for node in ast.walk(tree) if isinstance(node, ast.Global)]
    for node in _at_import(tree.body):
        if not isinstance(node, (ast.Assign, ast.AnnAssign)):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for name in (target.id for target in targets if isinstance(target, ast.Name)):
            if name.isupper() or name.startswith("__") or (path, name) in STATE:
                continue
            if isinstance(node.value, (ast.List, ast.Dict, ast.Set)) or (
                isinstance(node.value, ast.Call) and _dotted(node.value.func) in MUTABLE
            ):
                found.append(f"{path}:{node.lineno}: state: `{name}` may change; a constant is upper case, state belongs to an object")
    return found


MUTABLE = {"set", "dict", "list", "deque", "bytearray", "defaultdict", "Counter", "collections.deque", "collections.defaultdict"}
STATE = {("proxy/core/tasks.py", "_running"): "asyncio keeps only weak references to tasks, for the whole process"}


# Form


def modules_say_what_they_are(path: str, text: str) -> Findings:
    """The docstring comes first: `name -- what it is`."""
    doc = ast.get_docstring(ast.parse(text))
    stem = PurePosixPath(path).stem
    if not doc:
        return [f"{path}:1: docstring: say first what this module is"]
    if stem not in ("__init__", "__main__") and not doc.startswith(f"{stem} -- "):
        return [f'{path}:1: docstring: begin with "{stem} -- "']
    return []


def functions_are_short(path: str, text: str) -> Findings:
    """A function fits a screen."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            if size > FUNCTION_LINES:
                found.append(f"{path}:{node.lineno}: size: {node.name}() has {size} lines, {FUNCTION_LINES} at most")
    return found


def files_are_short(path: str, text: str) -> Findings:
    """None over the budget."""
    size = len(text.splitlines())
    return [f"{path}:1: size: {size} lines, {MAX_LINES} at most"] if size > MAX_LINES else []


def names_mean_something(path: str, text: str) -> Findings:
    """A file is named after its one subject."""
    stem = PurePosixPath(path).stem
    return [f"{path}:1: names: `{stem}` says nothing; name the one thing that it is about"] if VAGUE & set(stem.split("_")) else []


UNFINISHED = re.compile("|".join((r"\bTO" + r"DO\b", r"\bFIX" + r"ME\b", r"\bXX" + r"X\b")))
MACHINE = re.compile(
    r"(?<![\w.~*$}-])/(?:" + "|".join(("wo" + "rk", "ro" + "ot", "Us" + "ers", "ho" + r"me/(?!nonroot)\w+")) + r")/|\.\./sha" + r"red\b"
)
REGISTRY = re.compile(
    "|".join(("py" + r"pi\.org", "python" + r"hosted\.org", "npm" + r"js\.(?:org|com)", "crates" + r"\.io", "proxy" + r"\.golang\.org"))
)


def text_is_finished(path: str, text: str) -> Findings:
    """No note to ourselves: it is done, or it is an issue."""
    return [f"{path}:{line}: unfinished: {hit}; do it, or file it" for line, hit in _hits(UNFINISHED, text)]


def text_names_no_machine(path: str, text: str) -> Findings:
    """No path of the machine that it was written on, no host of a package registry."""
    found = [f"{path}:{line}: machine: {hit} is a path of one machine" for line, hit in _hits(MACHINE, text)]
    return found + [
        f"{path}:{line}: machine: {hit} is a package registry's host; leave it to the package manager"
        for line, hit in _hits(REGISTRY, text)
    ]


def _hits(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, str]]:
    for line, content in enumerate(text.splitlines(), 1):
        for hit in pattern.finditer(content):
            yield line, hit.group()


OF_A_SOURCE: tuple[Rule, ...] = (
    imports_point_down,
    imports_are_absolute,
    core_is_standard_library,
    libraries_stay_in_their_folders,
    only_cli_reads_the_environment,
    tasks_are_spawned,
    nothing_happens_at_import,
    modules_keep_no_state,
    modules_say_what_they_are,
    functions_are_short,
    files_are_short,
    names_mean_something,
)
OF_A_TEXT: tuple[Rule, ...] = (text_is_finished, text_names_no_machine)


# Of the whole tree


def folders_are_flat(paths: Iterable[str]) -> Findings:
    """One folder level under `proxy/`, each a floor."""
    found = []
    for path in paths:
        parts = PurePosixPath(path).parts
        if len(parts) > 3:
            found.append(f"{path}: tree: one folder level under proxy/")
        elif len(parts) == 3 and parts[1] not in FLOORS:
            found.append(f"{path}: tree: proxy/{parts[1]} is no floor; the floors are {', '.join(FLOORS)}")
    return found


def most_files_are_short(sizes: Mapping[str, int]) -> Findings:
    """Nine in ten within 300 lines, half of them within 140."""
    if not sizes:
        return []
    found = []
    long = sorted((path for path, size in sizes.items() if size > MOST_LINES), key=lambda path: -sizes[path])
    if len(long) * 10 > len(sizes):
        listed = ", ".join(f"{path} ({sizes[path]})" for path in long)
        found.append(f"size: {len(long)} of {len(sizes)} files are over {MOST_LINES} lines, one in ten may be: {listed}")
    median = statistics.median(sizes.values())
    if median > MEDIAN_LINES:
        found.append(f"size: the median file has {median:g} lines, {MEDIAN_LINES} at most")
    return found


def sources_have_twins(sources: Iterable[str], tests: Iterable[str], without: Mapping[str, str]) -> Findings:
    """proxy/a/b.py is tested by tests/a/test_b.py. `without`: those that have none, each with its reason."""
    there, sources = set(tests), list(sources)
    found = []
    for path in sources:
        source = PurePosixPath(path)
        if source.stem == "__init__":
            continue
        twin = "/".join(("tests", *source.parts[1:-1], f"test_{source.stem.strip('_')}.py"))
        if path not in without and twin not in there:
            found.append(f"{path}: twin: {twin} is missing")
        if path in without and twin in there:
            found.append(f"{path}: twin: it has one, so take it off the list of exceptions")
    return found + [f"{path}: twin: an exception for a file that is not there" for path in without if path not in sources]


def kinds_are_documented(names: Iterable[str], paths: Iterable[str], reference: str) -> Findings:
    """A kind is one word everywhere: its file, its test file, its heading in policies/README.md."""
    there = set(paths)
    found = []
    for name in names:
        found += [
            f"{name}: kind: {path} is missing" for path in (f"proxy/kinds/{name}.py", f"tests/kinds/test_{name}.py") if path not in there
        ]
        if not re.search(rf"^#+ +`?{re.escape(name)}`?(?:\s|$)", reference, re.MULTILINE):
            found.append(f"{name}: kind: policies/README.md has no heading for it")
    return found
