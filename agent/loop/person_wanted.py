"""Recognises that a user asks for a person: plainly, in English, German or Chinese.

A small model says that it can't, or looks something up. Who asks for a person should not depend on that. What is not
recognised is the model's to decide.
"""

from __future__ import annotations

import regex

_WHO = (
    r"(?:a |an |the |your |some |one of your )?(?:real |actual |live |human |customer )?(?:service |support |sales )?"
    r"(?:humans?|persons?|people|agents?|operators?|representatives?|reps?|managers?|supervisors?|boss|staff|team"
    r"|colleagues?|employees?|advis[eo]rs?|someone|somebody)\b"
)
_ENGLISH = regex.compile(
    rf"\b(?:talk|speak|chat)(?: directly)? (?:to|with) {_WHO}"
    rf"|\b(?:connect|transfer|forward|refer|escalate) (?:me|us|this|it|my case) (?:over )?(?:to|with) {_WHO}"
    rf"|\b(?:put|pass|hand) (?:me|us|this|it|my case) (?:through|over|on) to {_WHO}"
    r"|\b(?:get|give|fetch) me (?:a |an |the |your |some )?(?:real |actual |live |human )?"
    r"(?:human|person|agent|operator|representative|manager|supervisor|boss|someone|somebody)\b"
    r"|\b(?:want|need|demand|prefer)(?: to have| to get)? (?:a |an |the |your )?"
    r"(?:(?:real|actual|live|human) (?:person|human|agent|being)|human|manager|supervisor)\b"
    r"|\bis there (?:a|any) (?:real |actual |live )?(?:human|person)\b",
    regex.IGNORECASE,
)
_GERMAN = regex.compile(
    r"\b(?:mit|an) (?:\w+ ){0,3}?(?:mensch|mitarbeiter|kolleg|berater|vorgesetzt|chef|person|jemand)\w*\b[^.!?]{0,30}"
    r"\b(?:sprechen|reden|chatten|verbinden|verbunden|weiterleiten|durchstellen)\b",
    regex.IGNORECASE,
)
_CHINESE = regex.compile(
    r"(?:转|要|找|叫|换|接|联系|需要)(?:个|一个|一下|到|接)?(?:你们的?)?(?:人工|真人|经理|主管|领导|负责人|老板)"
    r"|有没有(?:人工|真人)|^\W*人工(?:客服|服务)?\W*$"
)
_OTHERWISE = regex.compile(
    r"\b(?:if|unless|otherwise|or else|wenn|falls|sonst|ansonsten|when|what time|wann)\b"
    r"|如果|要是|不然|否则|实在|几点|什么时候|时间",
    regex.IGNORECASE,
)
"""Signs of a condition, or of a question on opening hours."""
_NEGATED = regex.compile(
    r"\b(?:don['’]?t|do not|no need to|never|without|instead of|rather than|i can(?:no|['’]?)t|nicht|kein\w*|statt)\b"
    r"|不(?:要|用|想|需要)",
    regex.IGNORECASE,
)
_SENTENCE = regex.compile(r"[.!?。！？；;\n]+")
_CLAUSE = regex.compile(r"[,，、:：]|\s[-–—]\s")
MOST_CHARS = 4000
"""Characters of a message that are read."""


def wants_person(text: str) -> bool:
    """Whether a clause of the text asks for a person, without a "not" and without a condition in its sentence."""
    sentences = (sentence for sentence in _SENTENCE.split(text[:MOST_CHARS]) if not _OTHERWISE.search(sentence))
    clauses = (clause for sentence in sentences for clause in _CLAUSE.split(sentence) if not _NEGATED.search(clause))
    return any(pattern.search(clause) for clause in clauses for pattern in (_ENGLISH, _GERMAN, _CHINESE))
