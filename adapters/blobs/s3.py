"""A bucket of an object store that speaks S3, for contents: AWS, MinIO, Ceph and others.

The client (minio, an extra) is not asynchronous, so each call has a thread. An object is there whole or not at all, and after
an answer to the writing it is durable; that is all that is asked of the store. Keys come from the settings, or from where
AWS keeps them (environment, shared file, instance role).
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from urllib.parse import urlsplit

from domain.errors import BlobStorageError

if TYPE_CHECKING:
    from minio import Minio

P = ParamSpec("P")
Result = TypeVar("Result")


class S3Vault:
    """Implements `application.outside_blobs.Vault`."""

    def __init__(self, client: Minio, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    async def put(self, name: str, content: bytes, media_type: str) -> None:
        await _done(self._put, name, content, media_type)

    async def get(self, name: str) -> bytes | None:
        return await _done(self._get, name)

    async def drop(self, name: str) -> None:
        await _done(self._client.remove_object, self._bucket, self._prefix + name)

    async def check(self) -> None:
        if not await _done(self._client.bucket_exists, self._bucket):
            raise BlobStorageError(f"the bucket {self._bucket} (RETRACE_BLOBS) does not exist")

    def _put(self, name: str, content: bytes, media_type: str) -> None:
        key = self._prefix + name
        self._client.put_object(self._bucket, key, io.BytesIO(content), len(content), content_type=media_type)

    def _get(self, name: str) -> bytes | None:
        from minio.error import S3Error

        try:
            answer = self._client.get_object(self._bucket, self._prefix + name)
        except S3Error as error:
            if error.code == "NoSuchKey":
                return None
            raise
        try:
            return bytes(answer.read())
        finally:
            answer.close()
            answer.release_conn()


def open_s3(
    url: str, *, endpoint: str | None, region: str | None, access_key: str | None, secret_key: str | None
) -> S3Vault:
    """The vault that ``s3://bucket/prefix`` names. Raises ModuleNotFoundError where the extra is not installed, ValueError
    for what is no address.
    """
    from minio import Minio
    from minio.credentials.providers import (
        AWSConfigProvider,
        ChainedProvider,
        EnvAWSProvider,
        IamAwsProvider,
        StaticProvider,
    )
    from urllib3 import PoolManager, Retry, Timeout

    parts = urlsplit(url)
    at = urlsplit(endpoint or "https://s3.amazonaws.com")
    provider = (
        StaticProvider(access_key, secret_key)
        if access_key is not None and secret_key is not None
        else ChainedProvider([EnvAWSProvider(), AWSConfigProvider(), IamAwsProvider()])
    )
    pool = PoolManager(timeout=Timeout(connect=5, read=30), retries=Retry(2, backoff_factor=0.2), maxsize=16)
    client = Minio(
        endpoint=at.netloc, secure=at.scheme == "https", region=region, credentials=provider, http_client=pool
    )
    prefix = parts.path.strip("/")
    return S3Vault(client, parts.netloc, f"{prefix}/" if prefix else "")


async def _done(work: Callable[P, Result], *arguments: P.args, **named: P.kwargs) -> Result:
    from minio.error import MinioException
    from urllib3.exceptions import HTTPError, MaxRetryError

    try:
        return await asyncio.to_thread(work, *arguments, **named)
    except (MinioException, HTTPError, OSError, ValueError) as error:
        why = error.reason if isinstance(error, MaxRetryError) and error.reason else error
        raise BlobStorageError(f"the object store of large values (RETRACE_BLOBS) cannot be used: {why}") from error
