"""Checks of mistakes in the shape of a function: results that may be missing, overflows, endless loops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tools.codescan.globs import matches
from tools.codescan.node import Kind, Node, dotted, last
from tools.codescan.site import Scope, Site

_MAY_BE_NONE = ("re.match", "re.search", "re.fullmatch", "re.Pattern.*", "re.compile().match", "re.compile().search",
                "re.compile().fullmatch", "os.environ.get", "shutil.which", "*.getenv", "*.find_one", "*.fetchone",
                "System.getenv", "System.getProperty", "*.getParameter", "*.getHeader", "Map.get", "HashMap.get",
                "ConcurrentHashMap.get", "TreeMap.get", "*.getAttribute", "*.getCookies", "*.listFiles", "*.list",
                "*.getResource", "*.getResourceAsStream", "*.find", "*.console", "LinkedHashMap.get",
                "*.findtext")  # fmt: skip
_KNOWN = ("*.containsKey", "*.putIfAbsent", "*.computeIfAbsent", "*.keySet")
_FIND = ("*.find", "*.list")
"""Names of so many methods that only those of known libraries count."""


def may_be_null(sites: list[Site]) -> Iterator[int]:
    """A method of a result that may be None or null is called, and nothing tests the result."""
    known = {dotted(site.node.receiver) for site in sites if site.event == "call" and matches(_KNOWN, site.names)}
    makers = {
        id(site.node): site
        for site in sites
        if site.event == "call" and _may_be_none(site) and not _has_key(site, known)
    }
    if not makers:
        return
    scope = sites[0].scope
    held = {
        node.name: node.line
        for node in scope.node.walk()
        if node.kind is Kind.ASSIGN and node.parts and id(node.parts[0]) in makers
    }
    tested = _tested(scope)
    for node in scope.node.walk():
        if node.kind not in (Kind.CALL, Kind.ATTRIBUTE, Kind.SUBSCRIPT) or node.receiver is None:
            continue
        if id(node.receiver) in makers:
            yield node.line
        elif node.receiver.kind is Kind.NAME and node.receiver.name not in tested:
            first = held.get(node.receiver.name)
            if first is not None and first <= node.line:
                yield node.line


def _may_be_none(site: Site) -> bool:
    if not matches(_MAY_BE_NONE, site.names):
        return False
    if last(site.names[0]) in ("get", "getenv", "getProperty", "getOrDefault") and len(site.args) > 1:
        return False  # with a default
    if matches(_FIND, site.names):
        return site.receiver is not None and matches(("xml*", "lxml*", "File*", "new File*"), (site.receiver.origin,))
    return True


def _has_key(site: Site, known: set[str]) -> bool:
    """Whether a map's item is read in a function that tests for, adds or goes through the keys of that map."""
    return last(site.names[0]) == "get" and dotted(site.node.receiver) in known


def _tested(scope: Scope) -> set[str]:
    """Variables that a condition of any kind looks at."""
    found: set[str] = set()
    for node in scope.node.walk():
        tests: Iterable[Node] = ()
        if (
            node.kind in (Kind.IF, Kind.LOOP, Kind.ASSERT, Kind.COMPARE, Kind.NOT, Kind.COMPREHENSION)
            or (node.kind is Kind.OTHER and node.name in ("or", "and", "?", "IfExp"))
            or (node.kind is Kind.CALL and last(node.name) in ("requireNonNull", "isNull", "nonNull", "ofNullable"))
        ):
            tests = node.parts
        for test in tests:
            found |= {one.name for one in test.walk() if one.kind in (Kind.NAME, Kind.ASSIGN)}
    return found


def endless(sites: list[Site]) -> Iterator[int]:
    """``while True`` without a way out, in a function that serves nothing."""
    if not sites:
        return
    for node in sites[0].scope.node.walk():
        if node.kind is Kind.LOOP and node.parts and node.parts[0].value is True:
            below = [one for statement in node.body for one in statement.walk()]
            leaves = {one.kind for one in below} & {Kind.JUMP, Kind.RETURN, Kind.RAISE}
            waits = any(one.kind is Kind.CALL or one.name in ("Yield", "YieldFrom") for one in below)
            if not leaves and not waits:
                yield node.line


def overflow(sites: list[Site]) -> Iterator[int]:
    """A product or a narrowed number of unchecked parameters, as a size, an amount or a long."""
    if not sites or sites[0].scope.node.kind is not Kind.FUNCTION:
        return
    scope = sites[0].scope
    if matches(("Math.*Exact", "*.toIntExact"), scope.calls):
        return
    types = {node.name: node.type for node in scope.node.parts}
    types |= {node.name: node.type for node in scope.node.walk() if _is_read(node)}
    compared = {
        one.name
        for node in scope.node.walk()
        if node.kind is Kind.COMPARE and node.name in ("<", ">", "<=", ">=")
        for one in node.walk()
        if one.kind is Kind.NAME
    }
    for node in scope.node.walk():
        names = {one.name for one in node.parts if one.kind is Kind.NAME}
        kinds = {types.get(name, "") for name in names}
        product = node.name == "*" and len(names) > 1 and kinds <= {"int", "short"}
        narrowed = node.name == "cast" and node.type in ("int", "short", "byte") and "long" in kinds
        if node.kind is Kind.OTHER and (product or narrowed) and not names & compared:
            yield node.line


def _is_read(node: Node) -> bool:
    """Whether a variable gets the result of a call, so that its value is not known."""
    return node.kind is Kind.ASSIGN and bool(node.type and node.parts) and node.parts[0].kind is Kind.CALL


def references(sites: list[Site]) -> Iterator[int]:
    """Strings compared by == in Java: it compares references."""
    if not sites:
        return
    types = sites[0].scope.module.types
    for site in sites:
        if site.event != "compare" or site.names[0] not in ("==", "!=") or len(site.args) != 2:
            continue
        texts = [
            isinstance(value.constant, str) and node.kind is Kind.LITERAL and not str(value.constant).endswith(".class")
            for node, value in zip(site.nodes, site.args, strict=True)
        ]
        typed = [types.get(node.name) == "String" for node in site.nodes]
        others = [node.value is None and node.kind is Kind.LITERAL for node in site.nodes]
        characters = any(types.get(node.name) == "char" or last(node.name) == "charAt" for node in site.nodes)
        if not any(others) and not characters and (all(typed) or (any(texts) and any(typed))):
            yield site.line
