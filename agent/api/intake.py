"""Takes in the images of requests, if this deployment can."""

from __future__ import annotations

from collections.abc import Sequence

from agent.api.deps import ApiDeps
from agent.attachments.images import Sender, TakenIn, check_number
from flightloop.content import ImagePart, Part
from flightloop.errors import UnsupportedContent
from flightloop.runs import AgentInfo
from flightloop.subject import Subject


async def take_in(deps: ApiDeps, content: Sequence[Part], sender: Sender, where: str, *, read: bool) -> TakenIn:
    """The content with its images as stored, and what was read in them.

    Args:
        where: the content's field, for errors.
        read: whether the images are read.

    Raises:
        InvalidRequest, UnsupportedContent, Overloaded: an image can't be used.
    """
    places = [place for place, part in enumerate(content) if isinstance(part, ImagePart)]
    if not places:
        return TakenIn(list(content))
    check_number([content], where)
    if deps.images is None:
        param = f"{where}[{places[0]}]"
        raise UnsupportedContent(f"{param}: this server takes no images", param=param)
    return await deps.images.take(content, sender, where, read=read)


def sender_of(deps: ApiDeps, tenant_id: str, agent: AgentInfo, subject: Subject | None) -> Sender:
    """Sender of an agent's input: images may be fetched from the hosts that the agent's policy allows.

    For the built-in agent, which obeys the policy ``default`` too, that policy has the hosts.
    """
    documents = {policy.name: policy.document for policy in deps.catalogue.policies()}
    policy = agent.policy if agent.policy in documents else "default"
    hosts = documents.get(policy, {}).get("egress", {}).get("hosts", ())
    return Sender(tenant_id, tuple(hosts), policy, subject.id if subject else None)
