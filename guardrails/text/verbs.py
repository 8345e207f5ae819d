"""English verbs: their forms, and the kinds of acts they describe."""

from __future__ import annotations

import regex

_IRREGULAR = {
    "begin": ("began", "begun"),
    "bring": ("brought",),
    "build": ("built",),
    "buy": ("bought",),
    "cut": ("cut",),
    "do": ("did", "done"),
    "draw": ("drew", "drawn"),
    "find": ("found",),
    "get": ("got", "gotten"),
    "give": ("gave", "given"),
    "hold": ("held",),
    "keep": ("kept",),
    "leave": ("left",),
    "lend": ("lent",),
    "let": ("let",),
    "make": ("made",),
    "pay": ("paid",),
    "put": ("put",),
    "reset": ("reset",),
    "run": ("ran", "run"),
    "sell": ("sold",),
    "send": ("sent",),
    "set": ("set",),
    "shut": ("shut",),
    "take": ("took", "taken"),
    "tell": ("told",),
    "undo": ("undid", "undone"),
    "withdraw": ("withdrew", "withdrawn"),
    "write": ("wrote", "written"),
}
BROAD = frozenset(
    [
        "add", "adjust", "apply", "call", "change", "close", "correct", "create", "delete", "do", "edit", "get",
        "give", "handle", "insert", "keep", "leave", "let", "log", "make", "mark", "modify", "move", "open", "post",
        "process", "push", "put", "record", "register", "remove", "run", "save", "send", "set", "start", "store",
        "take", "tell", "update", "use", "write",
    ]
)  # fmt: skip
"""Verbs with many objects. They refer to a tool only together with a word of its name, or a pronoun."""
READS = frozenset(
    [
        "ask", "calculate", "check", "compare", "compute", "convert", "count", "describe", "estimate", "explain",
        "fetch", "find", "get", "give", "has", "is", "list", "look", "lookup", "query", "read", "retrieve", "return",
        "search", "see", "show", "tell", "view",
    ]
)  # fmt: skip
"""Verbs of acts that change nothing."""
SURE_READS = frozenset(["find", "get", "list", "look", "lookup", "read", "search", "show", "view"])
"""Verbs that hardly ever change anything; others of READS may: give a credit, tell a bank, return an order."""
SURE_WRITES = (
    "activate", "add", "adjust", "approve", "archive", "assign", "cancel", "clear", "close", "create", "deactivate",
    "delete", "disable", "dispatch", "edit", "enable", "erase", "escalate", "execute", "insert", "modify", "pay",
    "publish", "rebook", "reimburse", "remove", "renew", "reschedule", "reserve", "reset", "revoke", "send", "submit",
    "unlock", "unsubscribe", "update", "upload", "withdraw", "write",
)  # fmt: skip
"""Verbs that change something, and are no nouns that often occur in descriptions of reads."""
ELSEWHERE = (
    "activate", "book", "cancel", "charge", "credit", "deactivate", "dispatch", "email", "escalate", "pay",
    "purchase", "rebook", "refund", "register", "reimburse", "renew", "rent", "reschedule", "reserve", "schedule",
    "ship", "transfer", "unlock", "unsubscribe", "withdraw",
)  # fmt: skip
"""Verbs of acts that always need a call, even if no tool of the agent performs them."""
SYNONYMS = (
    ("change", "update", "modify", "edit", "correct", "adjust"),
    ("delete", "remove"),
    ("refund", "reimburse"),
    ("renew", "extend", "prolong"),
    ("book", "reserve"),
    ("pay", "settle"),
    ("send", "forward", "email"),
    ("remind", "remember"),
)
_NOUN_ENDINGS = r"(?:e?s|als?|ments?|ings?|l?ations?|ions?|y|ies)?"


def participles(verb: str) -> tuple[str, ...]:
    """Past forms of a verb, in both spellings: ``cancel``: canceled, cancelled."""
    if verb in _IRREGULAR:
        return _IRREGULAR[verb]
    if verb.endswith("e"):
        return (verb + "d",)
    if regex.search(r"[^aeiou]y$", verb):
        return (verb[:-1] + "ied",)
    if regex.search(r"(?<![aeiou])[aeiou][^aeiouwxy]$", verb):
        return (verb + "ed", verb + verb[-1] + "ed")
    return (verb + "ed",)


def gerunds(verb: str) -> tuple[str, ...]:
    """Forms with -ing, in both spellings: ``cancel``: canceling, cancelling."""
    if regex.search(r"[^eoy]e$", verb):
        return (verb[:-1] + "ing",)
    if regex.search(r"(?<![aeiou])[aeiou][^aeiouwxy]$", verb):
        return (verb + "ing", verb + verb[-1] + "ing")
    return (verb + "ing",)


def base(word: str) -> str:
    """Base form of a verb in the third person: ``renew`` for renews, ``apply`` for applies."""
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if regex.search(r"(?:ss|sh|ch|x|z|o)es$", word):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def noun_of(verb: str) -> str:
    """Pattern that matches nouns of a verb: renewal, payment, cancellation."""
    stem = verb[:-1] if verb.endswith(("e", "y")) and len(verb) > 3 else verb
    return regex.escape(stem) + ("e?" if stem != verb and verb.endswith("e") else "") + _NOUN_ENDINGS
