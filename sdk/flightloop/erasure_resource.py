"""``client.erase``: erasure of a person's or a session's runs."""

from __future__ import annotations

from flightloop.call import Call, parsed_by
from flightloop.erasure import ErasureCreate, ErasureReport
from flightloop.resource import Resource, X, endpoint


class Erasing(Resource[X]):
    @endpoint
    def erase(
        self,
        *,
        subject: str | None = None,
        session_id: str | None = None,
        end_runs: bool = False,
        dry_run: bool = False,
    ) -> Call[ErasureReport]:
        """Erases texts, arguments, results and images of a subject's or a session's runs, for good; for admins.

        The runs stay as tombstones: ids, times, usage, costs and outcomes. A repetition continues what failed.

        Args:
            end_runs: whether runs that have not ended are cancelled first.
            dry_run: whether to count only.

        Raises:
            Conflict: runs have not ended.
        """
        body = ErasureCreate(subject=subject, session_id=session_id, end_runs=end_runs, dry_run=dry_run)
        return Call("POST", "/v1/erasures", parsed_by(ErasureReport), body=body)
