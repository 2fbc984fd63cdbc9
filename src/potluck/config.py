"""What a user decided: `potluck.toml`, then the environment on top, as one frozen `Settings`.

Rules: every default is the safe one, so that an empty file is a good file. Unknown keys refuse to start,
naming file and line. A variable POTLUCK_PORT sets `port`, POTLUCK_TIMEOUTS_STALL sets `timeouts.stall`; lists
are separated by commas. Provider keys are never written in this file, only the names of their variables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import platformdirs

from potluck import environment
from potluck.errors import ConfigError
from potluck.strict import Document, Where, meant
from potluck.techniques import STAGES, Batching, Cache, Cascade, Context

TEMPLATE = Path(__file__).with_name("potluck.toml")
MIB = 1024 * 1024

Positive = Annotated[int, msgspec.Meta(ge=1)]
Natural = Annotated[int, msgspec.Meta(ge=0)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class Timeouts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Seconds. The first six are for providers, the `client_` ones against clients that dawdle."""

    connect: Seconds = 5.0
    first_token: Seconds = 30.0  # and for the headers before it
    answer: Seconds = 120.0  # of a whole JSON answer, which comes when the last word is known
    first_token_local: Seconds = 120.0  # a small machine reads a long prompt slowly
    stall: Seconds = 30.0  # between two chunks
    total: Seconds = 600.0
    client_header: Seconds = 10.0
    client_body: Seconds = 30.0


