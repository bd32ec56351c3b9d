"""What several services open alike."""

from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ccm_bridge.anchor_store import load_key
from deploy import database
from deploy.settings import Secret, Settings, SettingsError
from ingest.strongbox import Strongbox
from risk.model_store import loaded
from risk.scoring import Model
from risk.store import packaged_model


def utc_now() -> datetime:
    return datetime.now(UTC)


def strongbox(settings: Settings) -> Strongbox | None:
    """What seals and opens the bytes of what was refused; None without a key."""
    key = settings.refusal_key.reveal()
    try:
        return Strongbox(key.split(",")) if key else None
    except ValueError as error:
        raise SettingsError(f"LAMPLIGHT_REFUSAL_KEY: {error}") from None


def signer(settings: Settings) -> Ed25519PrivateKey | None:
    """The key that signs the ledgers' anchors; None where none is named. A service loads it and never makes one."""
    path = settings.anchor_key
    try:
        return load_key(path) if path else None
    except (OSError, TypeError, ValueError) as error:
        raise SettingsError(
            f"LAMPLIGHT_ANCHOR_KEY: no Ed25519 key can be read from {path} ({type(error).__name__});"
            f" mount the file, or make a new key once with `lamplight ccm make-key {path}`"
        ) from None


async def models(dsn: Secret) -> tuple[Model, Model | None]:
    """The model that is live and the one in the shadow, as they were placed; until the next start nothing changes them."""
    async with database.pool(dsn, size=1) as pool:

        async def read() -> tuple[Model, Model | None]:
            async with pool.connection() as conn:
                return await loaded(conn, packaged_model())

        return await database.steadily(pool, read, what="models")
