"""All settings of the gateway, read once at startup from `GATEWAY_…` variables and flags.

An unknown `GATEWAY_…` variable or a bad value stops the startup with an error that names it: a typo
in a deployment file must not silently become a default.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from gateway.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "GATEWAY_"
JWT_SECRET_MIN_BYTES = 32  # RFC 7518 section 3.2: a key as long as the hash output

Seconds = Annotated[float, Meta(gt=0, le=31_536_000)]  # at most a year: keeps infinity out
Count = Annotated[int, Meta(ge=1)]
Bytes = Annotated[int, Meta(ge=1024)]
Share = Annotated[float, Meta(gt=0, le=1)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings, checked by `load_settings`.

    The environment variable of `field` is `GATEWAY_FIELD`.

    Lists are comma-separated in the environment. Sizes are in bytes, times in seconds.
    """

    # Addresses and state
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    workers: Count = 1  # processes that share the port, each a replica
    redis_url: str | None = None  # None: the embedded server on data_dir
    data_dir: str = "gateway-data"
    dev: bool = False

    # Authentication
    jwt_secret: str | None = None
    jwt_public_key: str | None = None  # PEM, or a path to a PEM file
    jwks_url: str | None = None
    jwt_algorithms: tuple[str, ...] = ()  # empty: those that fit the key
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwt_leeway_s: Annotated[float, Meta(ge=0, le=30)] = 0.0
    allowed_origins: tuple[str, ...] = ()  # empty: no Origin check; may contain "null" and "*"
    ticket_ttl_s: Seconds = 30.0
    token_warning_s: Seconds = 60.0

    # Sessions and liveness
    session_ttl_s: Seconds = 600.0
    brief_s: Seconds = 15.0
    medium_s: Seconds = 120.0
    heartbeat_s: Seconds = 25.0
    heartbeat_timeout_s: Seconds = 10.0

    # Limits of a connection and a subject
    max_frame_bytes: Bytes = 262_144
    max_content_bytes: Bytes = 65_536
    max_json_depth: Annotated[int, Meta(ge=4, le=256)] = 64
    max_json_nodes: Annotated[int, Meta(ge=100)] = 20_000  # values in one field, or one context
    max_batch: Count = 256
    history_page_max: Annotated[int, Meta(ge=1, le=200)] = 200
    outbox_bytes: Bytes = 1_048_576
    max_connections: Count = 10_000
    max_connections_per_subject: Count = 1_000
    max_connections_per_address: Count = 2_000  # at one replica; an IPv6 /64 is one address
    address_requests_per_s: Seconds = 500.0  # handshakes and HTTP requests of one address
    address_requests_burst: Count = 2_000
    max_conversations_per_session: Count = 200
    max_context_bytes: Bytes = 262_144
    max_event_bytes: Bytes = 524_288  # of an agent's event: half of outbox_bytes, see Outbox
    max_reply_bytes: Bytes = 4_194_304  # of one reply of an agent, as JSON
    max_run_bytes: Bytes = 16_777_216  # of all that one attempt at a run says besides
    max_interrupts_bytes: Bytes = 262_144  # questions of a conversation that wait for answers
    requests_per_s: Seconds = 500.0  # of one connection
    requests_burst: Count = 2_000
    subject_requests_per_s: Seconds = 1_000.0  # of one subject, over all its sockets at one replica
    subject_requests_burst: Count = 5_000
    request_bytes: Bytes = 4_096  # a frame counts as one more request for each of these

    # What a subject, a conversation and a tenant may leave behind
    max_metadata_bytes: Bytes = 16_384  # of a conversation's, as JSON
    max_participants: Count = 5_000  # of a conversation, with those who are invited by name
    max_conversations_per_subject: Annotated[int, Meta(ge=2)] = 10_000  # half of them by others
    max_sessions_per_subject: Count = 10_000  # opened in session_ttl_s
    created_per_hour: Count = 1_000  # conversations, by one subject
    tenant_created_per_hour: Count = 100_000
    subject_bytes_per_hour: Bytes = 1_073_741_824  # in frames, at one replica
    added_per_hour: Count = 2_000  # others that a subject adds or invites by name
    adding: Literal["direct", "invite"] = "direct"  # whether who is added has to accept

    # Sockets
    handshake_timeout_s: Seconds = 10.0
    max_header_bytes: Bytes = 16_384
    write_timeout_s: Seconds = 20.0
    request_timeout_s: Seconds = 30.0
    schema_check_s: Seconds = 5.0  # for an agent's JSON Schema, or an answer to it
    tcp_user_timeout_s: Seconds = 30.0  # longer than write_timeout_s, which tells why
    send_buffer_bytes: Bytes = 131_072
    compression: bool = False
    transport: Literal["fast", "uvicorn"] = "fast"  # with compression: always uvicorn
    trusted_proxies: tuple[str, ...] = ("127.0.0.1",)
    drain_window_s: Annotated[float, Meta(ge=0)] = 5.0
    drain_timeout_s: Seconds = 10.0

    # Storage
    redis_timeout_s: Seconds = 5.0
    redis_reconnect_s: Seconds = 2.0  # how long a request waits for Redis to come back
    redis_prefix: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{1,32}\Z")] = "gw"
    durability: Literal["memory", "disk", "replicated"] = "memory"
    log_max_events: Count = 10_000
    log_ttl_s: Seconds = 86_400.0
    context_versions: Count = 50

    # Runs
    run_lease_s: Seconds = 15.0
    run_timeout_s: Seconds = 600.0
    run_claim_s: Seconds = 30.0  # how long a run waits for a worker that has its agent
    run_attempts: Count = 3  # a run ends after so many deaths of its workers
    run_cleanup_s: Seconds = 3.0  # how long a stopped agent may clean up; then it is abandoned
    worker_concurrency: Count = 100  # runs at once in a worker
    worker_subject_share: Share = 0.75  # of them, that one subject may have; less beside others
    worker_tenant_share: Share = 0.9  # the same of one tenant
    waiting_runs_per_conversation: Count = 100
    open_runs_per_subject: Count = 1_000  # waiting or going on, in each of the 64 shards
    open_runs_per_tenant: Count = 20_000  # the same
    default_agent: str | None = None  # `demo` with --dev, else none
    agents: tuple[str, ...] = ()  # name=package.module:attribute
    handlers: tuple[str, ...] = ()  # package.module
    openai_base_url: str | None = None
    openai_model: str | None = None
    openai_api_key: str | None = None
    openai_instructions: str | None = None  # given to the model before the conversation
    openai_stream: bool = True
    openai_connect_timeout_s: Seconds = 10.0
    openai_read_timeout_s: Seconds = 60.0  # how long the endpoint may be silent
    openai_context_messages: Count = 100  # how many messages of the conversation the model sees

    # Logs
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "console", "json"] = "auto"

    def __repr__(self) -> str:
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        secret = {name: "…" for name in _SECRETS if shown[name] is not None}
        pairs = (f"{name}={value!r}" for name, value in (shown | secret).items())
        return f"Settings({', '.join(pairs)})"

    @property
    def data_path(self) -> Path:
        """The data folder, absolute, `~` expanded."""
        return Path(self.data_dir).expanduser().absolute()

    @property
    def silence_limit_s(self) -> float:
        """A client is closed as silent after this long without any frame."""
        return self.heartbeat_s + self.heartbeat_timeout_s


