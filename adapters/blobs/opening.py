"""From the settings to the place where large values and files are kept."""

from __future__ import annotations

from pathlib import Path

from adapters.blobs.folder import FolderVault
from adapters.settings import Settings, SettingsError
from application.outside_blobs import Vault


def open_vault(settings: Settings) -> Vault | None:
    """None: into the database. Raises SettingsError."""
    if settings.blobs is None:
        return None
    if not settings.blobs.startswith("s3://"):
        return FolderVault(Path(settings.blobs).absolute())
    try:
        from adapters.blobs.s3 import open_s3

        return open_s3(
            settings.blobs,
            endpoint=settings.s3_endpoint,
            region=settings.s3_region,
            access_key=settings.s3_access_key,
            secret_key=settings.s3_secret_key,
        )
    except ModuleNotFoundError:
        raise SettingsError(["RETRACE_BLOBS names an object store: pip install retrace[s3]"]) from None
    except ValueError as error:
        raise SettingsError([f"RETRACE_BLOBS or RETRACE_S3_ENDPOINT cannot be used: {error}"]) from None
