"""Constraints on the decoding of a program: the signature that it begins with, and calls that the scanner rejects."""

from __future__ import annotations

from flightloop.code_task import CodeTask, SecurityLevel

_BEFORE = ("\n", " ", "(", "=", ",")
NEVER = {
    "python": (
        *(f"{before}{name}(" for before in _BEFORE for name in ("eval", "exec")),
        *("shell=True", "os.system(", "os.popen(", "yaml.load("),
        *(f"{module}.{call}(" for module in ("pickle", "marshal") for call in ("load", "loads")),
        *('execute(f"', "execute(f'", "executescript(f", "verify=False", "_create_unverified_context", "mktemp("),
        *("hashlib.md5(", "hashlib.sha1(", "ssl.CERT_NONE"),
    ),
    "java": (
        *("Runtime.getRuntime().exec(", "new ObjectInputStream(", "createStatement()", "new Random(", "ScriptEngine"),
        *('getInstance("MD5")', 'getInstance("SHA-1")', 'getInstance("SHA1")', 'getInstance("DES'),
    ),
}
"""Texts that are masked at the level ``high``. What is spelt in another way is found by the scanner."""


def opening_of(task: CodeTask, header: str | None = None) -> str:
    """The beginning of an answer with a program: the fence, and the function's header if one is asked for.

    The fence's line is forced even without a header. The embedded model's experts are trained on short answers, and
    with them the model writes code on that line: one-liners, or a header without its line break.

    Args:
        header: header of the function that the prompt's own code leaves to be completed.
    """
    fence = f"```{task.language.value}\n"
    signature = (task.constraints.signature or "").strip().rstrip("{:; ")
    if not signature:
        return fence if header is None else f"{fence}{header}\n"
    if task.language == "java":
        return f"{fence}class Solution {{\n    {signature} {{\n"
    head = signature if signature.startswith(("def ", "async def ")) else f"def {signature}"
    return f"{fence}{head}:\n"


def never_in(task: CodeTask) -> tuple[str, ...]:
    """Texts that a program at this level can't contain."""
    return NEVER[task.language.value] if task.security_level is SecurityLevel.HIGH else ()
