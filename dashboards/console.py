"""Entry page of the operator console: navigation and the parts that all pages share, or the login."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboards import connection, login
from dashboards.components import banner, login_form, sidebar, style

PICTURES = Path(__file__).parent / "components"

st.set_page_config(page_title="flightloop", page_icon=PICTURES / "icon.svg", layout="wide")
style.apply()
st.logo(PICTURES / "logo.svg", size="large")

link_refused = login.with_link()
person_refused = None if connection.connected() else login.with_oidc()
page = st.navigation(
    {
        "Watch": [
            st.Page("views/overview.py", title="Overview", icon=":material/monitoring:", default=True),
            st.Page("views/runs.py", title="Runs", icon=":material/list_alt:"),
            st.Page("views/run.py", title="Run", icon=":material/account_tree:", visibility="hidden"),
        ],
        "Act": [
            st.Page("views/approvals.py", title="Approvals", icon=":material/approval:"),
            st.Page("views/stop.py", title="Emergency stop", icon=":material/emergency_home:"),
            st.Page("views/chat.py", title="Chat", icon=":material/forum:"),
        ],
        "Know": [st.Page("views/agents.py", title="Agents & policies", icon=":material/policy:")],
    },
    position="sidebar" if connection.connected() else "hidden",
)
if connection.connected():
    sidebar.show()
    if page.title != "Overview":
        banner.of_project()
    page.run()
else:
    login_form.show(link_refused, person_refused)
