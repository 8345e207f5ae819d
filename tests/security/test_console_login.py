"""The console acts with the key of whoever looks at it, never with one of its own."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from agent.config import Settings
from agent.serve import login_link, up
from dashboards import link
from dashboards.connection import PLACE
from dashboards.link import LoginLink, receive
from flightloop.errors import Unauthorized
from flightloop.keys import Caller, Role
from flightloop.testing import FakeServer, Holder
from flightloop.testing.scene import shop
from tests.console import CHROMIUM, NO_CHROMIUM, ROOT, answers, browser, free_port, log_in, python_path

OWN = "the-deployments-own-key"
TOKEN = "token-of-the-link"
PAGES = ["overview", "runs", "run", "approvals", "stop", "agents", "chat"]
Open = Callable[..., AppTest]


def holder(name: str, role: Role, tenant: str = "default", seed: int = 0) -> Holder:
    caller = Caller(key_id=f"key_{name}", name=f"key:{name}", role=role, tenant_id=tenant)
    return Holder(caller, shop(12, seed=seed))


@pytest.fixture
def server() -> Iterator[FakeServer]:
    others = {f"key-of-{role}": holder(str(role), role) for role in Role}
    others["key-of-acme"] = holder("acme", Role.OPERATOR, "acme", seed=1)
    with FakeServer(shop(12), api_key=OWN, others=others) as running:
        yield running


@pytest.fixture
def visit(monkeypatch: pytest.MonkeyPatch, server: FakeServer, tmp_path: Path) -> Iterator[Open]:
    """Opens a page as a new visitor, of a console whose surroundings hold the deployment's key."""
    (tmp_path / "key").write_text(OWN)
    monkeypatch.setenv("FLIGHTLOOP_URL", server.url)
    monkeypatch.setenv("FLIGHTLOOP_API_KEY", OWN)
    monkeypatch.setenv("FLIGHTLOOP_HOME", str(tmp_path))

    def opened(page: str = "overview", **query: str) -> AppTest:
        app = AppTest.from_file(str(ROOT / "dashboards" / "console.py"), default_timeout=30)
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


def keys_sent(server: FakeServer) -> set[str]:
    return {request.headers["authorization"].removeprefix("Bearer ") for request in server.requests}


@pytest.mark.parametrize("page", PAGES)
def test_a_visitor_without_a_key_sees_and_reaches_nothing(visit: Open, server: FakeServer, page: str) -> None:
    assert asks(visit(page, id="run_1"))
    assert server.requests == []


@pytest.mark.parametrize("key", ["wrong", "", "   ", "two words", "clé", "a\nb", "x" * 5000, "Bearer " + OWN])
def test_a_wrong_key_is_told_and_replaced_by_none(visit: Open, server: FakeServer, key: str) -> None:
    app = enter(visit(), key)
    assert asks(app)
    assert "Login by this key failed" in said(app)
    assert OWN not in keys_sent(server)
    assert not any(request.path != ["v1", "whoami"] for request in server.requests)


@pytest.mark.parametrize("role", list(Role))
def test_it_says_whose_key_it_is_and_acts_with_that(visit: Open, server: FakeServer, role: Role) -> None:
    app = enter(visit(), f"key-of-{role}")
    assert not asks(app)
    assert all(word in said(app) for word in (f"key:{role}", f">{role}<", "tenant default"))
    assert keys_sent(server) == {f"key-of-{role}"}


def test_a_viewer_cannot_approve(visit: Open, server: FakeServer) -> None:
    app = enter(visit("approvals"), "key-of-viewer")
    next(item for item in app.button if item.label == "Approve").click().run()
    assert "this needs the role operator" in said(app).lower()
    assert [item.status for item in server.others["key-of-viewer"].world.approvals.values()].count("approved") == 0


def test_two_visitors_see_each_their_own_tenant(visit: Open, server: FakeServer) -> None:
    """One after the other, within the seconds for which a page's answers are kept."""
    worlds = {key: server.others[key].world for key in ("key-of-admin", "key-of-acme")}
    for world, ended in zip(worlds.values(), (3, 5), strict=True):
        world.agents = world.agents[:1]
        world.agents[0] = world.agents[0].model_copy(update={"name": f"agent-{ended}"})
    apps = {key: enter(visit("agents"), key) for key in worlds}
    for app, ended, other in zip(apps.values(), (3, 5), (5, 3), strict=True):
        app.run()
        assert app.subheader[0].value == f"agent-{ended}"
        assert f"agent-{other}" not in str(app)
    assert apps["key-of-admin"].session_state[PLACE] is not apps["key-of-acme"].session_state[PLACE]


def test_logging_out_forgets_the_key_and_what_was_read_with_it(visit: Open, server: FakeServer) -> None:
    run = next(iter(server.others["key-of-admin"].world.runs))
    app = enter(visit("run", id=run), "key-of-admin")
    assert run in said(app)
    app.button(key="log-out").click().run()
    assert asks(app)
    assert [name for name in (PLACE, "events", "chat-events") if name in app.session_state] == []
    server.requests.clear()
    app.run()
    assert server.requests == []
    enter(app, "key-of-acme")
    assert keys_sent(server) == {"key-of-acme"}
    assert "Can't show the run" in said(app)  # which is another tenant's


def test_a_link_into_the_console_goes_on_after_the_login(visit: Open, server: FakeServer) -> None:
    run = next(iter(server.world.runs))
    app = visit("run", id=run)
    assert asks(app)
    assert run in said(enter(app, OWN))


def test_the_login_link_logs_in_once(visit: Open, server: FakeServer, offered: LoginLink) -> None:
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
def test_another_token_logs_nobody_in(visit: Open, server: FakeServer, offered: LoginLink, token: str) -> None:
    app = visit(token=token)
    assert asks(app)
    assert "belongs to another start of the console" in said(app)
    assert server.requests == []
    assert offered.exchange(TOKEN) == OWN  # which it does not spend


def test_a_console_without_a_link_says_so(visit: Open) -> None:
    assert "started without a link" in said(visit(token=TOKEN))


def test_who_guesses_is_held_up(visit: Open, server: FakeServer, offered: LoginLink) -> None:
    app = visit()
    for number in range(20):
        if number % 2:
            visit(token="wrong")
        else:
            enter(app, f"wrong-{number}")
    server.requests.clear()
    assert asks(enter(app, OWN))
    assert "Too many wrong keys and links: try again in" in said(app)
    assert asks(visit(token=TOKEN))
    assert server.requests == []
    assert offered.exchange(TOKEN) == OWN


def test_whoever_is_logged_in_goes_on_while_others_guess(visit: Open, server: FakeServer) -> None:
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
    monkeypatch: pytest.MonkeyPatch, server: FakeServer, tmp_path: Path
) -> Iterator[tuple[str, psutil.Process]]:
    """The console as ``up`` starts it, with the deployment's key in the environment of ``up``."""
    for name in ("FLIGHTLOOP_API_KEY", "FLIGHTLOOP_TENANT_KEYS", "FLIGHTLOOP_MODEL_API_KEY", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, OWN)
    monkeypatch.setenv("PYTHONPATH", python_path())
    settings, port = Settings.model_construct(home=tmp_path / "home"), free_port()
    before = {child.pid for child in psutil.Process().children()}
    with up._console(settings, server.url, port, login_link.LoginLink(OWN, TOKEN)):
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
    started: tuple[str, psutil.Process], server: FakeServer, tmp_path: Path
) -> None:
    url, _ = started
    run = next(iter(server.world.runs))
    with browser() as chromium:
        first, second = chromium.new_context().new_page(), chromium.new_context().new_page()
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
