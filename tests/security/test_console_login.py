"""The console acts with the key of whoever looks at it, never with one of its own."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from agent.api.auth import digest
from agent.config import Settings
from agent.serve import login_link, up
from agent.testing.api import KEY
from agent.testing.platform import Platform
from agent.testing.scene import shop
from dashboards import link
from dashboards.connection import PLACE
from dashboards.link import LoginLink, receive
from flightloop.content import text_of
from flightloop.errors import Unauthorized
from flightloop.keys import ApiKey, Role
from flightloop.runs import Run
from tests.console import CHROMIUM, NO_CHROMIUM, ROOT, answers, browser, free_port, log_in, python_path, visitor
from tests.faulty_proxy import FaultyProxy

OWN = KEY
"""The deployment's own key."""
ACME = "a-key-of-acme-0123456789"
TOKEN = "token-of-the-link"
PAGES = ["overview", "runs", "run", "approvals", "stop", "agents", "chat"]
Open = Callable[..., AppTest]


@pytest.fixture
def platform() -> Iterator[Platform]:
    """With a key of each role of the tenant ``default``, and one of the tenant ``acme``."""
    with shop(12, tenants={ACME: "acme"}) as running:
        for name, role, tenant in [*((str(role), role, "default") for role in Role), ("acme", Role.OPERATOR, "acme")]:
            key = ApiKey(id=f"key_{name}", name=name, role=role, tenant_id=tenant, created_at=datetime.now(UTC))
            running.do(running.journal.keys.add(key, digest(f"key-of-{name}".encode())))
        yield running


@pytest.fixture
def proxy(platform: Platform) -> Iterator[FaultyProxy]:
    with FaultyProxy(platform.url) as running:
        yield running


def runs_of(platform: Platform, tenant: str) -> list[Run]:
    return platform.do(platform.journal.runs(tenant)).data


def inputs_of(platform: Platform, tenant: str) -> list[str]:
    return [text_of(run.input) for run in runs_of(platform, tenant)]


@pytest.fixture
def visit(monkeypatch: pytest.MonkeyPatch, proxy: FaultyProxy, tmp_path: Path) -> Iterator[Open]:
    """Opens a page as a new visitor, of a console whose surroundings hold the deployment's key."""
    (tmp_path / "key").write_text(OWN)
    monkeypatch.setenv("FLIGHTLOOP_URL", proxy.url)
    monkeypatch.setenv("FLIGHTLOOP_API_KEY", OWN)
    monkeypatch.setenv("FLIGHTLOOP_HOME", str(tmp_path))

    def opened(page: str = "overview", **query: str) -> AppTest:
        app = AppTest.from_file(str(ROOT / "dashboards" / "console.py"), default_timeout=60)
        for name, value in query.items():
            app.query_params[name] = value
        app.run()
        if page != "overview":
            app.switch_page(f"views/{page}.py").run()
        return app

    yield opened
    st.cache_resource.clear()


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> LoginLink:
    made = LoginLink(TOKEN, OWN, 900)
    monkeypatch.setattr(link, "_offered", [made])
    return made


def enter(app: AppTest, key: str) -> AppTest:
    """Types the key into the form and submits it."""
    app.text_input[0].set_value(key)
    return app.button[0].click().run()


def asks(app: AppTest) -> bool:
    """Whether the page is the form, and nothing besides."""
    assert [item.value for item in app.exception] == []
    labels = [item.label for item in [*app.button, *app.text_input]]
    return labels == ["Log in", "API key"] and not [*app.metric, *app.dataframe, *app.subheader, *app.expander]


def said(app: AppTest) -> str:
    return "\n".join(item.proto.body for item in [*app.main.get("html"), *app.sidebar.get("html")])


def keys_sent(proxy: FaultyProxy) -> set[str]:
    return {request.headers["authorization"].removeprefix("Bearer ") for request in proxy.requests}


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.any_user
def test_a_visitor_without_a_key_sees_and_reaches_nothing(visit: Open, proxy: FaultyProxy, page: str) -> None:
    assert asks(visit(page, id="run_1"))
    assert proxy.requests == []


@pytest.mark.parametrize("key", ["wrong", "", "   ", "two words", "clé", "a\nb", "x" * 5000, "Bearer " + OWN])
@pytest.mark.any_user
def test_a_wrong_key_is_told_and_replaced_by_none(visit: Open, proxy: FaultyProxy, key: str) -> None:
    app = enter(visit(), key)
    assert asks(app)
    assert "Login by this key failed" in said(app)
    assert OWN not in keys_sent(proxy)
    assert not any(request.path != ["v1", "whoami"] for request in proxy.requests)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.any_user
