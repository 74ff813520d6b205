"""RFC 9457 problem documents: every error of the API is one, and says what to do."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError


class Problem(Exception):  # noqa: N818  # RFC 9457 calls it a problem
    """Raised by an operation to end it with a problem document."""

    def __init__(self, status: int, detail: str, **extensions: Any) -> None:
        super().__init__(detail)
        self.status, self.detail, self.extensions = status, detail, extensions


def document(status: int, detail: str, extensions: Mapping[str, Any] | None = None) -> HttpResponse:
    """`application/problem+json` with type, title, status, detail and extension members."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return HttpResponse(
        orjson.dumps(body | dict(extensions or {})), status=status, content_type="application/problem+json"
    )


def install(api: NinjaAPI) -> None:
    """Answer every error that can leave an operation with a problem document."""

    def problem(request: HttpRequest, error: Any) -> HttpResponse:
        return document(error.status, error.detail, error.extensions)

    def unauthenticated(request: HttpRequest, error: Any) -> HttpResponse:
        response = document(
            401, "Send a bearer token (manage.py token create NAME --role viewer), or log in with a browser first."
        )
        response["WWW-Authenticate"] = 'Bearer realm="eventflow"'
        return response

    def invalid(request: HttpRequest, error: Any) -> HttpResponse:
        faults = [
            {"pointer": "/".join(str(part) for part in fault.get("loc", ())), "detail": str(fault.get("msg", ""))}
            for fault in error.errors
        ]
        return document(422, "The request does not fit; `errors` names each fault.", {"errors": faults})

    def missing(request: HttpRequest, error: Any) -> HttpResponse:
        return document(404, "There is no such thing here, or not any more.")

    def http(request: HttpRequest, error: Any) -> HttpResponse:
        return document(error.status_code, str(error))

    api.add_exception_handler(Problem, problem)
    api.add_exception_handler(AuthenticationError, unauthenticated)
    api.add_exception_handler(ValidationError, invalid)
    api.add_exception_handler(Http404, missing)
    api.add_exception_handler(HttpError, http)
