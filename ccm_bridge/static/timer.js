// The timer in the browser: it says every few seconds that its person is working, and nothing else. The minutes live in
// the database; closing, crashing or reloading this page loses one beat at most. It never starts by itself.
"use strict";
(() => {
  if (window.lamplightTimer) return; // one timer a page, also where two templates ask for it
  window.lamplightTimer = true;
  const token = document.querySelector('meta[name="csrf-token"]')?.content ?? "";
  const QUEUE = "lamplight.beats", TOUCHED = "lamplight.touched", LATEST_MS = 290_000;
  const panel = document.querySelector("#timer[data-timer]");
  let running = null; // {id, n, stretch, seconds, every, idle, state, since}
  let bar = null;

  const clock = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;
  const post = (path, fields) =>
    fetch(path, {
      method: "POST", redirect: "manual", keepalive: true,
      headers: { accept: "application/json", "x-csrf-token": token },
      body: new URLSearchParams(fields),
    });

  // Beats that could not be sent wait here, with their own instants, also over a reload.
  const queue = () => JSON.parse(localStorage.getItem(QUEUE) ?? "[]");
  const keep = (beats) => localStorage.setItem(QUEUE, JSON.stringify(beats));

  function say(words) {
    const where = panel?.querySelector("[data-words]") ?? bar?.querySelector("[data-words]");
    if (where) { where.textContent = words; where.hidden = !words; }
  }

  let sending = false;
  async function send() {
    if (sending) return;
    sending = true;
    try {
      for (let beats = queue(); beats.length; beats = queue()) {
        const beat = beats[0], ago = Date.now() - beat.at;
        if (ago < LATEST_MS && ago >= 0) {
          const answer = await post(`/timers/${beat.id}/beat`, { n: beat.n, stretch: beat.stretch, ago: (ago / 1000).toFixed(1) });
          if (answer.type === "opaqueredirect" || answer.status === 401 || answer.status === 403) {
            say("You are signed out. What was measured is safe; sign in to go on."); running = null; return;
          }
          if (answer.status >= 500) throw new Error("server");
          if (answer.status === 404 || answer.status === 409) { keep([]); location.reload(); return; }
          if (answer.ok) { // other pages beat too: a number that was used is taken for the same beat, and the work is lost
            const { last_n } = await answer.json();
            if (running?.id === beat.id) running.n = Math.max(running.n, last_n);
          }
        }
        keep(queue().slice(1));
      }
      say("");
    } catch {
      say("No connection. Your beats are kept here and sent when it is back.");
    } finally { sending = false; }
  }

  function beat() {
    if (!running || running.state !== "running") return;
    if (idle()) { pauseWhenIdle(); return; } // also after sleep: waking up is not working
    running.n += 1;
    keep([...queue(), { id: running.id, n: running.n, stretch: running.stretch, at: Date.now() }].slice(-40));
    send();
  }

  // Idle: no key, pointer or scroll in any Lamplight page for a while. The idle stretch itself stops counting there.
  const touch = () => localStorage.setItem(TOUCHED, String(Date.now()));
  for (const kind of ["keydown", "pointerdown", "pointermove", "scroll", "touchstart"]) {
    let last = 0;
    addEventListener(kind, () => { if (Date.now() - last > 2000) { last = Date.now(); touch(); } }, { passive: true });
  }

  const idle = () => Date.now() - Number(localStorage.getItem(TOUCHED) ?? 0) >= running.idle * 1000;

  async function pauseWhenIdle() {
    if (!running || running.state !== "running" || !idle()) return;
    running.state = "paused";
    try { await post(`/timers/${running.id}/pause`, {}); } catch { /* without a connection the beats simply end here */ }
    location.reload();
  }

  function show() {
    if (!running) return;
    const more = running.state === "running" ? (Date.now() - running.since) / 1000 : 0;
    const words = clock(running.seconds + more);
    const out = panel?.querySelector("[data-elapsed]") ?? bar?.querySelector("[data-elapsed]");
    if (out) out.textContent = words;
  }

  function begin(timer) {
    running = { ...timer, since: Date.now() };
    if (running.state !== "running") return;
    touch(); // opening a page is work
    beat();
    setInterval(beat, running.every * 1000);
    setInterval(pauseWhenIdle, 5000);
    setInterval(show, 1000);
    addEventListener("online", send);
    addEventListener("pagehide", () => {
      if (!running || running.state !== "running") return;
      running.n += 1;
      navigator.sendBeacon(`/timers/${running.id}/beat`, new URLSearchParams({ n: running.n, stretch: running.stretch, ago: 0, csrf: token }));
    });
    addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  }

  function mount(timer) {
    const sheet = Object.assign(document.createElement("link"), { rel: "stylesheet", href: "/static/ccm_bridge/ccm.css" });
    document.head.append(sheet);
    bar = document.createElement("aside");
    bar.className = "timer-bar";
    bar.setAttribute("aria-label", "Running timer");
    const time = Object.assign(document.createElement("b"), { textContent: clock(timer.seconds) });
    time.dataset.elapsed = "";
    const link = Object.assign(document.createElement("a"), { href: timer.page, textContent: timer.patient });
    const words = document.createElement("span");
    words.dataset.words = ""; words.hidden = true;
    bar.append(time, timer.silent ? " silent " : timer.state === "running" ? "" : ` ${timer.state} `, link, words);
    document.body.append(bar);
  }

  async function follow() {
    if (panel) {
      const d = panel.dataset;
      begin({ id: d.timer, n: Number(d.lastN), stretch: Number(d.stretch), seconds: Number(d.seconds), every: Number(d.every), idle: Number(d.idle), state: d.state });
      return;
    }
    const answer = await fetch("/timers/mine", { headers: { accept: "application/json" }, redirect: "manual" });
    const timer = answer.ok ? await answer.json() : null;
    if (!timer) return;
    mount(timer);
    begin({ id: timer.timer_id, n: timer.last_n, stretch: timer.stretch, seconds: timer.seconds, every: timer.every_s, idle: timer.idle_s, state: timer.silent ? "silent" : timer.state });
  }
  follow().catch(() => {});
})();
