"""Page of agents and policies: who may do what, and what the rails decided."""

from __future__ import annotations

import streamlit as st

from dashboards import connection, figures
from dashboards.components import audit, badges, stepview, style
from dashboards.components.cards import box
from flightloop.runs import AgentInfo, PolicyInfo, ToolInfo

EFFECT = {"pure": badges.GREEN, "keyed": badges.BLUE, "transactional": badges.BLUE, "unsafe": badges.AMBER}

style.heading("Agents & policies", "who may do what, and what the rails decided")


def agents_tab() -> None:
    with connection.answered("list the agents"):
        found = connection.agents()
        if not found:
            style.empty("No agent", "A project has a file for each agent in agents/*.yaml.")
        for start in range(0, len(found), 2):
            for cell, agent in zip(st.columns(2, gap="small"), found[start : start + 2], strict=False):
                with cell:
                    _agent(agent)


def _agent(agent: AgentInfo) -> None:
    with box("", key=f"agent-{agent.name}", height="stretch"):
        st.subheader(agent.name)
        st.markdown(stepview.plain(agent.description))
        tools = [badges.pill(tool, badges.BLUE) for tool in agent.tools]
        agents = [badges.pill(name, badges.VIOLET, "it can delegate tasks to this agent") for name in agent.agents]
        badges.row(*tools, *agents)
        bound = agent.budget
        budget = {
            "steps": figures.count(bound.steps),
            "tokens": figures.count(bound.tokens),
            "time": figures.seconds(bound.seconds),
            "cost": figures.euros(bound.cost),
        }
        style.pairs(
            {
                "model": agent.model,
                "policy": f"{agent.policy} · {agent.policy_sha256[:12]}",
                "plans first": _plans(agent),
                "budget": " · ".join(f"{name} {value}" for name, value in budget.items() if value != figures.NOTHING),
            }
        )
        with st.container(horizontal=True):
            st.page_link(
                "views/chat.py", label="Talk to it", icon=":material/forum:", query_params={"agent": agent.name}
            )
            st.page_link(
                "views/runs.py", label="Its runs", icon=":material/list_alt:", query_params={"agent": agent.name}
            )


def _plans(agent: AgentInfo) -> str:
    if not agent.planning:
        return "no"
    return "yes" if connection.reads_plans() else "only if its policy locks to the plan"


def tools_tab() -> None:
    with connection.answered("list the tools"):
        for tool in connection.client().tools.list().data:
            with st.expander(stepview.plain(f"{tool.name} — {tool.description}")):
                _tool(tool)


def _tool(tool: ToolInfo) -> None:
    permissions = [badges.pill(item, badges.AMBER) for item in tool.permissions]
    badges.row(badges.pill(tool.effect, EFFECT.get(tool.effect, badges.GREY)), *permissions)
    retries = f" · {tool.retries} retries" if tool.retries else ""
    st.caption(f"Timeout {figures.seconds(tool.timeout_s)}{retries}")
    stepview.document(tool.parameters)


def policies_tab() -> None:
    with connection.answered("list the policies"):
        for policy in connection.client().policies.list().data:
            _policy(policy)


def _policy(policy: PolicyInfo) -> None:
    with box("", key=f"policy-{policy.sha256}"):
        st.subheader(f"{policy.name} · version {policy.version}")
        st.caption(f"sha256 {policy.sha256} · loaded {figures.ago(policy.loaded_at)}")
        if policy.document.get("description"):
            st.markdown(stepview.plain(str(policy.document["description"])))
        st.json(policy.document, expanded=1)


@st.fragment(run_every="5s")
def audit_tab() -> None:
    with connection.answered("read the audit log"):
        audit.show(connection.audit_tail())


def models_tab() -> None:
    with connection.answered("list the models"):
        overview = connection.client().overview()
        for model in connection.client().models.list().data:
            with box("", key=f"model-{model.id}"):
                st.subheader(model.id)
                active = (
                    model.active_parameters / model.parameters if model.active_parameters and model.parameters else None
                )
                style.pairs(
                    {
                        "context": f"{figures.count(model.context_length)} tokens",
                        "parameters": figures.count(model.parameters),
                        "active per token": f"{figures.count(model.active_parameters)} ({figures.share(active)})",
                        "weights": model.weights or figures.NOTHING,
                        "time per token": figures.seconds(
                            figures.average(overview, "model_tpot_seconds", model=model.id)
                        ),
                        "takes": ", ".join(model.parts),
                    }
                )


TABS = {
    "Agents": agents_tab,
    "Tools": tools_tab,
    "Policies": policies_tab,
    "Audit": audit_tab,
    "Models": models_tab,
}
for tab, show in zip(st.tabs(list(TABS)), TABS.values(), strict=True):
    with tab:
        show()
