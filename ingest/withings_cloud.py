"""Withings over HTTPS: measures of one account, with its tokens renewed when they have run out."""

import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Final

import msgspec

from ingest.cloud_call import OK, call, fields, records, value
from ingest.webhook_service import Renewed
from ingest.webhook_store import Account, Tokens

BASE: Final = "https://wbsapi.withings.net"
PRESSURES: Final = "9,10,11"  # diastolic, systolic, pulse
TOKEN_OVER: Final = frozenset({100, 101, 102, 200, 401})  # HTTP says 200 all the same, mostly


class Withings:
    """`POST /measure` (action getmeas) and `POST /v2/oauth2` (action requesttoken)."""

    def __init__(self, base: str = BASE) -> None:
        self._base = base

    async def measures(
        self, account: Account, *, since: int | None, until: int | None, reached: str = ""
    ) -> Renewed:
        """Each measure group alone, from the offset `reached` on; a status other than 0 is trouble, not data."""
        form: dict[str, str] = {"action": "getmeas", "meastypes": PRESSURES, "category": "1"}
        form |= {
            name: str(second)
            for name, second in (("startdate", since), ("enddate", until))
            if second is not None
        }
        if reached:
            form["offset"] = reached
        body, status = await self._post("/measure", form, account.tokens.access)
        tokens = None
        if status in TOKEN_OVER:
            tokens, trouble = await self._renew(account)
            if tokens is None:
                return Renewed((), trouble=trouble, reached=reached)
            body, status = await self._post("/measure", form, tokens.access)
        if status != 0:
            return Renewed((), tokens, trouble=f"status-{status}", reached=reached)
        alone = records(body, "measuregrps", "timezone")
        said = [body] if alone is None else alone
        offset = value(body, "offset") if alone and value(body, "more") else None
        on = isinstance(offset, int) and str(offset) != reached
        return Renewed(
            tuple(msgspec.json.encode({"status": 0, "body": one}) for one in said),
            tokens,
            reached=str(offset) if on else "",
        )

    async def _renew(self, account: Account) -> tuple[Tokens | None, str]:
        form = {
            "action": "requesttoken",
            "grant_type": "refresh_token",
            "client_id": account.client.client_id,
            "client_secret": account.client.client_secret,
            "refresh_token": account.tokens.refresh,
        }
        told, status = await self._post("/v2/oauth2", form)
        if status != 0:
            return None, f"token-status-{status}"
        access, refresh = value(told, "access_token"), value(told, "refresh_token")
        if not isinstance(access, str) or not isinstance(refresh, str):
            return None, "token-missing"
        return Tokens(access=access, refresh=refresh), ""

    async def _post(
        self, path: str, form: Mapping[str, str], token: str | None = None
    ) -> tuple[dict[str, msgspec.Raw], int]:
        """The `body` of the answer and the vendor's own status; -1: no answer, or one that is not theirs."""
        headers = {"authorization": f"Bearer {token}"} if token is not None else {}
        data = urllib.parse.urlencode(form).encode()
        told = await call(urllib.request.Request(self._base + path, data, headers))  # noqa: S310 - our own constant
        status = value(told.fields, "status")
        if told.code not in (0, OK):
            return {}, status if isinstance(status, int) and status else told.code
        return fields(told.fields.get("body", b"")), status if isinstance(status, int) else -1