class Waiting(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Requests that would rather wait for room than fail. Seconds, and how many in all workers together."""

    max_wait: Annotated[float, msgspec.Meta(ge=0)] = 0.0  # of a request that says nothing of it
    longest: Seconds = 300.0  # the most that a request may ask for
    max_waiting: Positive = 512
    max_waiting_per_client: Positive = 128
    keep_alive: Seconds = 10.0  # between two comments to a streaming client that waits


class Pacing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How one free account is used, so that it looks like a person's use. Not a provider's numbers: our manners."""

    enabled: bool = True
    gap: Annotated[float, msgspec.Meta(ge=0)] = 0.25  # seconds between two requests, in the long run
    burst: Positive = 8  # at once, after a pause
    concurrent: Natural = 8  # in flight; 0 = no cap
    per_host: Annotated[float, msgspec.Meta(ge=0)] = 10.0  # requests a second to one host; 0 = no cap
    max_delay: Annotated[float, msgspec.Meta(ge=0)] = 2.0  # seconds every request waits rather than fail


class Batches(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Work in the background on what the quotas have left over, and the files it needs."""

    at_once: Positive = 8  # lines in flight in each worker while nobody interactive is served
    max_requests: Positive = 50_000  # lines of one batch
    max_unfinished: Positive = 50  # batches of one client key
    max_bytes_per_client: Positive = 1024 * MIB  # of all its files


class ProviderPacing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[providers.<id>.pacing]`: what differs for one provider. Written down, it binds any address, loopback too."""

    enabled: bool = True
    gap: Annotated[float, msgspec.Meta(ge=0)] | None = None
    burst: Positive | None = None
    concurrent: Natural | None = None
    per_host: Annotated[float, msgspec.Meta(ge=0)] | None = None


class Local(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The embedded model, and other model servers on this machine."""

    enabled: bool = True
    model: str = ""  # path of a GGUF file; "" is the one that comes with Potluck
    context: Positive = 4096  # tokens
    threads: Natural = 0  # 0 = as many as suit the machine
    discover: bool = True  # ask the well-known loopback ports for other servers


class Provider(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[providers.<id>]`: what differs from the catalog for this user. Empty means: as the catalog has it."""

    enabled: bool = True
    base_url: str = ""
    key_env: str = ""
    plan: str = ""  # a plan named in the catalog: it changes the limits that bind
    signed_up: date | None = None  # for quotas that come back monthly from the day of sign-up
    budget_day: str | float | None = None  # US dollars a day (of UTC) for what is not free there
    budget_month: str | float | None = None  # US dollars a calendar month (of UTC)
    price_in: Annotated[float, msgspec.Meta(ge=0)] | None = None  # US dollars per million tokens, where the
    price_out: Annotated[float, msgspec.Meta(ge=0)] | None = None  # catalog does not know it
    pacing: ProviderPacing | None = None

    @property
    def budgets(self) -> tuple[int | None, int | None]:
        """Micro-USD a day and a month; None = none was set. Raises ValueError for what is no amount of money."""
        return micro_usd(self.budget_day), micro_usd(self.budget_month)

    @property
    def price(self) -> tuple[float, float] | None:
        return None if self.price_in is None or self.price_out is None else (self.price_in, self.price_out)

    @property
    def signup(self) -> float:
        """Midnight UTC of the sign-up day in epoch seconds, 0 = unknown."""
        day = self.signed_up
        return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() if day else 0.0


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[profiles.<name>]`: a named set of stages and routing wishes, chosen with the `model` field."""

    stages: tuple[str, ...] = ()
    model: str = "auto"
    private: bool = False  # never leaves this machine
    min_quality: Annotated[int, msgspec.Meta(ge=0, le=5)] = 0
    max_wait: Annotated[float, msgspec.Meta(ge=0)] | None = None  # seconds; none = as [waiting] says
    priority: Literal["high", "normal", "low"] = "normal"
    cache: Cache | None = None  # none: as [cache] says


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything a user may decide."""

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 4711
    workers: Positive = 1
    data_dir: str = ""  # "" is the platform's place for a user's data; see `home`
    tokenizer: str = "o200k_base"  # what measures prompts where potluck[tokens] is installed; "" = bytes
    store: str = ""  # where quotas are counted: "" is a file in data_dir; redis://host:port/0 for many hosts
    providers_dir: str = ""  # more provider files; a shipped id replaces or extends the shipped one
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    never_bill: bool = True
    record_prompts: bool = False
    continue_streams: bool = True  # a stream that breaks off is gone on with by another target, marked
    keep_records_days: Natural = 30  # 0 = for ever
    sim: bool = False
    anonymous_providers: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    max_body_bytes: Positive = 32 * MIB
    max_header_bytes: Positive = 32 * 1024
    max_connections: Positive = 4096
    max_connections_per_client: Positive = 512
    timeouts: Timeouts = Timeouts()
    waiting: Waiting = Waiting()
    pacing: Pacing = Pacing()
    local: Local = Local()
    stages: tuple[str, ...] = ()  # of requests that name no profile
    cache: Cache = Cache()
    context: Context = Context()
    cascade: Cascade = Cascade()
    batching: Batching = Batching()
    batches: Batches = Batches()
    providers: dict[str, Provider] = {}
    profiles: dict[str, Profile] = {}

    @property
    def home(self) -> Path:
        """Where the database and the models live."""
        return Path(self.data_dir).expanduser() if self.data_dir else platformdirs.user_data_path("potluck")

    @property
    def provider_directories(self) -> tuple[Path, ...]:
        """The user's directories of provider files, to be loaded after the shipped one."""
        return (Path(self.providers_dir).expanduser(),) if self.providers_dir else ()


def load(path: Path | str | None, environ: Mapping[str, str]) -> Settings:
    """The settings of a file (None: only defaults) with the environment on top. Raises ConfigError."""
    document = Document.open(Path(path)) if path is not None else Document("potluck.toml", "")
    settings = document.into(Settings)
    for where, problem in _check(settings):
        raise document.refusal(where, problem)
    over = environment.table(environ, Settings)
    if not over:
        return settings
    try:
        settings = msgspec.convert(environment.over(document.data, over), Settings, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"environment: {environment.in_environment(str(error))}") from None
    for where, problem in _check(settings):
        raise ConfigError(f"environment: {environment.variable(where)}: {problem}")
    return settings


def micro_usd(dollars: str | float | None) -> int | None:
    """Dollars as whole micro-USD; None stays None. Raises ValueError: money is never rounded behind one's back."""
    if dollars is None:
        return None
    try:
        # A TOML float is read as it is written: 0.1 is a tenth, not the nearest binary fraction.
        micro = Decimal(str(dollars).strip().removeprefix("$")) * 1_000_000
    except InvalidOperation:
        raise ValueError(f"'{dollars}' is not an amount of US dollars such as \"2.50\"") from None
    if not micro.is_finite() or not 0 <= micro <= 10**15 or micro != micro.to_integral_value():
        raise ValueError(f"'{dollars}' must be 0 or more US dollars, with six decimals at most")
    return int(micro)


def template() -> str:
    """The commented `potluck.toml` that `potluck init` writes: every setting, at its default."""
    return TEMPLATE.read_text(encoding="utf-8")


def _check(settings: Settings) -> Iterator[tuple[Where, str]]:
    for n, origin in enumerate(settings.cors_origins):
        if origin == "*":
            yield ("cors_origins", n), 'cors_origins may not be "*": every web page could spend your quotas'
        elif not origin.startswith(("http://", "https://")) or origin.endswith("/"):
            yield ("cors_origins", n), f"'{origin}' is not an origin such as https://chat.example.com"
    if settings.store and not settings.store.startswith(("redis://", "rediss://", "unix://")):
        yield (
            ("store",),
            "store is the URL of a Valkey or Redis server: redis://host:6379/0, rediss://…, unix://…",
        )
    for name, provider in settings.providers.items():
        if provider.base_url and not provider.base_url.startswith(("https://", "http://")):
            yield ("providers", name, "base_url"), "base_url must begin with https:// (http:// on loopback)"
        try:
            _ = provider.budgets
        except ValueError as error:
            yield ("providers", name, _budget_at_fault(provider)), str(error)
        if (provider.price_in is None) != (provider.price_out is None):
            yield ("providers", name), "price_in and price_out go together"
        if provider.key_env and not provider.key_env.replace("_", "").isalnum():
            yield (
                ("providers", name, "key_env"),
                "key_env is the name of an environment variable, never the key itself",
            )
    for where, stages in _stages(settings):
        for n, stage in enumerate(stages):
            if stage not in STAGES:
                yield (*where, n), f"there is no stage '{stage}'{meant(stage, STAGES)}"
    if settings.timeouts.total < settings.timeouts.first_token:
        yield ("timeouts", "total"), "total may not be shorter than first_token"


def _stages(settings: Settings) -> Iterator[tuple[Where, tuple[str, ...]]]:
    yield ("stages",), settings.stages
    for name, profile in settings.profiles.items():
        yield ("profiles", name, "stages"), profile.stages


def _budget_at_fault(provider: Provider) -> str:
    try:
        micro_usd(provider.budget_day)
    except ValueError:
        return "budget_day"
    return "budget_month"
