"""iHealth over HTTPS: blood pressures and glucoses of one account, page by page, with its token renewed when it is over."""

import asyncio
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ingest.webhook_service import Renewed
from ingest.webhook_store import Account, Tokens

BASE: Final = "https://api.ihealthlabs.com:8443/openapiv2"
COLLECTIONS: Final = {
    "bp": "sv_bp",
    "glucose": "sv_glucose",
}  # each has a key of its own among what the vendor gave us
TOKEN_OVER: Final = frozenset({"2002", "4001"})
MOST_PAGES: Final = 20  # of fifty records each; beyond that the next notice continues
PATIENCE_S: Final = 20
LARGEST: Final = 1 << 20


class IHealth:
    """`GET /user/<account>/bp.json` and `/glucose.json`, and `/OAuthv2/userauthorization/` for a new token."""

    def __init__(self, base: str = BASE) -> None:
        self._base = base

    async def measures(self, account: Account, *, since: int | None, until: int | None) -> Renewed:
        """All pages as one list, as the decoder reads them; an error code inside an HTTP 200 is trouble, not data."""
        pages, trouble = await self._pages(account, account.tokens.access, since, until)
        tokens = None
        if trouble in TOKEN_OVER or not account.tokens.access:
            tokens, trouble = await self._renew(account)
            if tokens is None:
                return Renewed(None, trouble=trouble)
            pages, trouble = await self._pages(account, tokens.access, since, until)
        if trouble:
            return Renewed(None, tokens, trouble=f"code-{trouble}")
        return Renewed(msgspec.json.encode(pages), tokens)

    async def _pages(
        self, account: Account, token: str, since: int | None, until: int | None
    ) -> tuple[list[dict[str, Any]], str]:
        found: list[dict[str, Any]] = []
        for collection, key in COLLECTIONS.items():
            if key not in account.client.more:
                continue  # the vendor did not give us this one
            for number in range(1, MOST_PAGES + 1):
                asked = self._client(account) | {
                    "access_token": token,
                    "sc": account.client.more.get("sc", ""),
                    "sv": account.client.more[key],
                    "page_index": str(number),
                }
                asked |= {
                    name: str(second)
                    for name, second in (("start_time", since), ("end_time", until))
                    if second is not None
                }
                who = urllib.parse.quote(account.account, safe="")
                page = await self._get(f"/user/{who}/{collection}.json/", asked)
                if "ErrorCode" in page:
                    return [], str(page["ErrorCode"])
                found.append(page)
                if not page.get("NextPageUrl"):
                    break
        return found, ""

    async def _renew(self, account: Account) -> tuple[Tokens | None, str]:
        told = await self._get(
            "/OAuthv2/userauthorization/",
            self._client(account)
            | {
                "response_type": "refresh_token",
                "refresh_token": account.tokens.refresh,
                "UserID": account.account,
            },
        )
        access, refresh = told.get("AccessToken"), told.get("RefreshToken")
        if not isinstance(access, str) or not isinstance(refresh, str):
            return None, f"token-code-{told.get('ErrorCode', 'missing')}"
        return Tokens(access=access, refresh=refresh), ""

    @staticmethod
    def _client(account: Account) -> dict[str, str]:
        ours = account.client
        return {
            "client_id": ours.client_id,
            "client_secret": ours.client_secret,
            "redirect_uri": ours.more.get("redirect_uri", ""),
        }

    async def _get(self, path: str, asked: Mapping[str, str]) -> dict[str, Any]:
        """The vendor's object; `ErrorCode` "no-answer" where there is none, or none of theirs."""
        address = f"{self._base}{path}?{urllib.parse.urlencode(asked)}"

        def ask() -> bytes:
            with urllib.request.urlopen(address, timeout=PATIENCE_S) as answer:  # noqa: S310 - our own constant
                body: bytes = answer.read(LARGEST)
                return body

        try:
            told = msgspec.json.decode(await asyncio.to_thread(ask))
        except (urllib.error.URLError, OSError, msgspec.DecodeError):
            told = None
        return told if isinstance(told, dict) else {"ErrorCode": "no-answer"}
