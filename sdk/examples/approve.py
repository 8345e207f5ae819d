"""Approves all pending calls with an amount up to ``LARGEST`` and leaves the others to a person."""

from flightloop import Flightloop
from flightloop.errors import Conflict, Forbidden

LARGEST = 50.0


def main() -> None:
    with Flightloop() as client:
        after = None
        while True:
            page = client.approvals.list(after=after)
            for asked in page.data:
                amount = asked.arguments.get("amount")
                if not isinstance(amount, int | float) or amount > LARGEST:
                    print("left", asked.id, asked.tool, asked.arguments)
                    continue
                try:
                    decided = client.approvals.decide(asked.id, decision="approve", reason=f"up to {LARGEST:g}")
                    print(decided.status, asked.id, asked.tool, amount, decided.progress)
                except (Conflict, Forbidden) as error:  # decided, expired, or another person must decide
                    print("passed over", asked.id, error)
            if not page.has_more:
                return
            after = page.next_after


if __name__ == "__main__":
    main()
