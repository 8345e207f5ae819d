"""Code generation by an agent, as an endpoint of the client."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from flightloop.call import Call, Steps, parsed_by, refused_here
from flightloop.code_result import CodeResult, parsed_result
from flightloop.code_task import CodeConstraints, CodeTask, language_of, task_text
from flightloop.errors import GenerationFailed
from flightloop.resource import Resource, X, endpoint, sequence
from flightloop.resources import until_ended
from flightloop.runs import Run, RunCreate

AGENT = "coder"
"""Name of the agent that generates code, in ``examples/coder``."""
Constraints = CodeConstraints | dict[str, Any] | None
_run = parsed_by(Run)


class Code(Resource[X]):
    @endpoint
    def start(
        self,
        prompt: str,
        *,
        language: str | None = None,
        constraints: Constraints = None,
        security_level: str = "medium",
        rounds: int | None = None,
        agent: str = AGENT,
    ) -> Call[Run]:
        """Starts a generation and returns its run at once. Arguments are those of ``generate``; see ``result_of``."""
        return _started(prompt, language, constraints, security_level, rounds, agent)

    @sequence
    def generate(
        self,
        prompt: str,
        *,
        language: str | None = None,
        constraints: Constraints = None,
        security_level: str = "medium",
        rounds: int | None = None,
        agent: str = AGENT,
        timeout_s: float | None = None,
    ) -> Steps[CodeResult]:
        """Generates a program: starts a run of the agent, and waits for its end.

        Args:
            prompt: what the program should do. It may contain a function's header and examples.
            language: ``python`` or ``java``, which needs a JDK of version 17 or later on the server; None: ``java`` if
                the prompt names Java, and ``python`` otherwise.
            constraints: see ``CodeConstraints``.
            security_level: ``low`` reports findings, ``medium`` also has the model repair them, ``high`` returns
                nothing that was not compiled, tested and free of findings.
            rounds: maximum number of programs to write or repair; default: 6.
            agent: name of the agent.
            timeout_s: seconds to wait for the run; None: until it ends.

        Raises:
            GenerationFailed: the run ended without a result, such as by an exhausted budget.
            NotFound: the project has no such agent.
            TimeoutError: the run has not ended within ``timeout_s``.
        """
        run: Run = yield _started(prompt, language, constraints, security_level, rounds, agent)
        return result_of((yield from until_ended(run, timeout_s)))


def _started(
    prompt: str, language: str | None, constraints: Constraints, security_level: str, rounds: int | None, agent: str
) -> Call[Run]:
    given: dict[str, Any] = {"language": language or language_of(prompt), "security_level": security_level}
    given |= {"constraints": constraints} if constraints else {}
    given |= {"rounds": rounds} if rounds else {}
    with refused_here():
        body = RunCreate.model_validate({"agent": agent, "input": task_text(CodeTask.model_validate(given), prompt)})
    return Call("POST", "/v1/runs", _run, body=body, headers={"idempotency-key": uuid4().hex})


def result_of(run: Run) -> CodeResult:
    """Result of a run that has ended. Raises GenerationFailed."""
    try:
        return parsed_result(run.output_text, run.id)
    except ValueError as error:
        why = run.error.message if run.error else str(error)
        raise GenerationFailed(f"{run.id} is {run.status} without a program: {why}") from error
