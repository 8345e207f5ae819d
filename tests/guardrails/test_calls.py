import pytest

from flightloop.egress import permits
from flightloop.tool import Effect, Permission, ToolSpec
from flightloop.verdicts import Action, Stage
from guardrails.finders.hosts import addresses_of, hosts_in
from guardrails.guard import Guard
from guardrails.policy import parse_policy
from guardrails.text.words import stands_in
from guardrails.types import Checked, CheckedCall, GuardContext


def guard(tools="", hosts=(), egress=""):
    allow = "" if "allow:" in tools else "allow: {'*': ['*']}, "
    egress = f"hosts: {list(hosts)}, {egress}"
    return Guard(
        parse_policy(f"name: mine\nversion: 1\ntools: {{provenance: allow, {allow}{tools}}}\negress: {{{egress}}}\n")
    )


async def rule(
    guard, arguments, *, name="act", effect=Effect.KEYED, sinks=(), permissions=(), confidence=None, **context
):
    rights = frozenset(map(Permission, permissions))
    spec = ToolSpec(name, "a tool", {"type": "object"}, effect, sinks=tuple(sinks), permissions=rights)
    call = CheckedCall("c", spec, arguments, confidence=confidence)
    checked = Checked(Stage.TOOL_CALL, "", GuardContext(agent="a", **context), call)
    return (await guard.check(checked)).action


async def test_allow_list_is_exact_and_by_agent():
    only = guard("allow: {a: [act]}")
    assert await rule(only, {}) is Action.ALLOW
    assert await rule(only, {}, name="act2") is Action.BLOCK
    assert await rule(guard("allow: {b: [act]}"), {}) is Action.BLOCK


async def test_a_plan_names_only_allowed_tools():
    only = guard("allow: {a: [act]}")
    for plan, action in ((("act",), Action.ALLOW), (("act", "other"), Action.BLOCK)):
        ruling = await only.check(Checked(Stage.PLAN, "", GuardContext(agent="a", plan=plan)))
        assert ruling.action is action


@pytest.mark.parametrize(
    ("limit", "good", "bad"),
    [
        ("enum: [x, 1]", "x", "y"),
        ("enum: [x, 1]", 1, True),
        ("const: true", True, 1),
        ("maxLength: 3", "abc", "abcd"),
        ("maximum: 10", 10, 10.5),
        ("maximum: 10", 9, "9"),
        ("minimum: 0", 0, -1),
        ("maximum: 10", 1, float("nan")),
        ("pattern: '^[a-z]+$'", "abc", "ab1"),
        ("pattern: '^[a-z]+$'", "abc", 5),
    ],
)
async def test_argument_rules(limit, good, bad):
    strict = guard(f"arguments: {{act: {{v: {{{limit}}}}}}}")
    assert await rule(strict, {"v": good}) is Action.ALLOW
    assert await rule(strict, {"v": bad}) is Action.BLOCK
    assert await rule(strict, {}) is Action.ALLOW
    assert await rule(strict, {"v": bad}, name="other") is Action.ALLOW


async def test_from_user_words():
    strict = guard("arguments: {act: {to: {from_user_words: true}}}")
    assert await rule(strict, {"to": "Anna@example.org"}, user_text="I'm anna@example.org.") is Action.ALLOW
    assert await rule(strict, {"to": "a@example.org"}, user_text="I'm anna@example.org") is Action.BLOCK
    assert await rule(strict, {"to": "x@y.org"}, results=("x@y.org",), trusted_results=("x@y.org",)) is Action.BLOCK
    assert await rule(strict, {"to": ""}) is Action.BLOCK  # may mean everything


async def test_sinks_come_from_the_user_or_a_trusted_tool():
    known = guard("sinks: ask")
    send = {"arguments": {"address": "5 Hill Road, Leeds, LS1 4AB"}, "sinks": ["address"]}
    assert await rule(known, **send, user_text="send it to 5 hill road in Leeds (LS1 4AB) please") is Action.ALLOW
    assert await rule(known, **send, trusted_results=("LS1 4AB Leeds; 5 Hill Road",)) is Action.ALLOW
    assert await rule(known, **send, user_text="send it to 7 Hill Road, Leeds, LS1 4AB") is Action.ASK
    assert await rule(known, **send, results=("5 Hill Road, Leeds, LS1 4AB",)) is Action.ASK
    assert await rule(guard("sinks: block"), **send) is Action.BLOCK
    assert await rule(guard("sinks: allow"), **send) is Action.ALLOW
    assert await rule(known, {}, sinks=["address"]) is Action.ALLOW


