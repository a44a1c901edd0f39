"""Who may talk to the app: whoever holds the token, from this computer, from a page of ours. Pure ASGI, in front of every route."""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HERE = {"127.0.0.1", "localhost", "::1"}
# Gradio builds functions from text (custom HTML, charts), hence unsafe-eval; nothing may be asked of another machine.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}
NO_KEY = "Open Darkroom through the address that the launcher shows: it holds the key to this page."
NOT_HERE = "Darkroom answers only to the computer that it runs on; open it as http://127.0.0.1."
NOT_OURS = "This request came from another page, so it was not carried out."
NO_PROXY = "Darkroom does not fetch from other machines for the browser."


class Guard:
    """Lets a request through when it has the cookie; ``?token=…`` is traded for the cookie. With a password, that is asked for too."""

    def __init__(self, app: ASGIApp, token: str, port: int, password: str | None = None):
        self.app, self.token, self.password = app, token, password
        self.cookie = f"darkroom-{port}"  # cookies of one computer are shared by all its ports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":  # the app has no web sockets
            return await send({"type": "websocket.close", "code": 1008})
        answer = await self._answer(scope)
        if answer is not None:
            return await answer(scope, receive, send)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self.app(scope, receive, with_headers)

    async def _answer(self, scope: Scope) -> Response | None:
        """What is said instead of letting the request through; None lets it through."""
        headers = Headers(scope=scope)
        try:
            host, origin = urlsplit(f"//{headers.get('host', '')}"), urlsplit(headers.get("origin", ""))
        except ValueError:  # half an IPv6 address
            return PlainTextResponse(NOT_OURS, 403)
        if self.password is None and host.hostname not in HERE:  # another name for this address: DNS rebinding
            return PlainTextResponse(NOT_HERE, 403)
        if scope["method"] not in {"GET", "HEAD"}:
            foreign = "origin" in headers and origin.netloc != host.netloc
            if foreign or headers.get("sec-fetch-site") == "cross-site":
                return PlainTextResponse(NOT_OURS, 403)
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        if "token" in query and _same(query.pop("token"), self.token):
            return self._welcome(RedirectResponse(scope["path"] + (f"?{urlencode(query)}" if query else ""), 303))
        if not self._known(headers.get("cookie", "")):
            return await self._ask(headers)
        path = scope["path"].lower()
        if path.startswith(("/gradio_api/proxy=", "/proxy=")) or "file=http:" in path or "file=https:" in path:
            return PlainTextResponse(NO_PROXY, 403)
        return None

    def _welcome(self, response: Response) -> Response:
        response.set_cookie(self.cookie, self.token, httponly=True, samesite="strict", path="/", max_age=30 * 24 * 3600)
        return response

    def _known(self, cookie: str) -> bool:
        # not SimpleCookie: it gives up at a cookie of another program that is not by the book, and ours would be lost
        return _same(cookie_parser(cookie).get(self.cookie, ""), self.token)

    async def _ask(self, headers: Headers) -> Response:
        if self.password is None:
            return PlainTextResponse(NO_KEY, 403)
        kind, _, value = headers.get("authorization", "").partition(" ")
        if kind.lower() == "basic":
            try:
                given = base64.b64decode(value).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                given = ""
            if _same(given, self.password):
                return self._welcome(RedirectResponse("/", 303))
            await asyncio.sleep(1)  # guessing takes time
        challenge = {"WWW-Authenticate": 'Basic realm="Darkroom", charset="UTF-8"'}
        return PlainTextResponse("Darkroom asks for its password.", 401, challenge)


def _same(given: str, wanted: str) -> bool:
    return secrets.compare_digest(given.encode(), wanted.encode())
