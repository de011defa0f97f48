"""What an operator may set: the environment variables ``RETRACE_*``, read once, typed, and complained about in full.

A field ``settle_timeout`` is the variable ``RETRACE_SETTLE_TIMEOUT``. Durations are seconds, in the environment also
ISO 8601 (``PT30S``, ``P7D``), sizes bytes, also ``1MiB``; an empty variable counts as absent. A variable that begins
with ``RETRACE_`` and is none of ours is an error: a setting with a typing error would otherwise silently do nothing.

No message and no ``repr`` contains a value that could be a secret: the database's URL and tokens stay out of logs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from datetime import timedelta
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    BeforeValidator,
    ByteSize,
    DirectoryPath,
    Field,
    FilePath,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from adapters.callouts import secrets
from adapters.callouts.reach import read_rules
from adapters.callouts.sql import targets
from adapters.messaging import addresses
from adapters.signatures import read_private, read_public

PREFIX = "RETRACE_"
FAMILIES = ("CONNECTION_", "SECRET_", "SOURCE_")
"""What stands before names of the user's: databases of `call: sql`, secrets of definitions, queues that events come from."""
ELSEWHERE = (*(PREFIX + family for family in FAMILIES), "RETRACE_TEST_")
"""Prefixes of variables that are read by others; the last by the test suite."""
OF_THE_CLIENT = frozenset({"RETRACE_URL", "RETRACE_TOKEN"})
"""Variables of the command line that talks to a service."""

SHORTEST_RETENTION_S = 48 * 3600.0
"""As long as answers under idempotency keys are kept."""
DATABASE_FORMS = (
    "write sqlite:///retrace.db (a file in the working folder), sqlite:////var/lib/retrace/retrace.db (an absolute "
    "path) or postgresql://user:password@host:5432/name"
)
_BEARER_FORM = (
    "write name:sha256, several separated by commas, where sha256 is the digest of the token in hexadecimal: "
    'printf %s "$TOKEN" | sha256sum'
)
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,100}")
_DURATION: TypeAdapter[timedelta] = TypeAdapter(timedelta)


class SettingsError(Exception):
    """The environment cannot be used; `problems` has one sentence for each variable at fault."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


def _as_seconds(value: Any) -> Any:
    """ISO 8601 becomes seconds; everything else is left to pydantic."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str) and value.strip().upper().startswith("P"):
        try:
            return _DURATION.validate_python(value.strip().upper()).total_seconds()
        except ValidationError:
            raise ValueError("write seconds (30) or an ISO 8601 duration (PT30S, P7D)") from None
    return value


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(_as_seconds)]