async def test_lock_to_plan_holds_for_writes():
    for mode, action in (("off", Action.ALLOW), ("ask", Action.ASK), ("block", Action.BLOCK)):
        locked = guard(f"lock_to_plan: '{mode}'")
        assert await rule(locked, {}, plan=("other",)) is action
        assert await rule(locked, {}, plan=("act",)) is Action.ALLOW
        assert await rule(locked, {}, plan=("other",), effect=Effect.PURE) is Action.ALLOW


async def test_harmless_writes_stay_free_in_a_tainted_run():
    careful = guard("tainted_writes: block, harmless: [hand_over]")
    assert await rule(careful, {}, tainted=True) is Action.BLOCK
    assert await rule(careful, {}, tainted=True, name="hand_over") is Action.ALLOW


REFUND = "ask: [{tool: act, argument: amount, above: 100, read: {when: [0], key: order, field: total}}]"


@pytest.mark.parametrize(
    ("arguments", "action"),
    [
        ({"order": 1, "amount": 100}, Action.ALLOW),
        ({"order": 1, "amount": 100.01}, Action.ASK),
        ({"order": 1, "amount": "5"}, Action.ASK),
        ({"order": 1, "amount": float("nan")}, Action.ASK),
        ({"order": 1, "amount": 0}, Action.ALLOW),
        ({"order": 1}, Action.ALLOW),
        ({"order": 2, "amount": 0}, Action.ASK),
        ({"order": 2}, Action.ASK),
        ({"order": 3, "amount": 0}, Action.ASK),
        ({"amount": 0}, Action.ASK),
    ],
)
async def test_ask_rules_read_what_an_amount_stands_for(arguments, action):
    results = (
        '[{"order": 1, "total": "59.90 EUR"}, {"order": 2, "total": "1,200.00 EUR"}]\n(cut short)',
        'not JSON {"order": 3, "total": 1}',
        '{"note": "{\\"order\\": 3, \\"total\\": 1}"}',
    )
    assert await rule(guard(REFUND), arguments, results=results, trusted_results=results) is action


async def test_ask_by_effect():
    careful = guard("ask: [{effect: unsafe}]")
    assert await rule(careful, {}, effect=Effect.UNSAFE) is Action.ASK
    assert await rule(careful, {}, effect=Effect.KEYED) is Action.ALLOW


@pytest.mark.parametrize(
    ("confidence", "action"),
    [(0.2, Action.ASK), (0.5, Action.ALLOW), (0.9, Action.ALLOW), (None, Action.ALLOW)],
)
async def test_ask_by_confidence(confidence, action):
    unsure = guard("ask: [{effect: keyed, confidence_below: 0.5}]")
    assert await rule(unsure, {}, confidence=confidence) is action
    assert await rule(unsure, {}, effect=Effect.PURE, confidence=confidence) is Action.ALLOW
    both = guard("ask: [{tool: act, argument: amount, above: 100, confidence_below: 0.5}]")
    assert await rule(both, {"amount": 99}, confidence=confidence) is Action.ALLOW
    assert await rule(both, {"amount": 101}, confidence=confidence) is action


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/x",
        "http://good.example@evil.example/",
        "http://good.example.evil.example/",
        "http://127.0.0.1:8000/v1/approvals",
        "http://2130706433/",
        "HTTPS://EVIL.EXAMPLE",
        "http://gооd.example/",
        "//evil.example/x",
        "evil.example",
        "http://good.example\\@evil.example/",
    ],
)
async def test_egress_blocks_other_hosts(url):
    narrow = guard(hosts=["good.example", "*.api.example"])
    assert await rule(narrow, {"url": url}, permissions=["network"]) is Action.BLOCK


