"""Python as a language of generated programs: reading answers, prompts and tests."""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Iterator, Sequence

from agent.procedures.examples import FENCED, NAMED, Test, examples, is_example_call, is_literal
from agent.procedures.procedure import Unusable
from agent.procedures.value_types import mistyped
from agent.procedures.wanted import CLASS, Kind, Wanted, is_program

_HEADER = re.compile(r"`((?:def\s+)?\w+\s*\([^`]*\)(?:\s*->\s*[^`]+?)?):?`")
"""A function's header in a sentence."""
_TYPING = {
    "Any", "Callable", "Deque", "DefaultDict", "Dict", "FrozenSet", "Generator", "Iterable", "Iterator", "List",
    "Mapping", "NamedTuple", "Optional", "Sequence", "Set", "Tuple", "Type", "TypeVar", "Union",
}  # fmt: skip
_HOMES = {
    "Counter": "collections", "OrderedDict": "collections", "defaultdict": "collections", "deque": "collections",
    "dataclass": "dataclasses", "field": "dataclasses", "datetime": "datetime", "timedelta": "datetime",
    "Decimal": "decimal", "Fraction": "fractions", "lru_cache": "functools", "reduce": "functools",
    "cmp_to_key": "functools", "Path": "pathlib", "heappush": "heapq", "heappop": "heapq", "heapify": "heapq",
    "permutations": "itertools", "combinations": "itertools", "product": "itertools", "groupby": "itertools",
    "chain": "itertools", "accumulate": "itertools", "bisect_left": "bisect", "bisect_right": "bisect",
    "gcd": "math", "sqrt": "math", "ceil": "math", "floor": "math", "factorial": "math", "isclose": "math",
    "date": "datetime", "timezone": "datetime", "partial": "functools", "wraps": "functools", "cache": "functools",
    "islice": "itertools", "zip_longest": "itertools", "pairwise": "itertools", "insort": "bisect",
    "StringIO": "io", "BytesIO": "io", "urlparse": "urllib.parse", "urlsplit": "urllib.parse", "quote": "urllib.parse",
    "unquote": "urllib.parse", "Enum": "enum", "ABC": "abc", "abstractmethod": "abc", "Lock": "threading",
    "namedtuple": "collections", "ChainMap": "collections", "contextmanager": "contextlib", "ROUND_HALF_UP": "decimal",
} | dict.fromkeys(_TYPING, "typing")  # fmt: skip


