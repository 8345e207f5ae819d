"""Runs several questions concurrently. Each has its own idempotency key, so a retried request starts no second run."""

import asyncio

from flightloop import AsyncFlightloop
from flightloop.runs import Run

QUESTIONS = {
    "ticket-1": "Where is my order 10101?",
    "ticket-2": "Can I send back the lamp?",
    "ticket-3": "When do you open?",
}


async def answered(client: AsyncFlightloop, ticket: str, question: str) -> Run:
    budget = {"steps": 8, "seconds": 120}
    run = await client.runs.create(agent="support", input=question, budget=budget, idempotency_key=ticket)
    return await client.runs.wait(run.id)


async def main() -> None:
    async with AsyncFlightloop() as client:
        runs = await asyncio.gather(*(answered(client, ticket, text) for ticket, text in QUESTIONS.items()))
    for ticket, run in zip(QUESTIONS, runs, strict=True):
        print(ticket, run.status, run.id)


if __name__ == "__main__":
    asyncio.run(main())