async def test_egress_looks_into_nested_arguments():
    deep = {"deep": [{"x": "see https://evil.example"}]}
    assert await rule(guard(hosts=["good.example"]), deep, permissions=["network"]) is Action.BLOCK


async def test_egress_lets_listed_hosts_and_other_tools_pass():
    narrow = guard("sinks: allow", hosts=["good.example", "*.api.example"])
    for url in ("https://good.example/a?b=c", "https://v1.api.example", "GOOD.example:443/x"):
        assert await rule(narrow, {"url": url}, permissions=["network"]) is Action.ALLOW
    assert await rule(narrow, {"url": "https://api.example"}, permissions=["network"]) is Action.BLOCK
    assert await rule(narrow, {"amount": "59.99", "n": 5}, permissions=["network"]) is Action.ALLOW
    wrote = {"reason": "he wrote https://evil.example"}
    assert await rule(narrow, wrote) is Action.ASK
    assert await rule(narrow, wrote, user_text="is https://evil.example safe?") is Action.ALLOW
    assert await rule(guard("sinks: allow", egress="arguments: allow"), wrote) is Action.ALLOW
    assert await rule(narrow, {"to": "https://evil.example"}, sinks=["to"]) is Action.BLOCK


def test_hosts():
    assert addresses_of("http://good.example.:80/") == {("good.example", 80)}
    named = hosts_in("see https://a.example/x, www.b.example and 10.0.0.1.")
    assert named == {"a.example", "www.b.example", "10.0.0.1"}
    assert hosts_in("see www.}.evil.example/x") == {"www.}.evil.example"}  # a link in Markdown, for some renderers
    assert not permits(["good.example"], "", 443)


@pytest.mark.parametrize(
    ("value", "text", "stands"),
    [
        (12.5, "it cost 12.50 euros", True),
        (1234, "about 1,234 pieces", True),
        (12, "order 1234", False),
        ("", "anything", True),
        ("—", "anything", False),
        ({"a": ["red", 3]}, "a: three red, 3", True),
        (None, "anything", True),
        ("s3://acme-backups/daily", "to s3://acme-backups/daily.", True),
        ("S3://Acme-Backups/daily", "to s3://acme-backups/daily", True),
        ("s3://acme/backups-daily", "to s3://acme-backups/daily", False),
        ("//files/acme-share/x", "on //files/acme-share/x", True),
        ("//files-acme/share/x", "on //files/acme-share/x", False),
        ("./a/b-c", "./a-b/c", False),
        ("https://API.example/d/AbC1", "see https://api.example/d/AbC1", True),
        ("https://api.example/d/abc1", "see https://api.example/d/AbC1", False),
        ("1BoatSLRHtKNngkdXEeo", "wallet 1BoatSLRHtKNngkdXEeo", True),
        ("1boatslrhtknngkdxeeo", "wallet 1BoatSLRHtKNngkdXEeo", False),
        ("Bob@Example.com", "mail bob@example.com", True),
        ("12 Main St, Springfield", "Springfield, 12 main st", True),
        ("acctann", "Please transfer 50 to acctann.", True),
        ("acctann*", "Please transfer 50 to acctann.", False),
        ("*acctann%", "Please transfer 50 to acctann.", False),
        ("ａｃｃｔａｎｎ", "Please transfer 50 to acctann.", False),
        ("a\u00adcctann", "Please transfer 50 to acctann.", False),
        ("Käse für 5 €", "Ich will Käse für 5 €.", True),
        (10808, "麻烦看一下10808的快递", True),
        (1080, "麻烦看一下10808的快递", False),
        ("XZ-3041", "看看XZ-3041总共多少钱", True),
        ("anna@example.org", "我的邮箱是anna@example.org谢谢", True),
        ("anna@example.org", "我的邮箱是bo.anna@example.org谢谢", False),
        ("上海市浦东新区世纪大道100号", "把地址改成上海市浦东新区世纪大道100号吧", True),
        ("上海市浦东新区世纪大道10", "把地址改成上海市浦东新区世纪大道100号吧", False),
        ("王小明", "我是王小明", False),
    ],
)
def test_stands_in(value, text, stands):
    assert stands_in(value, [text]) is stands
