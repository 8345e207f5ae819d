"""Page of runs: filter, page through them, open one."""

from __future__ import annotations

import streamlit as st

from dashboards import connection
from dashboards.components import badges, runtable, style
from flightloop.runs import RunStatus
from flightloop.subject import ID_CHARS

LIMIT = 20
ANY = "all agents"

style.heading("Runs", "newest first; choose one to see its steps")


def filters() -> tuple[str | None, RunStatus | None, str | None]:
    """Shows the filters and returns the selected agent, status and subject, None for all. They are kept in the URL's
    query so that the view can be shared."""
    asked = st.query_params
    names = [ANY]
    with connection.answered("list the agents"):
        names += [agent.name for agent in connection.agents()]
    left, middle, right = st.columns([1, 1, 5], vertical_alignment="bottom")
    wanted = names.index(asked["agent"]) if asked.get("agent") in names else 0
    agent = left.selectbox("Agent", names, index=wanted)
    subject = middle.text_input("Subject", value=asked.get("subject", ""), max_chars=ID_CHARS, placeholder="all users")
    default = RunStatus(asked["status"]) if asked.get("status") in set(RunStatus) else None
    status = right.pills(
        "Status",
        list(RunStatus),
        default=default,
        format_func=lambda each: badges.STATUS[each][0],
        key="status",
        wrap=True,
    )
    whose = subject.strip() or None
    chosen = {"agent": agent if agent != ANY else None, "status": status, "subject": whose}
    st.query_params.from_dict({name: str(value) for name, value in chosen.items() if value})
    return chosen["agent"], status, whose


@st.fragment(run_every="5s")
def listing(agent: str | None, status: RunStatus | None, subject: str | None) -> None:
    def newer_page() -> None:
        cursors.pop()

    cursors: list[str | None] = st.session_state.setdefault(f"cursors-{agent}-{status}-{subject}", [None])
    with connection.answered("list the runs"):
        page = connection.client().runs.list(
            agent=agent, status=status, subject=subject, limit=LIMIT, after=cursors[-1]
        )
        if page.data:
            runtable.show(page.data, key="runs")
        elif agent or status or subject:
            style.empty("No such run", "No run fits this filter; choose another agent, status or subject.")
        else:
            style.empty("No run yet", 'Start one on the page Chat, or with: flightloop run "Where is my order?"')
        newer, older, _ = st.columns([1, 1, 6])
        newer.button(
            "Newer", icon=":material/chevron_left:", disabled=len(cursors) == 1, width="stretch", on_click=newer_page
        )
        older.button(
            "Older",
            icon=":material/chevron_right:",
            disabled=not page.has_more,
            width="stretch",
            on_click=cursors.append,
            args=[page.next_after],
        )


listing(*filters())
