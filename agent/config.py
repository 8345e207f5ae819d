"""Settings of a deployment, read once from ``FLIGHTLOOP_*`` environment variables by the composition root."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from agent.api.auth import DEFAULT_TENANT, Keyring, KeyStore, key_from_file
from agent.api.oidc import Issuer, OidcPersons, PersonRule, TokenVerifier, trusted
from agent.reporting.webhooks import Endpoint
from agent.run.budgets import Prices, TenantBudgets, Window
from flightloop.errors import ConfigError
from flightloop.runs import StrictBudget
from guardrails.audit_keys import FixedKeys, KeyFile, keys_of
from guardrails.masked import masked
from model.config import EMBEDDED, SHIPPED, STANDARD, promoted_experts
from observability.config import BusinessConfig, ObservabilityConfig, TracingConfig

PREFIX = "FLIGHTLOOP_"
MCP_PORT = 8400
"""Default port of ``agent mcp serve --http``."""

TENANT_NAME = re.compile(r"[\w.-]{1,64}")
"""Names of tenants, as `flightloop.keys.ApiKeyCreate` has them."""


class Settings(BaseSettings):
    """All settings. Field ``name`` is read from the variable ``FLIGHTLOOP_NAME``. Frozen.

    Build it with :func:`load_settings`, which reports bad values in one line.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    # Paths
    home: Path = Path(".flightloop")
    """Folder of the API key, databases, logs, traces and the tools' data."""
    project: Path | None = None
    """Folder with agents, policies and tools; None: the bundled example project."""
    database_url: str | None = None
    """SQLAlchemy URL of the journal; None: SQLite in ``home``."""
    disk_reserve_mb: int | None = Field(default=None, ge=0)
    """MiB that must stay free on the disk of an SQLite journal; None: 5 % of the disk, at most 512; 0: no reserve."""

    retention_days: int | None = Field(default=None, ge=1, le=36_500)
    """Days after their end at which the server erases the content of runs; None: never."""

    # HTTP API
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    reserved_ports: tuple[int, ...] = (8501, 9090, 6379, 8265, MCP_PORT)
    """More local ports that tools must not reach, as JSON: console, Prometheus, Ray and its dashboard, MCP."""
    api_key: SecretStr | None = None
    """API key of the default tenant; None: generated and kept in ``home/key``."""
    tenant_keys: dict[str, SecretStr] = Field(default_factory=dict)
    """Keys of further tenants, as JSON: ``{"tenant": "key"}``."""
    max_body_bytes: int = Field(default=4 * 1024 * 1024, ge=1024)
    requests_per_minute: int = Field(default=6000, ge=1)
    """Requests per API key and API process; further requests get a 429."""
    subject_requests_per_minute: int = Field(default=120, ge=1)
    """Runs and completions per subject (end user) and API process; further ones get a 429."""

    # Persons who log in with OpenID Connect
    oidc_issuer: str | None = None
    """URL of the issuer, exactly as its metadata name it; None: nobody logs in."""
    oidc_client_id: str | None = None
    """Client for which the issuer must have issued a token."""
    oidc_roles: tuple[PersonRule, ...] = ()
    """Roles, as JSON: ``[{"person" or "group", "role", "tenant_id"?}]``. The first that fits a person holds."""
    oidc_name_claim: str = Field(default="email", min_length=1)
    """Claim with a person's name; ``email`` must be verified."""
    oidc_groups_claim: str = Field(default="groups", min_length=1)
    """Claim with the names of a person's groups."""
    oidc_max_hours: float = Field(default=12.0, gt=0, le=168)
    """Hours after its issue for which a token is accepted, even if it expires later."""

    # Budgets of tenants, shared by their runs and completions
    tenant_budget: StrictBudget = Field(default_factory=StrictBudget)
    """Budget of each tenant, as JSON: ``{"tokens": 1000000, "cost": 5}``, also ``steps`` and ``seconds``."""
    tenant_budgets: dict[str, StrictBudget] = Field(default_factory=dict)
    """Budgets of single tenants, which replace ``tenant_budget``, as JSON: ``{"tenant": {"tokens": 5000000}}``."""
    subject_budget: StrictBudget = Field(default_factory=StrictBudget)
    """Budget of each subject (end user) in the same period, as JSON."""
    tenant_budget_window: Window = Window.DAY
    """Period of tenant budgets: a calendar day or month, in UTC."""

    # Model: the built-in engine, or an OpenAI-compatible server
    model_url: str | None = None
    """Base URL of an OpenAI-compatible server, with ``/v1``; None: use the built-in engine."""
    model_name: str | None = None
    """Name of the model at ``model_url``."""
    model_api_key: SecretStr | None = None
    model_strict_schemas: bool = True
    """Whether the remote server enforces strict JSON schemas while decoding."""
    model_logprobs: bool = False
    """Whether the remote server returns log-probabilities."""
    model_vision: Literal["auto", "yes", "no"] = "auto"
    """Whether the remote model takes images; auto: as the server's list of models declares."""
    model_context: int | None = Field(default=None, ge=1)
    """Context length of the remote model in tokens; None: unknown."""
    model_reads_plans: bool = True
    """Whether runs on the remote model are planned. A plan costs a call, and pays if the model follows it."""
    model_timeout_s: float = Field(default=120.0, gt=0)
    """Seconds without data from the remote server after which a request fails."""
    moderation_api_key: SecretStr | None = None
    """Sent as a bearer token to the endpoints of the policies' rails ``moderation``."""
    model: str | None = None
    """An embedded model's name, a GGUF file, a checkpoint folder, or a repository on the Hugging Face hub. None: the
    embedded model ``standard``, or ``edge`` where it can't be downloaded."""
    model_dtype: Literal["auto", "float32", "bfloat16", "int8", "int4", "mixed"] = "auto"
    kernels: Literal["auto", "avx2", "avx2_vnni", "avx512"] = "auto"
    """The processor's instructions that the kernels use; auto: the fastest."""
    model_threads: int = Field(default=0, ge=0, le=1024)
    """CPU threads per replica; 0: chosen for the machine."""
    model_slots: int = Field(default=8, ge=1, le=256)
    """Requests that one replica decodes at the same time."""
    model_step_tokens: int = Field(default=256, ge=1, le=65_536)
    """Maximum tokens per engine step. Longer prompts are prefilled in chunks; other answers continue in between."""
    model_draft_tokens: int = Field(default=8, ge=0, le=1024)
    """Steps with fewer tokens are filled up to this number with draft tokens; 0: no speculative decoding."""
    model_queue: int = Field(default=64, ge=1, le=100_000)
    """Requests that may wait at one replica; further requests get a 429."""
    model_max_context: int = Field(default=4096, ge=16, le=1_048_576)
    """Context length in tokens, prompt and answer together."""
    model_attention_window: int = Field(default=0, ge=0, le=1_048_576)
    """Sliding window in tokens for most attention heads, for long inputs; 0: all heads attend to everything."""
    model_attention_retrieved: int = Field(default=0, ge=0, le=1_048_576, multiple_of=64)
    """Tokens of a long context that the other attention heads read per answer token; 0: all."""
    model_shards: int = Field(default=1, ge=1, le=64)
    """Processes per replica over which its experts are sharded."""
    model_experts: Path | None = None
    """Safetensors file of trained experts; None: see ``experts``."""
    model_call_confidence: float | None = Field(default=None, ge=0, lt=1)
    """Lowest confidence at which the model makes a tool call instead of answering; None: see ``call_confidence``."""
    model_stream_interval_ms: int = Field(default=50, ge=0, le=10_000)
    """Tokens after the first are sent in one stream chunk per this many milliseconds; 0: one chunk per token."""
    model_lora: Path | None = None
    """Safetensors file of LoRA weights."""
    replicas_min: int = Field(default=1, ge=0, le=1000)
    replicas_max: int = Field(default=2, ge=1, le=1000)

    # Workers
    workers: int = Field(default=1, ge=1, le=100)
    """Number of worker replicas."""
    worker_concurrency: int = Field(default=4, ge=1, le=1000)
    """Runs that one worker executes at the same time."""
    lease_seconds: float = Field(default=30.0, ge=10)
    """Lease of a run: after this time without renewal, another worker may claim the run."""
    interrupt_max_silence_s: float = Field(default=5.0, gt=0)
    """Seconds without a reading of the interrupts (emergency stops) after which all work stops."""

    # Logs, traces and webhooks
    otlp_endpoint: str | None = None
    """Base URL of an OTLP/HTTP trace receiver; None: files in ``home/traces``."""
    trace_content: bool = False
    """Whether spans contain prompts, answers and tool arguments, which are personal data."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    webhooks: tuple[Endpoint, ...] = ()
    """Receivers of approvals and ended runs, as JSON: ``[{"name", "url", "secret", "events"?, "tenant_id"?}]``."""

    # Audit log
    audit_key: SecretStr | None = None
    """Keys that seal audit records, in hex, separated by commas, the current one last; None: those in
    ``home/audit-key``, where a first one is generated. Nodes with homes of their own need the same keys."""
    audit_checkpoints: Path | None = None
    """File of the audit log's checkpoints; None: ``home/audit-checkpoints.jsonl``."""
    audit_checkpoint_seconds: float = Field(default=30.0, ge=1)
    """Longest time until a new audit record is covered by a checkpoint."""
    audit_checkpoint_records: int = Field(default=1000, ge=1)
    """Number of a tenant's new audit records that are covered at once."""

    # Inputs of the business metrics, in euros; ``inputs_version`` labels the results.
    inputs_version: str = Field(default="default-1", min_length=1, max_length=64)
    human_cost: float = Field(default=6.0, ge=0, allow_inf_nan=False)
    """Cost of a conversation handled by a person."""
    platform_cost_per_hour: float = Field(default=0.10, ge=0, allow_inf_nan=False)
    price_prompt: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Price of a million prompt tokens of a remote model."""
    price_completion: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Price of a million completion tokens of a remote model."""

    @field_validator("model_url", "otlp_endpoint")
    @classmethod
    def _http_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be a URL that begins with http:// or https://")
        _ = parts.port  # raises ValueError if it is not a number up to 65535
        return value.rstrip("/")

    @field_validator("oidc_issuer")
    @classmethod
    def _oidc_issuer_is_trusted(cls, value: str | None) -> str | None:
        return None if value is None else trusted(value)

    @field_validator("model")
    @classmethod
    def _former_name(cls, value: str | None) -> str | None:
        return STANDARD if value == "embedded" else value

    @field_validator("webhooks")
    @classmethod
    def _names_differ(cls, value: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
        if len({endpoint.name for endpoint in value}) < len(value):
            raise ValueError("two endpoints have the same name")
        return value

    @field_validator("project")
    @classmethod
    def _project_exists(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError(f"{value} is not a folder; 'flightloop new NAME' creates a project")
        return value

    @model_validator(mode="after")
    def _oidc_is_complete(self) -> Settings:
        given = {"ISSUER": self.oidc_issuer, "CLIENT_ID": self.oidc_client_id, "ROLES": self.oidc_roles}
        missing = [f"{PREFIX}OIDC_{name}" for name, value in given.items() if not value]
        if missing and len(missing) < len(given):
            raise ValueError(f"{' and '.join(missing)}: needed to let persons log in with OpenID Connect")
        return self

    @model_validator(mode="after")
    def _replicas_ordered(self) -> Settings:
        if self.replicas_min > self.replicas_max:
            raise ValueError(
                f"FLIGHTLOOP_REPLICAS_MIN ({self.replicas_min}) is above FLIGHTLOOP_REPLICAS_MAX ({self.replicas_max})"
            )
        return self

    @property
    def journal_url(self) -> str:
        return self.database_url or f"sqlite:///{(self.home / 'flightloop.db').resolve()}"

    @property
    def experts(self) -> Path | None:
        """Experts file in use: the configured one, else one promoted to ``home`` (``python -m model.tuner``), else the
        one shipped with the embedded model. None: untrained experts, or those of the checkpoint.
        """
        if self.model_experts:
            return self.model_experts
        model = self.model or STANDARD
        promoted = self.home / promoted_experts(model)
        if model in EMBEDDED and promoted.is_file():
            return promoted
        return SHIPPED[model].path if model in SHIPPED else None

    @property
    def call_confidence(self) -> float:
        """``model_call_confidence``; by default the value calibrated for the shipped experts, 0 for all others."""
        if self.model_call_confidence is not None:
            return self.model_call_confidence
        shipped = SHIPPED.get(self.model or STANDARD)
        if shipped is None or self.experts != shipped.path or self.model_lora:
            return 0.0
        return shipped.call_confidence

    @property
    def checkpoints(self) -> Path:
        """File of the audit log's checkpoints."""
        return self.audit_checkpoints or self.home / "audit-checkpoints.jsonl"

    @property
    def data(self) -> Path:
        """Folder of the tools' databases and files."""
        return self.home / "data"

    @property
    def prices(self) -> Prices:
        return Prices(self.price_prompt, self.price_completion)

    @property
    def tenants(self) -> TenantBudgets:
        return TenantBudgets(self.tenant_budget, self.tenant_budgets, self.tenant_budget_window, self.subject_budget)

    def observability(self) -> ObservabilityConfig:
        business = BusinessConfig(
            version=self.inputs_version,
            human_cost_per_conversation=self.human_cost,
            platform_cost_per_hour=self.platform_cost_per_hour,
            prompt_cost_per_1k_tokens=self.price_prompt / 1000,
            completion_cost_per_1k_tokens=self.price_completion / 1000,
        )
        tracing = TracingConfig(
            endpoint=self.otlp_endpoint,
            directory=self.home / "traces",
            capture_content=self.trace_content,
            mask=masked,
        )
        return ObservabilityConfig(business=business, tracing=tracing)

    def own_key(self) -> str:
        """The key of the default tenant; generates ``home/key`` at the first start.

        Raises:
            ConfigError: the key file cannot be used.
        """
        return self.api_key.get_secret_value() if self.api_key else key_from_file(self.home / "key")

    def audit_keys(self) -> FixedKeys | KeyFile:
        """Keys that seal audit records. Raises ConfigError: ``audit_key`` is not valid."""
        if self.audit_key is None:
            return KeyFile(self.home / "audit-key")
        return FixedKeys(keys_of(self.audit_key.get_secret_value(), f"{PREFIX}AUDIT_KEY"))

    def keyring(self, store: KeyStore | None = None) -> Keyring:
        """All accepted keys, including those in ``store``; generates ``home/key`` at the first start.

        Raises:
            ConfigError: two tenants have the same key, a key is weak, or the key file cannot be used.
        """
        keys = {self.own_key(): DEFAULT_TENANT}
        for tenant, secret in self.tenant_keys.items():
            if tenant == DEFAULT_TENANT or not TENANT_NAME.fullmatch(tenant):
                raise ConfigError(
                    f"FLIGHTLOOP_TENANT_KEYS: {tenant!r} can't be a tenant's name: it needs 1 to 64 letters, digits,"
                    f" _, . and -, and {DEFAULT_TENANT!r} is the deployment itself, whose key is FLIGHTLOOP_API_KEY"
                )
            if secret.get_secret_value() in keys:
                raise ConfigError(f"FLIGHTLOOP_TENANT_KEYS: {tenant} has the same key as another tenant")
            keys[secret.get_secret_value()] = tenant
        return Keyring(keys, store, self._persons())

    def _persons(self) -> OidcPersons | None:
        """Persons who log in with OpenID Connect; None: nobody does."""
        if not (self.oidc_issuer and self.oidc_client_id):
            return None
        verifier = TokenVerifier(Issuer(self.oidc_issuer), self.oidc_client_id, self.oidc_max_hours * 3600)
        claims = {"name_claim": self.oidc_name_claim, "groups_claim": self.oidc_groups_claim}
        return OidcPersons(verifier, self.oidc_roles, **claims)


def load_settings(**overrides: Any) -> Settings:
    """Reads the settings of this process; ``overrides`` that are not None take precedence over the environment.

    Raises:
        ConfigError: one line that names each bad variable, the reason and the value.
    """
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        raise ConfigError("; ".join(_line(detail) for detail in error.errors())) from None
    except SettingsError as error:
        field = re.search(r'field "(\w+)"', str(error))
        raise ConfigError(f"{PREFIX}{field.group(1).upper() if field else '*'}: must be JSON") from None


def _line(detail: Any) -> str:
    if not detail["loc"]:
        return str(detail["msg"]).removeprefix("Value error, ")
    variable = ".".join([PREFIX + str(detail["loc"][0]).upper(), *map(str, detail["loc"][1:])])
    told = str(detail["msg"]).removeprefix("Value error, ")
    secret = any(word in variable for word in ("KEY", "PASSWORD", "WEBHOOKS"))
    secret = secret or "@" in str(detail["input"])  # a URL may have a password
    value = str(detail["input"]) if isinstance(detail["input"], Path) else detail["input"]
    return f"{variable}: {told}" + ("" if secret else f" (got {value!r})")
