"""Who is asking: the checks that every route depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from fastapi import HTTPException

from yolocore_hub.server.limits import Buckets

if TYPE_CHECKING:
    from fastapi import Request

    from yolocore_hub.server.limits import Limits
    from yolocore_hub.server.tokens import Tokens

COOKIE: Final = "yolocore_hub"
BEARER: Final = "Bearer "


class SignInError(Exception):
    """A browser has to sign in before it sees this page."""


@dataclass(frozen=True)
class Access:
    """Checks keys and cookies, and counts requests.

    Attributes:
        tokens: the tokens of the server.
        is_public: whether anybody may look without signing in.
        requests: a bucket a token.
        wrong_keys: a bucket an address.
    """

    tokens: Tokens
    is_public: bool
    requests: Buckets
    wrong_keys: Buckets

    @classmethod
    def make(cls, tokens: Tokens, limits: Limits, *, is_public: bool) -> Self:
        """Return the access rules of a server."""
        return cls(tokens, is_public, Buckets(limits.requests), Buckets(limits.wrong_keys))

    def program(self, request: Request) -> str:
        """Return the id of the token of a program.

        Raises:
            HTTPException: 401 without a right key, 429 after too many wrong ones or too many requests.
        """
        key = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix(BEARER)
        token = self.known_key(request, key) if key else None
        if token is None:
            raise HTTPException(401, "a key is needed that this server knows: header x-api-key")
        slow_down(self.requests.wait(token))
        return token

    def known_key(self, request: Request, key: str) -> str | None:
        """Return the token's id of a right key; an address that tries many wrong ones is told to wait.

        A right key passes all the same: nobody can lock others out who come from the same address.

        Raises:
            HTTPException: 429.
        """
        token = self.tokens.check(key)
        if token is None:
            slow_down(self.wrong_keys.wait(request.client.host if request.client else ""))
        return token

    def visitor(self, request: Request) -> str | None:
        """Return the token's id of a browser that is signed in."""
        secret = request.cookies.get(COOKIE)
        return self.tokens.check_visit(secret) if secret else None

    def may_look(self, request: Request) -> bool:
        """Say whether a browser may see pages and files."""
        return self.is_public or self.visitor(request) is not None


def slow_down(seconds: float) -> None:
    """Refuse a request that comes too early.

    Raises:
        HTTPException: 429.
    """
    if seconds > 0:
        wait = str(max(1, round(seconds)))
        raise HTTPException(429, f"too many requests; come back in {wait} s", headers={"retry-after": wait})
