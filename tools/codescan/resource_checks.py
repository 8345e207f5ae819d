"""Checks of files and other resources: races between test and use, and what is never closed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from tools.codescan.globs import matches
from tools.codescan.node import Kind, Node, dotted, last
from tools.codescan.site import Site

_TESTS = ("*.exists", "*.isfile", "*.isdir", "os.access", "*.is_file", "*.is_dir", "*.lexists",
          "Files.notExists", "*.canRead", "*.canWrite", "*.isFile")  # fmt: skip
_USES = ("open", "io.open", "os.remove", "os.unlink", "os.rename", "os.mkdir", "os.chmod", "shutil.*", "os.open",
         "*.write_text", "*.write_bytes", "*.unlink", "*.delete", "*.createNewFile", "Files.*", "new FileOutputStream",
         "new FileWriter", "*.renameTo", "os.rmdir", "*.touch")  # fmt: skip
_WRITES = re.compile(r"[wax+]")
_OPENERS = ("open", "io.open", "socket.socket", "sqlite3.connect", "os.fdopen", "gzip.open", "zipfile.ZipFile",
            "tarfile.open", "urllib.request.urlopen", "socket.create_connection", "psycopg2.connect",
            "new FileInputStream", "new FileOutputStream", "new FileReader", "new FileWriter", "new BufferedReader",
            "new BufferedWriter", "new PrintWriter", "new Scanner", "new Socket", "new ServerSocket", "new ZipFile",
            "DriverManager.getConnection", "*.getConnection", "*.createStatement", "*.prepareStatement",
            "*.executeQuery", "new ObjectInputStream", "new ZipInputStream", "Files.newInputStream",
            "Files.newBufferedReader", "Files.newOutputStream", "new RandomAccessFile", "Files.lines",
            "new ObjectOutputStream", "new JarFile", "new InputStreamReader")  # fmt: skip
_STANDARD = ("System.in", "System.out", "System.err")
_IN_MEMORY = ("StringReader", "StringWriter", "ByteArrayInputStream", "ByteArrayOutputStream")
_CHAINED = ("open", "io.open", "urllib.request.urlopen")
"""Those whose result is often used at once, as in ``open(path).read()``."""


def race(sites: list[Site]) -> Iterator[int]:
    """A file is tested, then used by a second call with the same name."""
    tested: dict[str, int] = {}
    for site in sites:
        if site.event != "call":
            continue
        subject = _subject(site)
        if matches(_TESTS, site.names):
            tested.setdefault(subject, site.line)
        elif subject in tested and subject and matches(_USES, site.names) and _changes(site):
            yield site.line


def _subject(site: Site) -> str:
    owner = dotted(site.node.receiver)
    if owner in ("os", "os.path", "shutil", "Files", "io", "") and site.nodes:
        return dotted(site.nodes[0])
    return owner if site.node.receiver is not None else dotted(site.nodes[0]) if site.nodes else ""


def _changes(site: Site) -> bool:
    """Whether the use writes, or opens for writing: reading a file that vanished only raises an error."""
    if last(site.names[0]) != "open":
        return "Files.read" not in site.names[0] and not site.names[0].startswith(("Files.new", "Files.lines"))
    mode = next((one.constant for one in (*site.args[1:2], site.keywords.get("mode")) if one is not None), "r")
    return isinstance(mode, str) and bool(_WRITES.search(mode))


def leak(sites: list[Site]) -> Iterator[int]:
    """Something is opened, kept in a local variable, and neither closed nor handed on."""
    if not sites or sites[0].scope.node.kind is not Kind.FUNCTION:
        return
    scope = sites[0].scope.node
    types = sites[0].scope.module.types
    opened = {
        id(site.node): site
        for site in sites
        if site.event == "call" and matches(_OPENERS, site.names) and not _needs_no_closing(site.node, types)
    }
    if not opened:
        return
    kept = {name for node in scope.walk() for name in _handed_on(node)}
    for node in scope.walk():
        if node.kind is Kind.ASSIGN and node.parts and id(node.parts[0]) in opened:
            if node.name not in kept and "." not in node.name:
                yield node.line
        elif node.kind is Kind.CALL and (maker := opened.get(id(node.receiver))) and matches(_CHAINED, maker.names):
            yield node.line


def _needs_no_closing(node: Node, types: Mapping[str, str]) -> bool:
    """Whether a reader or writer works on texts, bytes in memory, or a standard stream."""
    if not node.parts or not node.name.startswith("new "):
        return False
    first = node.parts[0]
    if dotted(first) in _STANDARD or (node.name == "new Scanner" and types.get(first.name) == "String"):
        return True
    if first.kind is Kind.CALL:
        return first.name.removeprefix("new ") in _IN_MEMORY or _needs_no_closing(first, types)
    return first.kind is Kind.NAME and types.get(first.name) in _IN_MEMORY


def _handed_on(node: Node) -> Iterator[str]:
    """Variables that a node closes, returns, stores or passes to another function."""
    match node.kind:
        case Kind.CALL if last(node.name) in ("close", "shutdown", "disconnect"):
            yield node.name.rpartition(".")[0]
        case Kind.WITH:
            yield from (part.name for part in node.parts)
        case Kind.RETURN:
            inner = [below for part in node.parts for below in (part, *_contents(part))]
            yield from (one.name for one in inner if one.kind is Kind.NAME)
        case Kind.ASSIGN:
            yield from (part.name for part in node.parts if part.kind is Kind.NAME)
    if node.kind in (Kind.CALL, Kind.COLLECTION):
        yield from (part.name for part in (*node.parts, *node.keywords.values()) if part.kind is Kind.NAME)


def _contents(node: Node) -> list[Node]:
    return node.parts if node.kind in (Kind.COLLECTION, Kind.CALL, Kind.OTHER) else []
