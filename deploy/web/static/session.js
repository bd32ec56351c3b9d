// Presence: a touch renews the session now and then; nobody for a while, and the page is left for the sign-in page.
"use strict";
(() => {
  const idle = 1000 * Number(document.querySelector('meta[name="idle-seconds"]')?.content ?? 0);
  if (!idle) return;
  const TOUCHED = "lamplight.present"; // shared by all pages of this browser
  const TELL_MS = 60_000;
  const WARN_MS = 60_000;
  let told = Date.now();
  let warning = null;
  const touched = () => Math.max(Number(localStorage.getItem(TOUCHED)) || 0, opened);
  const opened = Date.now();
  localStorage.setItem(TOUCHED, String(opened));

  function leave() {
    location.replace(`/sign-in?idle=true&next=${encodeURIComponent(location.pathname + location.search)}`);
  }
  function touch() {
    const now = Date.now();
    if (now - touched() >= idle) return leave(); // a laptop that was asleep
    localStorage.setItem(TOUCHED, String(now));
    warning?.remove();
    warning = null;
    if (now - told < TELL_MS) return;
    told = now;
    fetch("/here", { redirect: "manual", cache: "no-store" })
      .then((answer) => answer.type === "opaqueredirect" && leave())
      .catch(() => {}); // no connection: the next touch tells
  }
  for (const kind of ["keydown", "pointerdown", "wheel", "touchstart"]) addEventListener(kind, touch, { passive: true, capture: true });

  function look() {
    const left = idle - (Date.now() - touched());
    if (left <= 0) return leave();
    if (left > WARN_MS || warning) return;
    warning = document.createElement("p");
    warning.className = "idle-warning";
    warning.setAttribute("role", "alert");
    warning.textContent = "Nobody has used this page for a while. You will be signed out in a minute; press any key to stay.";
    document.body.append(warning);
  }
  setInterval(look, 5_000);
  document.addEventListener("visibilitychange", () => document.hidden || look());
})();
