"""Single sign-on of the console: its settings, and a person who logs in at a provider and approves."""

import asyncio
import json
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
from starlette.types import Message, Receive, Scope, Send
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value

from agent.api.oidc import Issuer, OidcPersons, PersonRule, TokenVerifier
from agent.testing.oidc import CLIENT_ID, CLIENT_SECRET, Account, OidcProvider, PrivateKey
from agent.testing.platform import Platform
from agent.testing.scene import shop
from dashboards.__main__ import check_redirect, settings
from dashboards.oidc import COOKIE_SECRET_FILE, LEAST_SECRET, REDIRECT_URL, SECRET_FILE, oidc_settings
from dashboards.secure_cookies import SecureCookies
from flightloop.keys import Role
from tests.console import CHROMIUM, NO_CHROMIUM, browser, console, free_port, visitor

ANN, EVE = "ann@example.com", "eve@example.com"
COOKIE_SECRET = "c" * LEAST_SECRET


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {
        "FLIGHTLOOP_OIDC_ISSUER": "https://id.example.com/realms/work",
        "FLIGHTLOOP_OIDC_CLIENT_ID": "flightloop",
        SECRET_FILE: secret(tmp_path / "client-secret", "s3cret\n"),
        REDIRECT_URL: "https://console.example.com/oauth2callback",
    }


def secret(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_nobody_logs_in_unless_it_is_set_up(environ: dict[str, str]) -> None:
    """The API may accept tokens without this console."""
    del environ[SECRET_FILE], environ[REDIRECT_URL]
    assert oidc_settings(environ) is None
    assert oidc_settings({}) is None


def test_what_streamlit_is_told(environ: dict[str, str]) -> None:
    found = oidc_settings(environ)
    assert found is not None
    told = found.secrets()
    assert told["server_metadata_url"] == "https://id.example.com/realms/work/.well-known/openid-configuration"
    assert (told["client_id"], told["client_secret"]) == ("flightloop", "s3cret")
    assert told["redirect_uri"] == environ[REDIRECT_URL]
    assert len(str(told["cookie_secret"])) >= LEAST_SECRET
    assert "s3cret" not in repr(found)
    assert str(told["cookie_secret"]) not in repr(found)


@pytest.mark.parametrize("name", ["FLIGHTLOOP_OIDC_ISSUER", "FLIGHTLOOP_OIDC_CLIENT_ID", SECRET_FILE, REDIRECT_URL])
def test_a_missing_setting_is_named(environ: dict[str, str], name: str) -> None:
    environ[name] = " "
    with pytest.raises(SystemExit, match=f"^{name}: needed"):
        oidc_settings(environ)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FLIGHTLOOP_OIDC_ISSUER", "http://id.example.com"),
        ("FLIGHTLOOP_OIDC_ISSUER", "id.example.com"),
        (REDIRECT_URL, "http://console.example.com/oauth2callback"),
        (REDIRECT_URL, "https://console.example.com/"),
        (SECRET_FILE, "/nowhere/secret"),
        (COOKIE_SECRET_FILE, "/proc/nowhere/secret"),
    ],
)
def test_a_bad_setting_is_named(environ: dict[str, str], name: str, value: str) -> None:
    with pytest.raises(SystemExit, match=name):
        oidc_settings({**environ, name: value})


@pytest.mark.parametrize("name", [SECRET_FILE, COOKIE_SECRET_FILE])
def test_a_secret_that_others_can_read_or_that_is_empty(environ: dict[str, str], tmp_path: Path, name: str) -> None:
    environ[name] = secret(tmp_path / "open", "x" * LEAST_SECRET, 0o640)
    with pytest.raises(SystemExit, match="chmod 600"):
        oidc_settings(environ)
    environ[name] = secret(tmp_path / "empty", "\n")
    with pytest.raises(SystemExit, match="is empty"):
        oidc_settings(environ)


