"""iHealth over HTTPS: blood pressures and glucoses of one account, page by page, with its token renewed when it is over."""

import urllib.parse
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from ingest.cloud_call import OK, call, records, value
from ingest.webhook_service import Renewed
from ingest.webhook_store import Account, Tokens

BASE: Final = "https://api.ihealthlabs.com:8443/openapiv2"


class Collection(NamedTuple):
    """One kind of data: its address, its key among what the vendor gave us, its list and the unit of that."""

    path: str
    key: str
    listed: str
    unit: str


COLLECTIONS: Final = (
    Collection("bp", "sv_bp", "BPDataList", "BPUnit"),
    Collection("glucose", "sv_glucose", "BGDataList", "BGUnit"),
)
TOKEN_OVER: Final = frozenset({"2002", "4001", "http-401"})
MOST_PAGES: Final = 5  # of fifty records each, in one turn, which must end within `webhook_store.LEASE`
LAST_PAGE: Final = 1_000  # a vendor that says for ever that there is more is in trouble


class IHealth:
    """`GET /user/<account>/bp.json` and `/glucose.json`, and `/OAuthv2/userauthorization/` for a new token."""

    def __init__(self, base: str = BASE) -> None:
        self._base = base

    async def measures(
        self, account: Account, *, since: int | None, until: int | None, reached: str = ""
    ) -> Renewed:
        """Some pages from `reached` ("glucose:3") on; an error code inside an HTTP 200 is trouble, not data."""
        token, found = account.tokens, Renewed((), reached=reached)
        if token.access:
            found = await self._pages(account, token.access, since, until, reached)
        if found.trouble not in TOKEN_OVER and token.access:
            return _told(found)
        tokens, trouble = await self._renew(account)
        if tokens is None:
            return found._replace(trouble=trouble)
        rest = await self._pages(account, tokens.access, since, until, found.reached)
        return _told(rest._replace(records=(*found.records, *rest.records), tokens=tokens))

    async def _pages(
        self, account: Account, token: str, since: int | None, until: int | None, reached: str
    ) -> Renewed:
        """What the next pages hold; `trouble` is the vendor's own code here, `reached` the page that is next."""
        ours = [one for one in COLLECTIONS if one.key in account.client.more]  # the others we were not given
        path, _, count = reached.partition(":")
        at = next((n for n, one in enumerate(ours) if one.path == path), 0)
        number = int(count) if count.isdecimal() else 1
        found: list[bytes] = []
        for _ in range(MOST_PAGES):
            if at == len(ours):
                return Renewed(tuple(found))
            of = ours[at]
            here = f"{of.path}:{number}"
            if number > LAST_PAGE:
                return Renewed(tuple(found), trouble="too-many-pages", reached=here)
            asked = self._client(account) | {
                "access_token": token,
                "sc": account.client.more.get("sc", ""),
                "sv": account.client.more[of.key],
                "page_index": str(number),
            }
            asked |= {
                name: str(second)
                for name, second in (("start_time", since), ("end_time", until))
                if second is not None
            }
            who = urllib.parse.quote(account.account, safe="")
            page, trouble = await self._get(f"/user/{who}/{of.path}.json/", asked)
            if trouble:
                return Renewed(tuple(found), trouble=trouble, reached=here)
            alone = records(page, of.listed, of.unit)
            found += map(msgspec.json.encode, [page] if alone is None else alone)
            if alone and value(page, "NextPageUrl"):
                number += 1
            else:
                at, number = at + 1, 1
        return Renewed(tuple(found), reached=f"{ours[at].path}:{number}" if at < len(ours) else "")

    async def _renew(self, account: Account) -> tuple[Tokens | None, str]:
        told, trouble = await self._get(
            "/OAuthv2/userauthorization/",
            self._client(account)
            | {
                "response_type": "refresh_token",
                "refresh_token": account.tokens.refresh,
                "UserID": account.account,
            },
        )
        access, refresh = value(told, "AccessToken"), value(told, "RefreshToken")
        if not isinstance(access, str) or not isinstance(refresh, str):
            return None, f"token-code-{trouble or 'missing'}"
        return Tokens(access=access, refresh=refresh), ""

    @staticmethod
    def _client(account: Account) -> dict[str, str]:
        ours = account.client
        return {
            "client_id": ours.client_id,
            "client_secret": ours.client_secret,
            "redirect_uri": ours.more.get("redirect_uri", ""),
        }

    async def _get(self, path: str, asked: Mapping[str, str]) -> tuple[dict[str, msgspec.Raw], str]:
        """The vendor's object, or its error code; "no-answer" where there is none, or none of theirs."""
        told = await call(f"{self._base}{path}?{urllib.parse.urlencode(asked)}")
        if "ErrorCode" in told.fields:
            return {}, str(value(told.fields, "ErrorCode"))
        if told.code not in (0, OK):
            return {}, f"http-{told.code}"
        return (told.fields, "") if told.fields else ({}, "no-answer")


def _told(found: Renewed) -> Renewed:
    return found._replace(trouble=f"code-{found.trouble}") if found.trouble else found
