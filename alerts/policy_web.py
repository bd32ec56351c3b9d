"""The practice's policy: what it promises, changed by an admin or a physician, every change on record."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from alerts import policy_store
from alerts.access import CHAINS
from alerts.hours import DAYS
from alerts.pages_web import CONFLICT, Pages
from alerts.policy_form import GATHERS, TARGETS, Form, changes, policy_of, week_text
from alerts.policy_store import Version


def add(routes: APIRouter, pages: Pages) -> None:
    """`/queue/policy`."""

    @routes.get("/policy", response_class=HTMLResponse)
    async def policy(request: Request) -> HTMLResponse:
        pages.allowed(request)
        return await _page(pages, request)

    @routes.post("/policy")
    async def change(request: Request) -> Response:
        """Put another version in force: `version` is the one that the page showed, plus one."""
        who = pages.desk.require(request, *CHAINS)
        sent = await request.form()
        form = {name: value.strip() for name, value in sent.items() if isinstance(value, str)}
        why, number = form.get("why", ""), form.get("version", "")
        async with pages.desk.transaction(request) as conn:
            held = (await policy_store.in_force(conn, [who.practice_id], otherwise=pages.policy)).of(
                who.practice_id
            )
            asked = policy_of(form, held, zone=who.zone)
            if isinstance(asked, str):
                refused = asked
            elif not changes(held, asked):
                refused = "Nothing is different."
            elif not why or not number.isdecimal():
                refused = "Say why: the next person will ask."
            else:
                version = Version(
                    version=int(number),
                    at=pages.desk.now(),
                    by=who.staff_id,
                    by_name=who.name,
                    why=why[:400],
                    content=asked,
                )
                done = await policy_store.add(conn, version, practice_id=who.practice_id)
                refused = "" if done else "Somebody else changed the policy meanwhile. Look again."
        if refused:
            return await _page(pages, request, notice=refused, form=form)
        return RedirectResponse("/queue/policy", status_code=303)


async def _page(
    pages: Pages, request: Request, *, notice: str = "", form: Form | None = None
) -> HTMLResponse:
    who = pages.desk.who(request)
    async with pages.desk.transaction(request) as conn:
        history = await policy_store.versions(conn)
    held = history[0].content if history else pages.policy
    before = [*(version.content for version in history[1:]), pages.policy][: len(history)]
    return pages.desk.page(
        request,
        "alerts/policy.html",
        status_code=CONFLICT if notice else 200,
        notice=notice,
        typed=form or {},
        policy=held,
        week=week_text(held.hours),
        days=DAYS,
        targets=TARGETS,
        gathers=GATHERS,
        severities=("critical", "high", "watch"),
        version=(history[0].version if history else 0) + 1,
        history=[
            (version, changes(old, version.content)) for version, old in zip(history, before, strict=True)
        ],
        works=who.role in CHAINS,
        clock=pages.act(request).clock,
    )
