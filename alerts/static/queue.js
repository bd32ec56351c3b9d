// The live list: a hint from the server, a fresh list by htmx, morphed in. The database is the truth; the stream is a hint.
"use strict";
(() => {
  const list = document.getElementById("list");
  const lost = document.getElementById("lost");
  const say = document.getElementById("say");
  const find = document.getElementById("find");
  document.getElementById("tools").hidden = false;

  // Refresh: on a hint, and every minute, because things also become late without anything moving ------------
  // The first hint at once, then at most one refresh in so long: hints that never stop must not postpone it for ever.
  const EVERY_MS = 500;
  let waiting = 0;
  let asked = 0;
  function refresh() {
    waiting ||= setTimeout(() => {
      waiting = 0;
      asked = Date.now();
      htmx.trigger(list, "refresh");
    }, Math.max(0, asked + EVERY_MS - Date.now()));
  }
  setInterval(refresh, 60_000);
  document.addEventListener("visibilitychange", () => document.hidden || refresh());

  // A form somebody has opened is left alone, and so is the row under their hands -------------------------------------
  Idiomorph.defaults.callbacks.beforeNodeMorphed = (old) =>
    !(old instanceof Element && old.matches(".row") && old.querySelector("details[open]") && old.contains(document.activeElement));
  Idiomorph.defaults.callbacks.beforeNodeRemoved = (old) =>
    !(old instanceof Element && old.matches(".row") && old.querySelector("details[open]") && old.contains(document.activeElement));
  Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, element, kind) =>
    !(name === "open" && element.matches("details") && kind === "remove");

  // Nobody asked for a refresh: it must not keep somebody signed in who went away.
  document.body.addEventListener("htmx:configRequest", (event) => {
    if (event.detail.elt === list) event.detail.headers["Lamplight-By-Itself"] = "1";
  });
  list.addEventListener("htmx:beforeRequest", (event) => {
    // After an act its own row may change again.
    if (event.detail.requestConfig.verb === "post") document.activeElement?.closest?.("details")?.removeAttribute("open");
  });
  let row = null;
  document.body.addEventListener("htmx:beforeSwap", () => {
    row = document.activeElement?.closest?.(".row")?.id ?? null;
  });
  document.body.addEventListener("htmx:afterSettle", () => {
    narrow();
    if (row && !document.activeElement?.closest?.(".row")) document.getElementById(row)?.focus({ preventScroll: true });
    refreshed = new Date();
  });

  // Find in the list ----------------------------------------------------------------------------------------------------
  function narrow() {
    const words = find.value.trim().toLowerCase();
    for (const one of list.querySelectorAll("[data-name]")) one.hidden = words !== "" && !one.dataset.name.includes(words);
  }
  find.addEventListener("input", narrow);
  find.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      find.value = "";
      narrow();
      find.blur();
    }
    if (event.key === "Enter") list.querySelector(".row:not([hidden])")?.focus();
  });

  // The stream ----------------------------------------------------------------------------------------------------------
  const SILENT_MS = 40_000; // the server speaks every 15 s
  const said = new Set();
  let heard = Date.now();
  let since = null;
  let refreshed = new Date();
  let stream = null;
  const clock = (at) => at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

  function alive() {
    heard = Date.now();
    if (since) {
      since = null;
      lost.hidden = true;
      refresh();
    }
  }
  function quiet() {
    since ??= new Date(heard);
    lost.textContent = `Live updates lost since ${clock(since)}. The list is from ${clock(refreshed)} and refreshes every half minute.`;
    lost.hidden = false;
  }
  function connect() {
    stream?.close();
    stream = new EventSource(`/queue/stream?since=${last}`);
    stream.addEventListener("ping", alive);
    stream.addEventListener("moved", (event) => {
      alive();
      const moved = JSON.parse(event.data);
      last = Math.max(last, moved.seq);
      if (said.has(moved.seq)) return;
      said.add(moved.seq);
      if (moved.say) say.textContent = moved.say;
      refresh();
    });
    stream.addEventListener("error", () => {
      if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 5_000);
    });
  }
  let last = Number(list.dataset.seq);
  connect();
  setInterval(() => {
    const silent = Date.now() - heard;
    if (stream.readyState !== EventSource.OPEN && silent > 3_000) quiet();
    if (silent > SILENT_MS) {
      quiet();
      connect(); // a pulled cable is not noticed by the browser
      heard = Date.now() - SILENT_MS + 10_000;
    }
  }, 1_000);
  setInterval(() => since && refresh(), 30_000);
})();
