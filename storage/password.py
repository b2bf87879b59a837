"""A server's password: "name:password", which browsers ask their person for.

Enters: requests. Leaves: those that bring it, with the name; all others get 401.
"""

from __future__ import annotations

import base64
import hmac

from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import Response


def asked_for(auth: str) -> list[Middleware]:
    """Return what lets in only requests with this "name:password"; nothing for ""."""
    return [Middleware(AuthenticationMiddleware, backend=_Password(auth), on_error=_refused)] if auth else []


class _Password(AuthenticationBackend):
    def __init__(self, auth: str) -> None:
        self._name = auth.partition(":")[0]
        self._wanted = b"Basic " + base64.b64encode(auth.encode())

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser]:
        if not hmac.compare_digest(conn.headers.get("authorization", "").encode(), self._wanted):
            raise AuthenticationError
        return AuthCredentials(), SimpleUser(self._name)


def _refused(conn: HTTPConnection, error: AuthenticationError) -> Response:
    return Response(status_code=401, headers={"www-authenticate": 'Basic realm="dst", charset="UTF-8"'})