def load_settings(environ: Mapping[str, str] | None = None, /, **flags: object) -> Settings:
    """Read the settings from the environment; flags that are not None override it.

    Raises:
        SettingError: an unknown `GATEWAY_…` variable or a bad value; it names the setting.
    """
    values: dict[str, object] = {}
    for name, text in (os.environ if environ is None else environ).items():
        if name.startswith(PREFIX):
            values[_field_of(name)] = _from_text(_field_of(name), text)
    values |= {name: value for name, value in flags.items() if value is not None}
    values = {name: _in_any_case(name, value) for name, value in values.items()}
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as exc:
        raise _named(exc) from exc
    _check_together(settings)
    return settings


_SECRETS = ("jwt_secret", "openai_api_key", "redis_url")  # a Redis URL holds a password
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_FACTS = dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False)
_DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(Settings)}
_LISTS = frozenset(
    field.name
    for field in msgspec.structs.fields(Settings)
    if field.default is not msgspec.NODEFAULT and isinstance(field.default, tuple)
)
_CHOICES = {
    name: get_args(kind)
    for name, kind in get_type_hints(Settings, include_extras=True).items()
    if get_origin(kind) is Literal
}


def _field_of(variable: str) -> str:
    field = variable.removeprefix(PREFIX).lower()
    if field not in Settings.__struct_fields__ or variable != PREFIX + field.upper():
        raise SettingError(
            variable, "there is no such setting; see docs/operations.md for the list"
        )
    return field


def _from_text(field: str, text: str) -> object:
    if text == "":  # how compose files say "not set"
        return _DEFAULTS[field]
    if field in _LISTS:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _in_any_case(field: str, value: object) -> object:
    """`YES` becomes true, `INFO` becomes `info`; anything else is left for the check."""
    if not isinstance(value, str):
        return value
    word = value.lower()
    if isinstance(_DEFAULTS.get(field), bool):
        return _FACTS.get(word, value)
    return word if word in _CHOICES.get(field, ()) else value


def _named(exc: msgspec.ValidationError) -> SettingError:
    problem, _, path = str(exc).partition(" - at `$.")
    field = path.rstrip("`").partition("[")[0]
    if field in _CHOICES:
        problem += f"; one of {', '.join(_CHOICES[field])}"
    elif isinstance(_DEFAULTS.get(field), bool):
        problem = f"must be one of {', '.join(_FACTS)}"
    return SettingError(PREFIX + field.upper(), problem)


def _check_together(settings: Settings) -> None:
    if settings.jwt_secret is not None and len(settings.jwt_secret.encode()) < JWT_SECRET_MIN_BYTES:
        raise SettingError("GATEWAY_JWT_SECRET", f"needs at least {JWT_SECRET_MIN_BYTES} bytes")
    if settings.brief_s > settings.medium_s:
        raise SettingError("GATEWAY_BRIEF_S", "must not exceed GATEWAY_MEDIUM_S")
    if settings.max_content_bytes > settings.max_frame_bytes:
        raise SettingError("GATEWAY_MAX_CONTENT_BYTES", "must not exceed GATEWAY_MAX_FRAME_BYTES")
    if settings.durability == "replicated" and settings.redis_url is None:
        raise SettingError(
            "GATEWAY_DURABILITY",
            "`replicated` needs GATEWAY_REDIS_URL: the embedded server has no replica",
        )
    keys = ("jwt_secret", "jwt_public_key", "jwks_url")
    given = [PREFIX + name.upper() for name in keys if getattr(settings, name) is not None]
    if len(given) > 1:
        raise SettingError(given[-1], f"set only one of {' and '.join(given)}")
