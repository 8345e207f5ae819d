"""Names of the procedures that an agent can follow, and the tools that each one calls."""

CODE_TOOLS = ("compile_code", "scan_code", "check_constraints", "run_tests", "measure_growth")
PROCEDURE_TOOLS: dict[str, tuple[str, ...]] = {"code": CODE_TOOLS}