def test_it_says_whose_key_it_is_and_acts_with_that(visit: Open, proxy: FaultyProxy, role: Role) -> None:
    app = enter(visit(), f"key-of-{role}")
    assert not asks(app)
    assert all(word in said(app) for word in (f"key:{role}", f">{role}<", "tenant default"))
    assert keys_sent(proxy) == {f"key-of-{role}"}


@pytest.mark.any_user
def test_a_viewer_cannot_approve(visit: Open, platform: Platform) -> None:
    app = enter(visit("approvals"), "key-of-viewer")
    next(item for item in app.button if item.label == "Approve").click().run()
    assert "this needs the role approver, operator or admin" in said(app).lower()
    approvals = platform.do(platform.journal.approvals("default")).data
    assert [item.status for item in approvals].count("approved") == 0


@pytest.mark.any_user
def test_two_visitors_see_each_their_own_tenant(visit: Open, platform: Platform) -> None:
    """One after the other, within the seconds for which a page's answers are kept."""
    own = {"key-of-admin": inputs_of(platform, "default"), "key-of-acme": inputs_of(platform, "acme")}
    apps = {key: enter(visit("overview"), key) for key in own}
    for key, app in apps.items():
        app.run()
        shown = list(app.dataframe[0].value["input"])
        assert shown == own[key][: len(shown)]
        assert shown not in [other[: len(shown)] for name, other in own.items() if name != key]
    assert apps["key-of-admin"].session_state[PLACE] is not apps["key-of-acme"].session_state[PLACE]


@pytest.mark.any_user
def test_logging_out_forgets_the_key_and_what_was_read_with_it(
    visit: Open, platform: Platform, proxy: FaultyProxy
) -> None:
    run = runs_of(platform, "default")[0].id
    app = enter(visit("run", id=run), "key-of-admin")
    assert run in said(app)
    app.button(key="log-out").click().run()
    assert asks(app)
    assert [name for name in (PLACE, "events", "chat-events") if name in app.session_state] == []
    proxy.requests.clear()
    app.run()
    assert proxy.requests == []
    enter(app, "key-of-acme")
    assert keys_sent(proxy) == {"key-of-acme"}
    assert "Can't show the run" in said(app)  # which is another tenant's


@pytest.mark.any_user
def test_a_link_into_the_console_goes_on_after_the_login(visit: Open, platform: Platform, proxy: FaultyProxy) -> None:
    run = runs_of(platform, "default")[0].id
    app = visit("run", id=run)
    assert asks(app)
    assert run in said(enter(app, OWN))


@pytest.mark.any_user
def test_the_login_link_logs_in_once(visit: Open, proxy: FaultyProxy, offered: LoginLink) -> None:
    first = visit(token=TOKEN, id="run_1")
    assert "key:default" in said(first)
    assert dict(first.query_params) == {"id": "run_1"}  # the token has gone from the address
    assert offered.spent
    second = visit(token=TOKEN)
    assert asks(second)
    assert "This link has been used" in said(second)
    assert "token" not in second.query_params
    assert not asks(enter(second, "key-of-viewer"))


@pytest.mark.parametrize("token", ["wrong", "", TOKEN[:-1], TOKEN + "x", "é" * len(TOKEN)])
@pytest.mark.any_user
def test_another_token_logs_nobody_in(visit: Open, proxy: FaultyProxy, offered: LoginLink, token: str) -> None:
    app = visit(token=token)
    assert asks(app)
    assert "belongs to another start of the console" in said(app)
    assert proxy.requests == []
    assert offered.exchange(TOKEN) == OWN  # which it does not spend


@pytest.mark.any_user
def test_a_console_without_a_link_says_so(visit: Open) -> None:
    assert "started without a link" in said(visit(token=TOKEN))


@pytest.mark.any_user
def test_who_guesses_is_held_up(visit: Open, proxy: FaultyProxy, offered: LoginLink) -> None:
    app = visit()
    for number in range(20):
        if number % 2:
            visit(token="wrong")
        else:
            enter(app, f"wrong-{number}")
    proxy.requests.clear()
    assert asks(enter(app, OWN))
    assert "Too many wrong keys and links: try again in" in said(app)
    assert asks(visit(token=TOKEN))
    assert proxy.requests == []
    assert offered.exchange(TOKEN) == OWN


@pytest.mark.any_user
def test_whoever_is_logged_in_goes_on_while_others_guess(visit: Open, proxy: FaultyProxy) -> None:
    inside = enter(visit(), OWN)
    outside = visit()
    for number in range(25):
        enter(outside, f"wrong-{number}")
    assert not asks(inside.run())


