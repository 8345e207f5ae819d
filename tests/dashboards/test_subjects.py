"""End users in the console: shown, filtered by, spoken for, and stopped."""

from __future__ import annotations

from agent.testing.conversations import CONVERSATIONS
from flightloop import Flightloop
from flightloop.subject import Subject
from tests.dashboards.test_pages import Show, button, text


def test_a_subject_is_shown_filtered_by_and_kept_in_a_conversation(show: Show, client: Flightloop) -> None:
    ann = {"id": "ann", "claims": {"email": "ann@example.com"}}
    run = client.runs.create(agent="support", input=CONVERSATIONS[0].asked, session_id="ses_ann", subject=ann)
    client.runs.wait(run.id, timeout_s=20)
    page = text(show("run", id=run.id))
    assert "ann@example.com" in page
    assert len(show("runs", subject="ann").dataframe[0].value) == 1
    assert "No such run" in text(show("runs", subject="bob"))
    app = show("chat", session="ses_ann", agent="support")
    app.chat_input[0].set_value("And now?").run()
    assert [one.subject and one.subject.id for one in client.runs.list(session_id="ses_ann").data] == ["ann", "ann"]


def test_a_new_conversation_is_held_on_behalf_of_whom_the_visitor_names(show: Show, client: Flightloop) -> None:
    app = show("chat", session="ses_bo", agent="support")
    app.text_input[0].set_value(" bo ").run()
    app.chat_input[0].set_value(CONVERSATIONS[0].asked).run()
    (run,) = client.runs.list(session_id="ses_bo").data
    assert run.subject == Subject(id="bo")
    again = show("chat", session="ses_bo", agent="support")
    assert not again.text_input
    assert "for bo" in text(again)


def test_one_subject_is_stopped(show: Show, client: Flightloop) -> None:
    app = show("stop")
    app.button_group(key="scope").set_value("subject").run()
    app.text_input[0].set_value("ann").run()
    button(app, "STOP the subject ann").click().run()
    button(app, "Yes, stop the subject ann now").click().run()
    (stop,) = client.interrupts.list().data
    assert (stop.scope, stop.target) == ("subject", "ann")