def test_the_secret_of_cookies_is_made_once_and_for_its_owner(environ: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "new" / "cookie-secret"
    environ[COOKIE_SECRET_FILE] = str(path)
    first, second = oidc_settings(environ), oidc_settings(environ)
    assert first == second
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secret(path, "short")
    with pytest.raises(SystemExit, match=f"needs {LEAST_SECRET} characters"):
        oidc_settings(environ)


def test_a_redirect_that_the_console_would_refuse_is_told() -> None:
    url = "https://console.example.com/oauth2callback"
    with pytest.raises(SystemExit, match="FLIGHTLOOP_CONSOLE_HOSTS"):
        check_redirect(url, settings({}))
    check_redirect(url, settings({"FLIGHTLOOP_CONSOLE_HOSTS": "console.example.com"}))
    check_redirect("http://localhost:8501/oauth2callback", settings({}))


def test_cookies_are_secure_behind_https() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        cookies = [b"a=1; HttpOnly", b"b=secure", b"c=3; Secure; Path=/"]
        await send({"type": "http.response.start", "headers": [(b"set-cookie", cookie) for cookie in cookies]})

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError

    asyncio.run(SecureCookies(app)({"type": "http"}, receive, send))
    assert [value for _, value in sent[0]["headers"]] == [
        b"a=1; HttpOnly; Secure",
        b"b=secure; Secure",
        b"c=3; Secure; Path=/",
    ]


@contextmanager
def signed_on(folder: Path) -> Iterator[tuple[str, Platform, OidcProvider]]:
    """A console with single sign-on, its platform, and the provider."""
    pytest.importorskip("authlib", reason="the extra oidc is not installed")
    with OidcProvider([Account(ANN, ["approvers"]), Account(EVE)]) as provider:
        verifier = TokenVerifier(Issuer(provider.issuer), CLIENT_ID, 3600)
        persons = OidcPersons(verifier, [PersonRule(group="approvers", role=Role.APPROVER)])
        port = free_port()
        environment = {
            "FLIGHTLOOP_OIDC_ISSUER": provider.issuer,
            "FLIGHTLOOP_OIDC_CLIENT_ID": CLIENT_ID,
            SECRET_FILE: secret(folder / "client-secret", CLIENT_SECRET),
            COOKIE_SECRET_FILE: secret(folder / "cookie-secret", COOKIE_SECRET),
            REDIRECT_URL: f"http://127.0.0.1:{port}/oauth2callback",
        }
        with shop(12, persons=persons) as platform, console(platform.url, folder, environment, port) as url:
            yield url, platform, provider


def approved_by(platform: Platform) -> list[str | None]:
    found = platform.do(platform.journal.approvals("default", status="approved")).data
    return [item.decided_by for item in found if item.decided_by and item.decided_by.startswith("person:")]


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
def test_a_person_logs_in_at_the_provider_and_approves(tmp_path: Path) -> None:
    with signed_on(tmp_path) as (url, platform, _), browser() as chromium:
        page = visitor(chromium)
        page.goto(url)
        log_in_as(page, EVE, "Log in with single sign-on")
        page.get_by_text(f"{EVE} has no role here").wait_for()
        log_in_as(page, ANN, "Log in as somebody else")
        page.get_by_text(f"person:{ANN}").wait_for()
        page.goto(f"{url}/approvals")  # the browser loads the console anew, and Ann stays logged in
        page.get_by_role("button", name="Approve").first.click()
        page.get_by_text("approved").first.wait_for()
        assert approved_by(platform) == [f"person:{ANN}"]
        page.get_by_role("button", name="Log out").click()
        page.get_by_role("button", name="Log in with single sign-on").wait_for()
        page.reload()
        page.get_by_role("button", name="Log in with single sign-on").wait_for()
        assert not [cookie for cookie in page.context.cookies() if cookie["name"].startswith("_streamlit_user")]
    log = (tmp_path / "console.log").read_text()
    assert [word for word in (CLIENT_SECRET, COOKIE_SECRET) if word in log] == []


def log_in_as(page: Any, email: str, label: str) -> None:
    page.get_by_role("button", name=label).click()
    page.get_by_role("button", name=email).click()


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
def test_the_console_believes_no_cookie(tmp_path: Path) -> None:
    """Not even one that is signed with its own secret: the platform verifies the token."""
    with signed_on(tmp_path) as (url, _, provider), browser() as chromium:
        page = visitor(chromium)
        forged = jwt.encode(provider.claims(ANN), PrivateKey("own").key, "RS256", headers={"kid": provider.key.kid})
        person = {**provider.claims(ANN), "origin": url, "is_logged_in": True, "provider": "default"}
        cookies = {"_streamlit_user": person, "_streamlit_user_tokens": {"id_token": forged}}
        page.context.add_cookies(
            [
                {"name": name, "value": create_signed_value(COOKIE_SECRET, name, json.dumps(told)).decode(), "url": url}
                for name, told in cookies.items()
            ]
        )
        page.goto(url)
        page.get_by_text("The platform refuses this login").wait_for()
        page.get_by_text("not valid: Signature verification failed").wait_for()
