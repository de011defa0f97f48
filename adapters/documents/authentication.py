"""Authentication policies: checked once, and put in place of their names wherever a callout uses one.

A scheme is written out, or is ``{use: <secret>}``: then the secret holds the scheme's members.
"""

from __future__ import annotations

from adapters.documents.data import Secrecy, template
from adapters.documents.reader import Cursor
from domain.expressions import is_wrapped
from domain.plan import Template

_OAUTH2 = {
    "authority": "text",
    "grant": "grant",
    "client": "client",
    "request": "request",
    "issuers": "texts",
    "scopes": "texts",
    "audiences": "texts",
    "username": "text",
    "password": "text",
}
_UNSUPPORTED = {
    "grant": ("authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:token-exchange"),
    "client-authentication": ("client_secret_jwt",),
}
"""What the standard knows and we cannot do; a mere member of the standard (``subject``, ``actor``) likewise."""
_SCHEMES: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "basic": ({"username": "text", "password": "text"}, ("username", "password")),
    "bearer": ({"token": "text"}, ("token",)),
    "digest": ({"username": "text", "password": "text"}, ("username", "password")),
    "oauth2": ({**_OAUTH2, "endpoints": "endpoints"}, ("authority", "grant")),
    "oidc": (_OAUTH2, ("authority", "grant")),
}
_NESTED: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "client": ({"id": "text", "secret": "text", "assertion": "text", "authentication": "client-authentication"}, ()),
    "request": ({"encoding": "encoding"}, ()),
    "endpoints": ({"token": "text", "revocation": "text", "introspection": "text"}, ()),
}
_CHOICES = {
    "grant": ("client_credentials", "password"),
    "client-authentication": ("client_secret_post", "client_secret_basic", "private_key_jwt", "none"),
    "encoding": ("application/x-www-form-urlencoded", "application/json"),
}


def policy(cursor: Cursor, secrecy: Secrecy) -> Template:
    """An authentication policy that is written out."""
    if not cursor.is_object():
        return Template()
    if "certificate" in cursor.value:
        cursor.step("certificate").refuse("authentication by `certificate` is not supported", "unsupported")
        return Template()
    found = cursor.members(_SCHEMES)
    if len(found) != 1:
        cursor.refuse(f"expected exactly one of {', '.join(_SCHEMES)}")
    for name, scheme in found.items():
        if isinstance(scheme.value, dict) and "use" in scheme.value:
            named = scheme.members(("use",))["use"]
            secret = named.text("the name of a secret")
            if secret and secret not in secrecy.declared:
                named.refuse(f"the secret {secret!r} is not listed in use.secrets", "unknown-reference")
        else:
            _check(scheme, *_SCHEMES[name])
    return template(cursor, secrecy)


def _check(cursor: Cursor, kinds: dict[str, str], required: tuple[str, ...]) -> None:
    for name, member in cursor.members(kinds, required).items():
        kind = kinds[name]
        if isinstance(member.value, str) and is_wrapped(member.value):
            continue
        if kind == "text":
            member.text()
        elif kind == "texts":
            for item in member.items():
                item.text()
        elif member.value in _UNSUPPORTED.get(kind, ()):
            member.refuse(f"{member.value!r} is not supported; use one of {', '.join(_CHOICES[kind])}", "unsupported")
        elif kind in _CHOICES:
            member.choice(*_CHOICES[kind])
        else:
            _check(member, *_NESTED[kind])
