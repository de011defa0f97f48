"""Keys come in several forms, and only Ed25519 ones are taken."""

from __future__ import annotations

import base64
import stat

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from adapters.settings import SettingsError, read_settings
from adapters.signatures import (
    Ed25519Keys,
    Ed25519Signer,
    KeyUnusableError,
    key_id,
    make_key,
    public_pem,
    read_private,
    read_public,
)

RAW = base64.b64encode(bytes(range(32))).decode()


def test_a_private_key_is_read_from_a_file_from_text_and_from_base64(tmp_path):
    path = tmp_path / "key.pem"
    key = make_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    for given in (str(path), text, text.replace("\n", "\\n"), f"  {path} "):
        assert key_id(read_private(given).public_key()) == key_id(key.public_key())
    (tmp_path / "raw").write_text(RAW + "\n")
    assert key_id(read_private(RAW).public_key()) == key_id(read_private(str(tmp_path / "raw")).public_key())
    with pytest.raises(FileExistsError):
        make_key(path)


def test_a_public_key_is_read_in_the_same_forms_and_from_a_private_one(tmp_path):
    key = make_key(tmp_path / "key.pem").public_key()
    pem = public_pem(key)
    (tmp_path / "public.pem").write_text(pem)
    raw = base64.b64encode(key.public_bytes_raw()).decode()
    for given in (pem, str(tmp_path / "public.pem"), str(tmp_path / "key.pem"), raw):
        assert key_id(read_public(given)) == key_id(key)


def of_another_kind() -> str:
    key = generate_private_key(SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def with_a_passphrase() -> str:
    key = read_private(RAW)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")).decode()


@pytest.mark.parametrize(
    "given", ["no such file", of_another_kind(), with_a_passphrase(), "-----BEGIN nonsense", RAW[:-8], "a\0b"]
)
def test_what_is_no_such_key_is_refused_without_being_told(given, monkeypatch):
    for read in (read_private, read_public):
        with pytest.raises(KeyUnusableError) as refused:
            read(given)
        assert given not in str(refused.value)
    if "\0" not in given:
        monkeypatch.setenv("RETRACE_AUDIT_KEY", given)
        with pytest.raises(SettingsError) as wrong:
            read_settings()
        assert wrong.value.problems[0].startswith("RETRACE_AUDIT_KEY ")
        assert given not in str(wrong.value)


def test_a_signature_holds_only_for_its_message_and_key():
    signer, other = Ed25519Signer(read_private(RAW)), Ed25519Signer(read_private(base64.b64encode(bytes(32)).decode()))
    keys = Ed25519Keys([other.public], current=signer.public)
    signature = signer.sign(b"message")
    assert keys.holds(signer.key_id, b"message", signature) is True
    assert keys.holds(signer.key_id, b"messag3", signature) is False
    assert keys.holds(other.key_id, b"message", signature) is False
    assert keys.holds("unknown", b"message", signature) is None
    assert keys.holds(signer.key_id, b"message", b"") is False
    assert [each["current"] for each in keys.listed()] == [True, False]