class PythonCode:
    """Reads what a model writes in Python."""

    name = "python"

    def file(self, code: str) -> str:
        return "solution.py"

    def tests_file(self, code: str) -> str:
        return "test_solution.py"

    def program(self, answer: str, prompt: str) -> str:
        """The program in an answer, completed by what the prompt's own code provides.

        Raises:
            Unusable: the answer has no program.
        """
        blocks = [body for kind, body in FENCED.findall(answer) if kind.lower() in ("", "python", "py", "python3")]
        found = [block for block in blocks if re.search(r"^\s*(async\s+)?(def|class)\s", block, re.M)] or blocks
        code = found[0] if found else answer
        if not found and _tree(answer) is None:
            raise Unusable("the answer contains no program")
        if not code.strip():
            raise Unusable("the program is empty")
        as_is = self.wanted(prompt, None).kind is Kind.PROGRAM
        return self._completed(code.strip("\n") + "\n", prompt, as_is=as_is)

    def entry(self, prompt: str, signature: str | None) -> str | None:
        """Name of the function that is asked for; None if the prompt does not say."""
        if signature is not None and (found := re.search(r"(\w+)\s*\(", signature)):
            return found[1]
        stub = self.stub(prompt)
        if stub is not None:
            return _functions(stub)[-1]
        named, header = NAMED.search(prompt), _annotated(prompt)
        if named is None and header is not None:
            return _functions(header)[-1]
        return named[1] if named else None

    def wanted(self, prompt: str, signature: str | None) -> Wanted:
        entry, named = self.entry(prompt, signature), CLASS.search(prompt)
        if entry is None and named is not None:
            return Wanted(Kind.CLASS, named[1], (named[1],))
        if entry is None and is_program(prompt):
            return Wanted(Kind.PROGRAM)
        return Wanted(Kind.FUNCTION, entry, (entry,) if entry else ())

    def missing(self, code: str, names: Sequence[str]) -> str | None:
        tree = _tree(code)
        bound = set(_bound(tree)) if tree else set(names)
        return next((name for name in names if name not in bound), None)

    def mistyped(self, header: str | None, results: Sequence[tuple[str, str]]) -> str | None:
        tree = _tree(f"{header} ...") if header else None
        node = tree.body[0] if tree else None
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.returns is None:
            return None
        wrong = mistyped(results, node.returns)
        return wrong and f"{wrong[0]} returned {wrong[1]}, which is no {ast.unparse(node.returns)}"

    def defined(self, code: str) -> str | None:
        """Name of the last function that a program defines."""
        tree = _tree(code)
        names = _functions(tree) if tree else []
        public = [name for name in names if not name.startswith("_") and name != "main"]
        return next(reversed(public or names), None)

    def stub(self, prompt: str) -> ast.Module | None:
        """The prompt's code, if the prompt is the head of a program whose last function has no body."""
        text = prompt.strip("\n")
        if not re.match(r"\s*(from|import|def|class|async|@|#|\w+\s*=)", text):
            return None
        tree = _tree(text) or _tree(f"{text}\n    pass")
        return tree if tree and _functions(tree) else None

    def is_stub(self, prompt: str) -> bool:
        return self.stub(prompt) is not None

    def header(self, prompt: str) -> str | None:
        """Header of the function that the prompt leaves to be completed, or gives with its annotations."""
        stub = self.stub(prompt) or _annotated(prompt)
        if stub is None:
            return None
        last = [node for node in stub.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)][-1]
        bare = type(last)(last.name, last.args, [ast.Pass()], [], last.returns, lineno=1, col_offset=0)
        return ast.unparse(bare).rpartition("\n")[0]

    def examples(self, prompt: str, entry: str) -> list[Test]:
        return examples(prompt, entry)

    def scenario(self, answer: str, entry: str) -> str:
        """A function ``test_solution`` that a model wrote, and its call. Raises Unusable."""
        blocks = [body for _, body in FENCED.findall(answer)] or [answer]
        tree = _tree(blocks[0])
        if tree is None or "test_solution" not in _functions(tree):
            raise Unusable("the answer contains no function test_solution")
        found = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "test_solution")
        called = any(isinstance(one, ast.Name) and one.id == entry for one in ast.walk(found))
        if not called or not any(isinstance(one, ast.Assert) for one in ast.walk(found)) or found.args.args:
            raise Unusable(f"the test does not call {entry}, or asserts nothing")
        kept = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom) and not _is_foreign(node)]
        lines = [ast.unparse(node) for node in (*kept, found)]
        imports = _missing_imports(ast.parse("\n".join(lines)))
        head = [f"import {name}" if home is None else f"from {home} import {name}" for name, home in imports]
        return "\n".join([*head, *lines, "test_solution()"])

    def test_form(self, entry: str) -> str:
        return f"assert {entry}(...) == ..."

    def test_opening(self, entry: str) -> str:
        return f"```python\nassert {entry}("

    def scenario_opening(self, made: str | None) -> str:
        return "```python\ndef test_solution():\n"

    def parsed_test(self, line: str, entry: str) -> Test | None:
        """Call and expected literal of an ``assert`` that compares them; None for other lines."""
        tree = _tree(line.strip())
        if tree is None or len(tree.body) != 1 or not isinstance(tree.body[0], ast.Assert):
            return None
        test = tree.body[0].test
        if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq | ast.Is):
            call, expected = test.left, test.comparators[0]
        elif isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            call, expected = test.operand, ast.Constant(False)
        else:
            call, expected = test, ast.Constant(True)
        if not is_example_call(call, entry) or not is_literal(expected):
            return None
        return ast.unparse(call), ast.unparse(expected)

    def test_file(self, tests: Sequence[Test], scenarios: Sequence[str], entry: str | None, code: str) -> str:
        """A module of tests for pytest."""
        parts = [f"from solution import {entry}"] if entry else []
        if tests:
            lines = [f"    assert {call} == {expected}" for call, expected in tests]
            parts.append("def test_examples():\n" + "\n".join(lines))
        for number, text in enumerate(scenarios, 1):
            parts.append(text.removesuffix("\ntest_solution()").replace("test_solution", f"test_scenario_{number}"))
        return "\n\n\n".join(parts) + "\n"

    def _completed(self, code: str, prompt: str, *, as_is: bool) -> str:
        """The program with what it lacks. ``as_is``: it is run as a whole, so nothing at its end is an example."""
        tree = _tree(code)
        if tree is None:
            return code
        program = code if as_is else _without_examples(code, tree)
        tree = _tree(program) or tree
        head = list(_missing_head(tree, self.stub(prompt)))
        whole = "\n".join([*head, program]) if head else program
        missing = _missing_imports(_tree(whole) or tree)
        lines = [f"import {name}" if home is None else f"from {home} import {name}" for name, home in missing]
        return _joined(lines, whole)


