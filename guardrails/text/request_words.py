"""German and Chinese words for the acts of English verbs, to recognise what users ask for."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import regex

_WORDS = (
    (("refund", "reimburse"), r"(?:(?:zu)?rück)?er?statte[nt]?", r"(?:rück)?erstattung", "退款|退钱|退费|退还"),
    (("cancel",), r"stornieren?|kündigen?|abbestellen?|absagen?", r"storno|stornierung|kündigung", "取消|撤销|退订"),
    (("book", "reserve"), r"buchen?|reservieren?", r"buchung|reservierung", "预订|预定|预约|订"),
    (("rebook", "reschedule"), r"umbuchen?|umbuche|verschieben?|verlegen?", r"umbuchung|verschiebung", "改签|改期"),
    (("schedule", "arrange"), r"vereinbaren?|planen?|ansetzen?", r"vereinbarung", "安排|预约"),
    (("send", "forward", "email"), r"(?:zu|ab|ver)?(?:senden?|schicken?)|mailen?", r"zusendung", "发送|发给|发到|寄"),
    (
        ("change", "update", "modify", "edit", "correct", "adjust"),
        r"(?:ab)?ändern?|ändere|aktualisieren?|korrigieren?|anpassen?",
        r"änderung|aktualisierung|korrektur",
        "修改|更改|更新|更正|改成|改为",
    ),
    (("delete", "remove"), r"löschen?|entfernen?", r"löschung|entfernung", "删除|移除|去掉"),
    (("create", "add", "open"), r"erstellen?|anlegen?|hinzufügen?|eröffnen?", r"erstellung", "创建|添加|新建|开通"),
    (("close",), r"schließen?", r"schließung", "关闭|注销"),
    (("pay", "settle"), r"(?:be)?zahlen?|überweisen?|begleichen?", r"(?:be)?zahlung|überweisung", "支付|付款|付"),
    (("transfer",), r"überweisen?|übertragen?", r"überweisung|übertragung", "转账|汇款|转"),
    (("renew", "extend", "prolong"), r"verlängern?|verlängere", r"verlängerung", "续借|续订|续期|延长|续"),
    (("order", "buy", "purchase"), r"bestellen?|kaufen?", r"bestellung", "订购|购买|下单|买"),
    (("ship", "dispatch"), r"(?:ver|ab)senden?|(?:ver|ab)schicken?|liefern?", r"versand|lieferung", "发货|寄出"),
    (("return",), r"zurückgeben?|zurücksenden?|zurückschicken?|retournieren?", r"rückgabe|retoure", "退货|归还|退回"),
    (("borrow", "lend", "loan"), r"(?:aus)?leihen?|entleihen?", r"ausleihe", "借"),
    (("register",), r"registrieren?|anmelden?|eintragen?", r"registrierung|anmeldung", "注册|登记|报名"),
    (("unsubscribe",), r"abmelden?|abbestellen?", r"abmeldung", "退订|取消订阅"),
    (("block", "lock"), r"sperren?", r"sperrung", "冻结|锁定|挂失"),
    (("unblock", "unlock"), r"entsperren?", r"entsperrung", "解锁|解冻"),
    (("remind", "remember"), r"erinnern?|erinnere?", r"erinnerung", "提醒|记住|记下|记得"),
    (("escalate",), r"weiterleiten?|eskalieren?", r"weiterleitung", "转接|转人工"),
)
_GERMAN_NO = regex.compile(
    r"\b(?:nicht|nichts|kein\w*|nie|niemals|ohne|statt|anstatt|stoppen?|wenn|falls|sobald|ob|später|schon|bereits)\b",
    regex.IGNORECASE,
)
_CHINESE_NO = regex.compile("不|没|别|未|无需|勿|如果|假如|要是|若|是否|已经|之后|以后|为什么|怎么|什么|多少|何时|请问")
_LEAD = r"^\W*(?:(?:ja|ok(?:ay)?|hallo|guten\s+tag|danke|und|dann|also|nun|jetzt|bitte)\W+){0,4}"
_ASKED = r"\b(?:können|könnten|kannst|könntest|würden|würdest)\s+(?:sie|du|ihr|wir)\b"
_WANTED = (
    r"\b(?:ich|wir)\b.{0,40}\b(?:möchten?|will|wollen|brauchen?|benötigen?)|\b(?:möchten?|will|wollen)\s+(?:ich|wir)\b"
)
_CHINESE_LEAD = "请|帮|麻烦|给我|替我|我要|我想|我们要|我们想|希望|需要"


@lru_cache(maxsize=1024)
def german(verbs: tuple[str, ...]) -> tuple[regex.Pattern[str], regex.Pattern[str]] | None:
    """Patterns of German requests for one of the acts: of sentences, and of questions; None: no words are known."""
    rows = [row for row in _WORDS if {*row[0]} & {*verbs}]
    if not rows:
        return None
    verb, noun = _any(row[1] for row in rows), _any(row[2] for row in rows)
    please = rf"\bbitte\b.{{0,120}}\b{verb}\b|{_LEAD}{verb}\b(?=.{{0,120}}\bbitte\b)"
    asked = rf"{_ASKED}.{{0,120}}\b{verb}\b"
    plain = rf"{_LEAD}{verb}\s+(?:sie|mir|uns|die|den|das|der|meine?\w*|unsere?\w*|es|bitte|#?\d)\b"
    wanted = rf"(?:{_WANTED}).{{0,120}}\b(?:{verb}|{noun})\b"
    return _compiled(f"{please}|{asked}|{plain}|{wanted}"), _compiled(f"{please}|{asked}")


def chinese_words(verbs: tuple[str, ...]) -> str:
    """Chinese words for the acts, as alternatives of a pattern."""
    return "|".join(row[3] for row in _WORDS if {*row[0]} & {*verbs}) or "(?!)"


@lru_cache(maxsize=1024)
def chinese(verbs: tuple[str, ...]) -> tuple[regex.Pattern[str], regex.Pattern[str]] | None:
    """The same for Chinese."""
    rows = [row for row in _WORDS if {*row[0]} & {*verbs}]
    if not rows:
        return None
    verb = _any(row[3] for row in rows)
    return _compiled(rf"(?:{_CHINESE_LEAD}).{{0,60}}{verb}|^\W*{verb}"), _compiled(f"(?:请|帮|麻烦).{{0,60}}{verb}")


@lru_cache(maxsize=1024)
def words_for(verbs: tuple[str, ...]) -> regex.Pattern[str] | None:
    """Pattern of German and Chinese words for the acts; None: no words are known."""
    rows = [row for row in _WORDS if {*row[0]} & {*verbs}]
    if not rows:
        return None
    german_words = _any(word for row in rows for word in row[1:3])
    return _compiled(rf"(?<![^\W\d_]){german_words}(?![^\W\d_])|{_any(row[3] for row in rows)}")


def refuses(clause: str) -> bool:
    """Whether a German or Chinese clause negates, depends on something, or asks what was done."""
    return _GERMAN_NO.search(clause) is not None or _CHINESE_NO.search(clause) is not None


def _any(patterns: Iterable[str]) -> str:
    return f"(?:{'|'.join(patterns)})"


def _compiled(pattern: str) -> regex.Pattern[str]:
    return regex.compile(pattern, regex.IGNORECASE)
