"""What is decided about a program while it is decoded: its signature, and calls that can never pass the scanner."""

from __future__ import annotations

from flightloop.code_task import CodeTask, SecurityLevel

_BEFORE = ("\n", " ", "(", "=", ",")
NEVER = {
    "python": (
        *(f"{before}{name}(" for before in _BEFORE for name in ("eval", "exec")),
        *(
            "shell=True",
            "os.system(",
            "os.popen(",
            *(f"{module}.{name}(" for module in ("pickle", "marshal") for name in ("load", "loads")),
            "yaml.load(",
        ),
        *('execute(f"', "execute(f'", "executescript(f", "verify=False", "_create_unverified_context", "mktemp("),
        *("hashlib.md5(", "hashlib.sha1(", "ssl.CERT_NONE"),
    ),
    "java": (
        *("Runtime.getRuntime().exec(", "new ObjectInputStream(", "createStatement()", "new Random(", "ScriptEngine"),
        *('getInstance("MD5")', 'getInstance("SHA-1")', 'getInstance("SHA1")', 'getInstance("DES'),
    ),
}
"""Texts that are masked at the level ``high``. What is spelt in another way is found by the scanner."""


def opening_of(task: CodeTask) -> str | None:
    """The beginning of an answer that defines the function of the signature; None if none is asked for."""
    signature = (task.constraints.signature or "").strip().rstrip("{:; ")
    if not signature:
        return None
    if task.language == "java":
        return f"```java\nclass Solution {{\n    {signature} {{\n"
    head = signature if signature.startswith(("def ", "async def ")) else f"def {signature}"
    return f"```python\n{head}:\n"


def never_in(task: CodeTask) -> tuple[str, ...]:
    """Texts that a program at this level can't contain."""
    return NEVER[task.language.value] if task.security_level is SecurityLevel.HIGH else ()
