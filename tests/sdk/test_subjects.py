"""Subjects in the client and on the command line, against the API on a real HTTP server."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from agent.testing.platform import Platform
from flightloop import Flightloop, Subject, errors
from flightloop.cli.app import app
from flightloop.runs import RunStatus

ANN = {"id": "ann", "claims": {"email": "ann@example.com"}}


@pytest.fixture
def cli(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("FLIGHTLOOP_URL", platform.url)
    monkeypatch.setenv("FLIGHTLOOP_API_KEY", platform.api_key)
    monkeypatch.setenv("COLUMNS", "200")
    return CliRunner()


@pytest.mark.parametrize("subject", ["ann", ANN, Subject(id="ann")])
def test_a_run_acts_for_a_subject(client: Flightloop, subject: object) -> None:
    run = client.runs.create(agent="support", input="Hello", subject=subject)  # type: ignore[arg-type]
    assert run.subject is not None
    assert run.subject.id == "ann"
    done = client.runs.wait(run.id, timeout_s=20)
    assert (done.status, done.subject) == (RunStatus.SUCCEEDED, run.subject)
    assert [one.id for one in client.runs.list(subject="ann").data] == [run.id]
    assert client.runs.list(subject="bob").data == []
    assert client.usage(subject="ann").subject is not None


def test_a_wrong_subject_is_told_before_it_is_sent(client: Flightloop) -> None:
    for subject in ("", "a\nb", {"id": "ann", "name": "Ann"}, {"id": "ann", "claims": {"a": []}}):
        with pytest.raises(errors.InvalidRequest, match=r"^subject") as caught:
            client.runs.create(agent="support", input="Hello", subject=subject)
        assert (caught.value.param or "").startswith("subject")
        with pytest.raises(errors.InvalidRequest, match=r"^subject"):
            client.chat.completions.create(model="fake", messages=[{"role": "user", "content": "Hi"}], subject=subject)


def test_completions_and_responses_take_a_subject(platform: Platform, client: Flightloop) -> None:
    client.interrupts.create(scope="subject", target="ann")
    model = client.models.list().data[0].id
    with pytest.raises(errors.Interrupted, match="subject ann"):
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hi"}], subject=ANN)
    with pytest.raises(errors.Interrupted, match="subject ann"):
        client.responses.create(model=model, input="Hi", subject="ann")
    assert client.responses.create(model=model, input="Hi", subject="bob").output_text


def test_a_bound_key_is_a_client_of_its_subject(platform: Platform, client: Flightloop) -> None:
    made = client.keys.create(name="phone", subject=ANN)
    with Flightloop(platform.url, made.key) as phone:
        own = phone.runs.create(agent="support", input="Hello")
        assert own.subject == Subject.model_validate(ANN) == phone.whoami().subject
        theirs = client.runs.create(agent="support", input="Hello", subject="bob")
        with pytest.raises(errors.NotFound):
            phone.runs.get(theirs.id)
        with pytest.raises(errors.Forbidden):
            phone.runs.create(agent="support", input="Hello", subject="bob")
        assert phone.runs.wait(own.id, timeout_s=20).status is RunStatus.SUCCEEDED


def test_the_command_line_names_and_shows_subjects(client: Flightloop, cli: CliRunner) -> None:
    done = cli.invoke(app, ["run", "Where is it?", "-a", "support", "--subject", "ann"])
    assert done.exit_code == 0, done.output
    (run,) = client.runs.list(subject="ann").data
    other = client.runs.create(agent="support", input="Hello")
    client.runs.wait(other.id, timeout_s=20)
    listed = cli.invoke(app, ["runs", "--subject", "ann"]).output
    assert (run.id in listed, other.id in listed) == (True, False)
    assert "for ann" in cli.invoke(app, ["show", run.id]).output
    assert "for anonymous" in cli.invoke(app, ["show", other.id]).output
    assert "subject ann" in cli.invoke(app, ["usage", "--subject", "ann"]).output
    assert "stopped subject ann" in cli.invoke(app, ["stop", "--subject", "ann"]).output
    refused = cli.invoke(app, ["stop", "--subject", "ann", "--all"])
    assert refused.exit_code != 0
    assert cli.invoke(app, ["keys", "create", "web", "--role", "operator", "--subject", "ann"]).exit_code == 0
    assert "ann" in cli.invoke(app, ["keys", "list"]).output