def _tree(code: str) -> ast.Module | None:
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _functions(tree: ast.Module) -> list[str]:
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _annotated(prompt: str) -> ast.Module | None:
    """The only function whose header stands in a sentence, with annotations."""
    trees = []
    for header in _HEADER.findall(prompt):
        tree = _tree(f"{header if 'def ' in header else f'def {header}'}: ...")
        node = tree.body[0] if tree else None
        if isinstance(node, ast.FunctionDef) and (node.returns or any(one.annotation for one in node.args.args)):
            trees.append(tree)
    return trees[0] if len(trees) == 1 else None


def _is_foreign(node: ast.Import | ast.ImportFrom) -> bool:
    """Whether an import is not of the standard library: then it would load the program, which a test already has."""
    known = sys.stdlib_module_names
    names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
    return not all(name.split(".")[0] in known for name in names)


def _joined(imports: list[str], code: str) -> str:
    """Puts imports before a program, after imports from ``__future__``."""
    if not imports:
        return code
    lines = code.split("\n")
    later = [index for index, line in enumerate(lines) if line.startswith("from __future__")]
    at = later[-1] + 1 if later else 0
    return "\n".join([*lines[:at], *imports, *([""] if lines[at : at + 1] != [""] else []), *lines[at:]])


def _without_examples(code: str, tree: ast.Module) -> str:
    """The program without examples of use at its end, which would run when it is loaded."""
    dropped: set[int] = set()
    defined = [index for index, node in enumerate(tree.body) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    tail = tree.body[defined[-1] + 1 :] if defined else []
    if not _needed(tree.body[: len(tree.body) - len(tail)], tail):
        for node in tail:
            if _is_use(node):
                dropped |= set(range(node.lineno - 1, node.end_lineno or node.lineno))
    lines = code.splitlines(keepends=True)
    kept = [line for index, line in enumerate(lines) if index not in dropped]
    while dropped and kept and (not kept[-1].strip() or kept[-1].startswith("#")):  # "# Test the function"
        kept.pop()
    return "".join(kept)


def _needed(definitions: list[ast.stmt], tail: list[ast.stmt]) -> bool:
    """Whether definitions use names that the statements after them assign."""
    assigned = set(_bound(ast.Module(tail, []), everywhere=True))
    own = set(_bound(ast.Module(definitions, []), everywhere=True))
    used = {
        name.id
        for node in definitions
        for name in ast.walk(node)
        if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Load)
    }
    return bool((assigned - own) & used)


def _is_use(node: ast.stmt) -> bool:
    """Whether a statement after all definitions shows their use, rather than define a constant."""
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = [one.id for one in targets if isinstance(one, ast.Name)]
        return any(isinstance(one, ast.Call) for one in ast.walk(node)) or any(map(str.islower, names))
    if isinstance(node, ast.If):
        return "__name__" not in ast.dump(node.test)
    return isinstance(node, ast.Assert | ast.Expr | ast.For | ast.While | ast.With | ast.Try)


def _missing_head(tree: ast.Module, stub: ast.Module | None) -> Iterator[str]:
    """Definitions of the prompt's code that the program lacks: imports and helper functions."""
    if stub is None:
        return
    own = set(_bound(tree))
    last = _functions(stub)[-1]
    for node in stub.body:
        names = set(_bound(ast.Module([node], [])))
        wanted = last not in names and names and not names <= own
        if wanted:
            yield ast.unparse(node)


def _missing_imports(tree: ast.Module) -> list[tuple[str, str | None]]:
    """Names of the standard library that are used but nowhere defined, each with the module to import it from."""
    bound = set(_bound(tree, everywhere=True)) | set(dir(builtins))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    modules = {
        node.value.id for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    missing: list[tuple[str, str | None]] = []
    for name in sorted(used - bound):
        if name in modules and name in sys.stdlib_module_names:
            missing.append((name, None))
        elif name in _HOMES:
            missing.append((name, _HOMES[name]))
    return missing


def _bound(tree: ast.Module, *, everywhere: bool = False) -> Iterator[str]:
    """Names that a module binds, at its top level or everywhere."""
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Assign):
            yield from (name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name
