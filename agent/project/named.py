"""What a project's files name: tools, arguments and policies must exist, or the entry would silently never apply."""

from __future__ import annotations

import json
from collections.abc import Collection

import structlog

from agent.project.agent_spec import AgentSpec
from flightloop.errors import ConfigError
from flightloop.nearest import did_you_mean
from guardrails.policy import Policy, default_policy
from guardrails.yaml_document import YamlDocument
from tools.registry import Registry

QUERIES = frozenset({"query_sql", "chart_sql", "describe_table", "summarise_column"})
"""Built-in tools whose results have other names than the database's columns."""

log = structlog.get_logger(__name__)


def check_names(document: YamlDocument, agent: AgentSpec, policies: dict[str, Policy], registry: Registry) -> None:
    if agent.policy not in policies:
        known = ", ".join(sorted(policies))
        where = document.at(["policy"])
        raise ConfigError(f"{where}: policy: no policy is named {agent.policy}; known: {known}", param="policy")
    for entry, names in (("tools", agent.tools), ("escalation", agent.escalation)):
        for index, name in enumerate(names):
            if name not in registry:
                where = document.at([entry, index])
                raise ConfigError(f"{where}: {entry}: {unknown_tool(name, names_of(registry))}", param=entry)
    _check_look_up(document, agent, registry)


def _check_look_up(document: YamlDocument, agent: AgentSpec, registry: Registry) -> None:
    name, where = agent.before_refusing, document.at(["before_refusing"])
    if name is not None and name not in agent.tools:
        raise ConfigError(f"{where}: before_refusing: add {name} to the agent's tools", param="before_refusing")
    if name is not None and registry.get(name).writes:
        wrong = f"{name} changes something, and is called unasked: name a tool that only reads"
        raise ConfigError(f"{where}: before_refusing: {wrong}", param="before_refusing")


def check_queries(document: YamlDocument, agent: AgentSpec, policy: Policy) -> None:
    """Raises ConfigError if an agent has SQL and a policy that binds rows by names of columns: SQL renames columns."""
    bindings = policy.document.subject.results.items() if policy.document.subject else ()
    for index, name in enumerate(agent.tools):
        bound = [field for field, binding in bindings if name in QUERIES and binding.applies_to(name)]
        if bound:
            raise ConfigError(
                f"{document.at(['tools', index])}: tools: {name} can rename or drop the column {bound[0]}, by which"
                f" the policy {policy.name} knows whose a row is. Replace {name} by a tool that filters by"
                f" context.subject, or name other tools in subject.results.{bound[0]}.tools",
                param="tools",
            )


def check_tools_named(written: YamlDocument, policy: Policy, tools: Collection[str]) -> None:
    """Raises ConfigError if a rule names an unknown tool: such a rule would silently never apply."""
    for where, name in policy.document.tools_named():
        if name not in tools:
            _never_holds(written, policy, where, unknown_tool(name, tools))


def check_arguments_named(written: YamlDocument, policy: Policy, registry: Registry) -> None:
    """Raises ConfigError if a rule names an unknown argument: such a rule would silently never apply."""
    for where, tool, argument in policy.document.arguments_named():
        known = registry.get(tool).parameters.get("properties", {}) if tool in registry else {argument}
        if argument not in known:
            told = f"{tool} has no argument {argument}; it has: {', '.join(sorted(known)) or 'none'}"
            _never_holds(written, policy, where, told)


def check_bindings(written: YamlDocument, policy: Policy, registry: Registry) -> None:
    """Raises ConfigError if a binding to the subject uses a tool with effects, or names an argument of no tool."""
    bindings = policy.document.subject
    if bindings is None:
        return
    for where, tool, _ in bindings.evidence_named():
        if tool in registry and registry.get(tool).writes:
            _never_holds(written, policy, where, f"{tool} changes something; evidence needs a pure tool")
    declared = json.dumps([spec.parameters for spec in registry.specs()])
    for name in bindings.arguments:
        if f"{json.dumps(name)}:" not in declared:
            _never_holds(written, policy, f"subject.arguments.{name}", f"no tool has an argument {name}")


def _never_holds(written: YamlDocument, policy: Policy, where: str, told: str) -> None:
    """Raises ConfigError for a rule that can never apply. Only warns for the default policy, because it is also
    enforced in completions, whose tools the clients define."""
    message = f"{written.at(where.split('.'))}: {where}: {told}"
    if policy.name != default_policy().name:
        raise ConfigError(message, param=where)
    log.warning("the policy names something that the project does not have", told=message)


def names_of(registry: Registry) -> set[str]:
    return {spec.name for spec in registry.specs()}


def unknown_tool(name: str, known: Collection[str]) -> str:
    told = (did_you_mean(name, known), f"known: {', '.join(sorted(known))}")
    return f"no tool is named {name}; {' '.join(filter(None, told))}"
