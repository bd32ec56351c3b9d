"""What a process must be told, read once from the environment at the root. Nothing else reads the environment."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

PREFIX = "LAMPLIGHT_"


class SettingsError(Exception):
    """Every complaint about the environment at once, so that it is mended in one go."""


class Secret(str):
    """A text that prints as ***; read it with `.reveal()`, which is easy to search for."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def reveal(self) -> str:
        return str.__str__(self)


NO_SECRET = Secret("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of all processes; each process requires only what it uses (`require`)."""

    kafka: str = ""  # bootstrap servers, host:port[,host:port]
    partitions: int = 8  # of every topic; 64 or more in production
    replication: int = 1
    database: Secret = NO_SECRET  # DSN of lamplight_pipeline: the services
    database_web: Secret = NO_SECRET  # DSN of lamplight_web: the pages, under row-level security
    database_owner: Secret = NO_SECRET  # DSN of lamplight_owner: migrations only
    mqtt: str = ""  # host:port of the broker's TLS listener
    mqtt_ca: Path | None = None
    mqtt_cert: Path | None = None  # ingest's client certificate, or the gateway's
    mqtt_key: Path | None = None
    authority: Path | None = (
        None  # folder with ca.crt, ca.key and crl.pem: who may sign gateways' certificates
    )
    broker_reload: str = ""  # command that makes the broker read the revocation list again
    host: str = "127.0.0.1"
    web_port: int = 8080
    webhooks_port: int = 8081
    status_port: int = 0  # /metrics, /healthz, /readyz of this process; 0: none
    public_url: str = "http://127.0.0.1:8080"  # origin that browsers see; https makes cookies Secure
    smtp: str = ""  # host:port of the mail server that carries calls to people; empty: none are mailed
    smtp_from: str = ""  # the sender's address
    smtp_user: str = ""
    smtp_password: Secret = NO_SECRET
    webhook_secret: Secret = NO_SECRET  # signs calls by webhook; empty: none are posted
    vendor_key: Secret = NO_SECRET  # seals the secrets of vendors' clouds in the database: KEY, or NEW,OLD
    refusal_key: Secret = (
        NO_SECRET  # seals the bytes of what was refused, in the log and the database: KEY, or NEW,OLD
    )
    anchor_key: Path | None = None  # PEM of the Ed25519 key that signs the ledgers' daily anchors
    anchors: Path | None = None  # file to which signed anchors are appended, kept elsewhere
    demo_file: Path | None = None  # where the demo keeps its sign-ins

    def require(self, *names: str) -> "Settings":
        """Return self, or complain about every missing one of `names` at once."""
        missing = [f"{PREFIX}{name.upper()} is missing" for name in names if not getattr(self, name)]
        if missing:
            raise SettingsError("; ".join(missing))
        return self


def read(environ: Mapping[str, str]) -> Settings:
    """Settings from `environ`; refuses unknown LAMPLIGHT_ names and values of the wrong kind, all at once.

    >>> read({"LAMPLIGHT_WEB_PORT": "8081"}).web_port
    8081
    >>> read({"LAMPLIGHT_WEB_PORT": "high", "LAMPLIGHT_KAFKAA": "x"})
    Traceback (most recent call last):
    deploy.settings.SettingsError: LAMPLIGHT_KAFKAA is not a setting; LAMPLIGHT_WEB_PORT='high' is not a whole number
    """
    known = {f.name: f for f in fields(Settings)}
    values: dict[str, object] = {}
    wrong: list[str] = []
    for key in sorted(environ):
        if not key.startswith(PREFIX):
            continue
        name = key.removeprefix(PREFIX).lower()
        if name not in known:
            if name != "failpoints":  # armed by the command line, in fault tests only
                wrong.append(f"{key} is not a setting")
            continue
        text = environ[key]
        default = known[name].default
        if isinstance(default, int):
            if not text.isdecimal():
                wrong.append(f"{key}={text!r} is not a whole number")
                continue
            values[name] = int(text)
        elif isinstance(default, Secret):
            values[name] = Secret(text)
        elif default is None:
            values[name] = Path(text) if text else None
        else:
            values[name] = text
    if wrong:
        raise SettingsError("; ".join(wrong))
    return Settings(**values)  # type: ignore[arg-type]