class Settings(BaseSettings):
    """The settings of a service. Arguments by field name win over the environment."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    database: str = Field("sqlite:///retrace.db", repr=False)
    """``sqlite:///path`` or ``postgresql://...``."""
    partitions: int = Field(16, ge=1, le=1024)
    """Partitions of a new database; an existing one keeps its own number."""
    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    """0: any free port."""
    public_url: str | None = None
    """Where others reach the service, such as https://retrace.example; None: where it listens."""
    processes: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = 1
    """Nodes that share the port, each a process of its own (PostgreSQL); ``auto``: one for each processor."""
    api_tokens: Annotated[dict[str, str], NoDecode] = Field(default_factory=dict, repr=False)
    """Name of a bearer -> digest (SHA-256, lower-case hexadecimal) of the token."""
    groups: Annotated[dict[str, list[str]], NoDecode] = Field(default_factory=dict)
    """Group -> the people in it, for tasks for people."""
    on_behalf: Annotated[list[str], NoDecode] = Field(default_factory=list)
    """Names of tokens that may claim and answer tasks for other people: a front end, say."""
    auth: Literal["none"] | None = None
    """``none``: whoever reaches the service may do anything."""
    metrics: Literal["open"] | None = None
    """``open``: `/metrics` needs no token."""
    max_body_bytes: ByteSize = Field(ByteSize(1 << 20), ge=1024)
    max_requests: int = Field(1000, ge=1)
    """In progress at a time, besides those that wait; more are refused with 503."""
    max_waiting: int = Field(2000, ge=1)
    """Long polls and streams at a time; more are refused with 503."""
    grace: Seconds = 10.0
    """How long callouts may still run when the service is told to stop."""

    lease: Seconds = Field(10.0, ge=1.0, le=600.0)
    """How long the partitions of a node that has died stay its own."""
    max_in_progress: int = Field(10_000, ge=1)
    """Callouts that are sent or wait for their turn; starts beyond are answered 429."""
    settle_timeout: Seconds = 60.0
    """How long a rollback waits for what is still running before it counts as uncertain."""
    callout_timeout: Seconds = 30.0
    """Of callouts whose definition sets none."""
    held_events_for: Seconds = 7 * 86400.0
    """How long an event that nobody waits for is kept."""
    retention: Seconds | None = None
    """How long after their end orchestrations stay where they are; then they are archived. None: for ever."""
    audit_key: str | None = Field(None, repr=False)
    """The private key that signs checkpoints: a PEM file, its text, or base64 of its 32 bytes."""
    audit_trust: Annotated[list[str], NoDecode] = Field(default_factory=list)
    """Public keys of checkpoints that were signed before, in the same forms."""
    checkpoint_every: Seconds = 60.0
    """How often the owner of a partition makes a checkpoint of it."""
    checkpoint_to: str | None = Field(None, repr=False)
    """A file or an HTTP receiver outside the database that checkpoints go to."""
    sql_connections: int = Field(4, ge=1, le=64)
    """Of ``call: sql`` to each database, at most."""
    sql_max_rows: int = Field(1000, ge=1, le=100_000)
    """That one task may read."""
    sql_max_bytes: ByteSize = Field(ByteSize(1 << 20), ge=1024)
    """The same in bytes of JSON."""
    max_answer_bytes: ByteSize = Field(ByteSize(10_000_000), ge=1024)
    """Largest answer to a callout over HTTP, decompressed."""
    blob_threshold: ByteSize = Field(ByteSize(256 << 10), ge=64 << 10)
    """Of an event, from which its large values are kept beside it."""
    blobs: str | None = Field(None, repr=False)
    """A folder, or ``s3://bucket/prefix``, for large values and files; None: in the database."""
    s3_endpoint: str | None = None
    """Of an object store that is not AWS: an HTTP address."""
    s3_region: str | None = None
    s3_access_key: str | None = Field(None, repr=False)
    s3_secret_key: str | None = Field(None, repr=False)
    max_per_host: int = Field(0, ge=0, le=500)
    """Connections of callouts to one host and port at a time; 0: only the 500 of all together."""
    circuit_failures: int = Field(10, ge=0, le=10_000)
    """In a row, after which a host is left alone for a while; 0: never."""
    circuit_pause: Annotated[Seconds, Field(ge=0.1, le=600.0)] = 5.0
    """How long, before one request finds out whether it is back; doubled up to 30 s while it is not."""
    network_allow: Annotated[list[str], NoDecode] = Field(default_factory=list)
    """With any, callouts over HTTP reach nothing else."""
    network_deny: Annotated[list[str], NoDecode] = Field(default_factory=list)
    """What callouts over HTTP never reach."""
    allow_loopback: bool = False
    """Whether callouts may reach this very machine."""
    event_sink: str | None = Field(None, repr=False)
    """Where emitted events go: an HTTP receiver, RabbitMQ or NATS; without one they reach only this service's own ``listen``
    tasks.
    """
    lifecycle_events: str | None = Field(None, repr=False)
    """Where the lifecycle events of orchestrations and tasks go, in the same forms; None: there are none."""
    event_mode: Literal["structured", "binary", "batch"] = "structured"
    """How CloudEvents are sent to both; ``batch`` only over HTTP."""

    expression_timeout: Seconds = 2.0
    """Processor time of one expression."""
    expression_workers: int = Field(2, ge=1, le=64)
    """Child processes that evaluate expressions, at most."""
    expression_memory: ByteSize = Field(ByteSize(512 << 20), ge=100 << 20)
    """Of one such process."""

    secrets_dir: DirectoryPath | None = None
    """A folder with one file for each secret of definitions."""
    definitions: DirectoryPath | None = None
    """A folder whose definitions are deployed when the service starts."""
    functions: FilePath | None = None
    """A file of Python functions that definitions may call."""

    log_format: Literal["json", "text"] | None = None
    """None: text in development, JSON otherwise."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("database")
    @classmethod
    def _known_database(cls, value: str) -> str:
        scheme, separator, rest = value.partition("://")
        if separator and scheme == "sqlite":
            if not rest.startswith("/") or rest.strip("/") == "" or rest.endswith("/") or ":memory:" in rest:
                raise ValueError(f"names no SQLite file; {DATABASE_FORMS}")
            return value
        if separator and scheme in ("postgresql", "postgres"):
            if not rest:
                raise ValueError(f"names no server; {DATABASE_FORMS}")
            return value
        if scheme.startswith(("postgresql+", "postgres+", "sqlite+")):
            raise ValueError(f"leave out the driver, {scheme.partition('+')[2]!r}; {DATABASE_FORMS}")
        raise ValueError(f"is not the URL of a database that Retrace knows; {DATABASE_FORMS}")

    @field_validator("api_tokens", mode="before")
    @classmethod
    def _read_tokens(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        bearers: dict[str, str] = {}
        for number, entry in enumerate((entry.strip() for entry in value.split(",")), start=1):
            name, _, digest = (part.strip() for part in entry.rpartition(":"))
            if not _NAME.fullmatch(name) or not _SHA256.fullmatch(digest):
                # The entry itself stays out of the message: it may be a token in clear.
                raise ValueError(f"entry {number} cannot be read; {_BEARER_FORM}")
            if name in bearers:
                raise ValueError(f"has two tokens named {name}; give each a name of its own, such as {name}-2")
            bearers[name] = digest.lower()
        return bearers

    @field_validator("groups", mode="before")
    @classmethod
    def _read_groups(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        groups: dict[str, list[str]] = {}
        for entry in (entry.strip() for entry in value.split(",") if entry.strip()):
            name, separator, members = (part.strip() for part in entry.partition("="))
            if not name or not separator or not members:
                raise ValueError(f"has {entry!r}; write group=name name, several groups separated by commas")
            groups[name] = list(dict.fromkeys([*groups.get(name, []), *members.split()]))
        return groups

    @field_validator("on_behalf", "audit_trust", "network_allow", "network_deny", mode="before")
    @classmethod
    def _separate(cls, value: Any) -> Any:
        return [each.strip() for each in value.split(",") if each.strip()] if isinstance(value, str) else value

    @field_validator("audit_key")
    @classmethod
    def _private_key(cls, value: str | None) -> str | None:
        if value is not None:
            read_private(value)
        return value

    @field_validator("audit_trust")
    @classmethod
    def _public_keys(cls, value: list[str]) -> list[str]:
        for each in value:
            read_public(each)
        return value

    @field_validator("network_allow", "network_deny")
    @classmethod
    def _rules(cls, value: list[str]) -> list[str]:
        read_rules(value)
        return value

    @field_validator("checkpoint_to")
    @classmethod
    def _outside(cls, value: str | None) -> str | None:
        if value is not None and value.startswith(("http://", "https://")):
            return cls._http_address(value)
        if value is not None and not Path(value).absolute().parent.is_dir():
            raise ValueError("names a file in a folder that does not exist, and is no http(s) address")
        return value

    @field_validator("blobs")
    @classmethod
    def _place_of_blobs(cls, value: str | None) -> str | None:
        if value is not None and "://" in value:
            parts = urlsplit(value)
            if parts.scheme != "s3" or not parts.netloc:
                raise ValueError("is neither a folder nor s3://bucket or s3://bucket/prefix")
        return value

    @field_validator("event_sink", "lifecycle_events")
    @classmethod
    def _sink(cls, value: str | None) -> str | None:
        if value is not None:
            addresses.read_sink(value)
        return value

    @field_validator("public_url", "s3_endpoint")
    @classmethod
    def _http_address(cls, value: str | None) -> str | None:
        if value is not None:
            parts = urlsplit(value)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("write an HTTP address, such as https://retrace.example")
        return value

    @field_validator("log_level", "log_format", "auth", "metrics", "event_mode", mode="before")
    @classmethod
    def _in_lower_case(cls, value: Any) -> Any:
        return value.strip().lower() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_way_to_authenticate(self) -> Settings:
        if self.auth == "none" and self.api_tokens:
            raise ValueError("RETRACE_AUTH=none and RETRACE_API_TOKENS exclude each other; remove one of them")
        return self

    @model_validator(mode="after")
    def _both_keys(self) -> Settings:
        if (self.s3_access_key is None) != (self.s3_secret_key is None):
            raise ValueError("RETRACE_S3_ACCESS_KEY and RETRACE_S3_SECRET_KEY belong together; set both or none")
        return self

    @model_validator(mode="after")
    def _batches_over_http(self) -> Settings:
        sinks = [each for each in (self.event_sink, self.lifecycle_events) if each is not None]
        if self.event_mode == "batch" and any(addresses.read_sink(each).kind != "http" for each in sinks):
            raise ValueError("RETRACE_EVENT_MODE=batch is for HTTP receivers; brokers take structured or binary")
        return self

    @model_validator(mode="after")
    def _one_process_on_sqlite(self) -> Settings:
        if self.sqlite_path is not None and self.processes not in (1, "auto"):
            raise ValueError(
                f"RETRACE_PROCESSES={self.processes}: a SQLite database has one process; leave it out, or set "
                "RETRACE_DATABASE to a PostgreSQL server"
            )
        return self

    @property
    def process_count(self) -> int:
        """How many nodes to start."""
        if self.processes != "auto":
            return self.processes
        return 1 if self.sqlite_path is not None else os.cpu_count() or 1

    @property
    def forgets_too_early(self) -> bool:
        """Whether orchestrations would be archived while repeats of their start are still promised their first answer."""
        return self.retention is not None and self.retention < SHORTEST_RETENTION_S

    @property
    def sqlite_path(self) -> Path | None:
        """The file of a SQLite database; None when it is PostgreSQL."""
        scheme, _, rest = self.database.partition("://")
        return Path(rest[1:]) if scheme == "sqlite" else None

    @property
    def reachable_from_elsewhere(self) -> bool:
        """Whether `host` is more than loopback; a name other than localhost counts as more."""
        try:
            return not ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host != "localhost"


def read_settings(**overrides: Any) -> Settings:
    """The settings of this process, `overrides` by field name first.

    Raises:
        SettingsError: naming every variable that is unknown or cannot be used.
    """
    problems = [each for check in _CHECKS for each in check(os.environ)]
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        raise SettingsError(problems + [_sentence(each) for each in error.errors(include_url=False)]) from None
    if problems:
        raise SettingsError(problems)
    return settings


def _unknown(names: Iterable[str]) -> list[str]:
    known = [field.upper() for field in Settings.model_fields]
    listed = sorted([*known, *(f"{family}<NAME>" for family in FAMILIES)])
    problems: list[str] = []
    for name in sorted(names):
        upper = name.upper()
        if not upper.startswith(PREFIX) or upper.startswith(ELSEWHERE) or upper in OF_THE_CLIENT:
            continue
        setting = upper.removeprefix(PREFIX)
        if setting in known:
            continue
        name_of_theirs = setting.partition("_")[2]
        of_a_family = [family + name_of_theirs for family in FAMILIES if name_of_theirs]
        nearest = get_close_matches(setting, known, n=1, cutoff=0.9) or get_close_matches(
            setting, [*known, *of_a_family], n=1
        )
        hint = f"did you mean {PREFIX}{nearest[0]}?" if nearest else f"after {PREFIX} may stand {', '.join(listed)}."
        problems.append(f"{name} is not a setting of Retrace; {hint}")
    return problems


def _sentence(error: Any) -> str:
    place = "".join(PREFIX + str(part).upper() for part in error["loc"][:1])
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error":
        return f"{place} {message}." if place else f"{message}."
    return f"{place}: {message[0].lower()}{message[1:]}."


_CHECKS = (_unknown, targets.complaints, secrets.complaints, addresses.complaints)
