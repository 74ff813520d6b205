"""A token for OAUTHBEARER by the client-credentials grant, kept until it nears its end. Blocking: call it in a thread.

Never logs or repeats user, password or token.
"""

import base64
import json
import threading
import time
import urllib.error
import urllib.request
from urllib.parse import urlencode, urlsplit

from collectors.base import CollectorError
from collectors.kafka.address import Address

SECONDS = 5
MOST_BYTES = 64 * 1024
LEFT_SHARE = 0.35
"""librdkafka asks again when a fifth of a token's time is left: by then there is a new one, and it need not wait."""


class Tokens:
    """One source's tokens, the same for both libraries."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._token, self._ends, self._begins = "", 0.0, 0.0

    def current(self) -> tuple[str, float]:
        """The token and when it ends, a new one if the old one nears its end. Raises CollectorError."""
        with self._lock:
            now = time.time()
            if self._ends - now <= LEFT_SHARE * (self._ends - self._begins):
                self._token, self._ends = fetch_token(self._address)
                self._begins = now
            return self._token, self._ends


def fetch_token(address: Address) -> tuple[str, float]:
    """The token and when it ends (seconds since the epoch). Raises CollectorError."""
    url = address.token_url or ""
    if urlsplit(url).scheme not in ("http", "https"):
        raise CollectorError("?token_url= in the source's URL must be http:// or https://", permanent=True)
    form = {"grant_type": "client_credentials"} | ({"scope": address.scope} if address.scope else {})
    who = base64.b64encode(f"{address.user}:{address.password}".encode()).decode()
    request = urllib.request.Request(  # noqa: S310 - the scheme was looked at above
        url, urlencode(form).encode(), {"Authorization": f"Basic {who}", "Accept": "application/json"}
    )
    host = urlsplit(url).hostname
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310 - as above
            found = json.loads(answer.read(MOST_BYTES))
        return str(found["access_token"]), time.time() + float(found.get("expires_in", 300))
    except urllib.error.HTTPError as error:
        error.close()
        refused = error.code in (400, 401, 403)
        raise CollectorError(f"the token server at {host} answered {error.code}", permanent=refused) from None
    except (OSError, ValueError, KeyError, TypeError):
        raise CollectorError(f"the token server at {host} gave no token") from None
