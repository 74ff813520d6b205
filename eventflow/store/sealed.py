"""Secrets at rest: what brokers' passwords look like in the database. Nothing else in it holds a key.

Each key is derived from a secret of the environment by HKDF-SHA256, for this use alone. The first one seals; all of
them open, so that a secret is changed by putting the new one before the old one (README: "Changing the secret key").
"""

import base64

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

PURPOSE = b"eventflow: brokers' passwords at rest, v1"


class SealedError(Exception):
    """It was sealed with a key that is not here any more."""


def _key(secret: str) -> Fernet:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=PURPOSE).derive(secret.encode())
    return Fernet(base64.urlsafe_b64encode(derived))


def _keys() -> MultiFernet:
    return MultiFernet([_key(secret) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])


def seal(secret: str) -> str:
    """Only `unseal` reads it. An empty secret stays empty: that there is none is no secret."""
    return _keys().encrypt(secret.encode()).decode() if secret else ""


def unseal(sealed: str) -> str:
    """The secret. Raises SealedError."""
    try:
        return _keys().decrypt(sealed.encode()).decode() if sealed else ""
    except InvalidToken:
        raise SealedError("it was sealed with another secret key") from None


def reseal(sealed: str) -> str | None:
    """The same secret under the newest key; None when no key of ours opens it."""
    try:
        return _keys().rotate(sealed.encode()).decode() if sealed else ""
    except InvalidToken:
        return None