def test_a_link_is_given_to_one_of_many_at_once() -> None:
    offered = LoginLink(TOKEN, OWN, 900)

    def tries(_: int) -> str:
        try:
            return offered.exchange(TOKEN)
        except Unauthorized:
            return ""

    with ThreadPoolExecutor(16) as pool:
        assert sorted(pool.map(tries, range(64)))[-2:] == ["", OWN]


def test_a_link_ends_with_its_time() -> None:
    now = [0.0]
    offered = LoginLink(TOKEN, OWN, 900, clock=lambda: now[0])
    now[0] = 900.0
    with pytest.raises(Unauthorized, match="has expired"):
        offered.exchange(TOKEN)
    assert offered.spent


def test_the_key_of_a_link_that_nobody_opens_is_forgotten() -> None:
    offered = LoginLink(TOKEN, OWN, 0.01)
    offered._timer.join(30)
    assert offered.spent


def test_the_link_is_read_once_and_by_its_heir_alone() -> None:
    made = login_link.LoginLink(OWN, TOKEN)
    assert login_link.FD == link.FD
    assert OWN not in repr(made)
    assert TOKEN not in repr(made)
    with made.handed_over() as descriptor:
        assert not os.get_inheritable(descriptor)  # but for the child that it is passed to
        if Path("/proc/self/fd").exists():
            with pytest.raises(OSError, match="No such device or address"):
                os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY)
        environ = {link.FD: str(os.dup(descriptor))}
        number = int(environ[link.FD])
        received = receive(environ)
        assert received is not None
        assert received.exchange(TOKEN) == OWN
        assert environ == {}
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)


@pytest.mark.parametrize("left", [b"", b"[]", json.dumps({"token": TOKEN, "key": OWN}).encode()])
def test_what_is_no_link_is_told_without_its_words(left: bytes) -> None:
    ours, theirs = socket.socketpair()
    ours.sendall(left)
    ours.close()
    with pytest.raises(SystemExit) as refused:
        receive({link.FD: str(theirs.detach())})
    assert link.FD in str(refused.value)
    assert OWN not in str(refused.value)


@pytest.fixture
def started(
    monkeypatch: pytest.MonkeyPatch, proxy: FaultyProxy, tmp_path: Path
) -> Iterator[tuple[str, psutil.Process]]:
    """The console as ``up`` starts it, with the deployment's key in the environment of ``up``."""
    for name in ("FLIGHTLOOP_API_KEY", "FLIGHTLOOP_TENANT_KEYS", "FLIGHTLOOP_MODEL_API_KEY", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, OWN)
    monkeypatch.setenv("PYTHONPATH", python_path())
    settings, port = Settings.model_construct(home=tmp_path / "home"), free_port()
    before = {child.pid for child in psutil.Process().children()}
    with up._console(settings, proxy.url, port, login_link.LoginLink(OWN, TOKEN)):
        [child] = [child for child in psutil.Process().children() if child.pid not in before]
        answers(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}", child


@pytest.mark.skipif(not Path("/proc").exists(), reason="no /proc: others can't read a process's environment")
def test_nobody_finds_key_or_token_beside_the_console(started: tuple[str, psutil.Process], tmp_path: Path) -> None:
    _, console = started
    environment = Path(f"/proc/{console.pid}/environ").read_text()
    beside = [environment, Path(f"/proc/{console.pid}/cmdline").read_text()]
    beside += [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert "FLIGHTLOOP_URL" in environment
    assert [text for text in beside if OWN in text or TOKEN in text] == []


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
def test_the_link_of_up_opens_the_console_for_one_browser(
    started: tuple[str, psutil.Process], platform: Platform, proxy: FaultyProxy, tmp_path: Path
) -> None:
    url, _ = started
    run = runs_of(platform, "default")[0].id
    with browser() as chromium:
        first, second = visitor(chromium), visitor(chromium)
        first.goto(f"{url}/?token={TOKEN}")
        first.get_by_text("Latest runs").wait_for()
        first.get_by_text("key:default").wait_for()
        assert first.url == f"{url}/"

        second.goto(f"{url}/run?id={run}&token={TOKEN}")
        second.get_by_text("This link has been used").wait_for()
        assert second.url == f"{url}/run?id={run}"
        log_in(second, "wrong")
        second.get_by_text("Login by this key failed").wait_for()
        log_in(second, OWN)
        second.get_by_text(run).first.wait_for()

        first.reload()
        first.get_by_label("API key").wait_for()
        assert first.context.cookies() == [item for item in first.context.cookies() if OWN not in item["value"]]
        assert first.evaluate("JSON.stringify([localStorage, sessionStorage])").count(OWN) == 0
    log = (tmp_path / "home" / "logs" / "console.log").read_text()
    assert [secret for secret in (OWN, TOKEN) if secret in log] == []
