// Single-key shortcuts for the queue and an episode. They can be switched off, and never work while somebody types.
"use strict";
(() => {
  const OFF = "lamplight.keys.off";
  const dialog = document.getElementById("keys");
  const tick = document.getElementById("keys-on");
  let off = localStorage.getItem(OFF) === "yes";
  tick.checked = !off;
  tick.addEventListener("change", () => {
    off = !tick.checked;
    localStorage.setItem(OFF, off ? "yes" : "no");
  });
  document.getElementById("keys-button")?.addEventListener("click", () => dialog.showModal());

  const ANCHOR = { a: "settle", e: "escalate", s: "snooze", n: "note", t: "task", p: "h-call" };
  const rows = () => [...document.querySelectorAll(".row")].filter((row) => !row.hidden);
  const current = () => document.activeElement?.closest?.(".row");

  function walk(step) {
    const all = rows();
    const at = all.indexOf(current());
    const next = all[at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + step, 0), all.length - 1)];
    next?.focus();
    next?.scrollIntoView({ block: "nearest" });
  }

  function open(element) {
    if (element.matches("details")) {
      element.open = true;
      element.querySelector("select, textarea, input:not([type=hidden])")?.focus();
    } else if (element.matches("textarea, input")) {
      element.focus();
    } else {
      element.click();
    }
  }

  function act(key) {
    const row = current();
    const target = (row ?? document).querySelector(`[data-key="${key}"]`) ?? (key === "u" ? document.querySelector('[data-key="u"]') : null);
    if (target) open(target);
    else if (row && ANCHOR[key]) location.href = `${row.dataset.open}#${ANCHOR[key]}`;
    else return false;
    return true;
  }

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !dialog.open) {
      const form = document.activeElement?.closest?.("details[open]");
      if (form && form.querySelector("form")) {
        form.open = false;
        (form.closest(".row") ?? form.querySelector("summary")).focus();
      }
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || dialog.open) return;
    if (event.target.closest("input, textarea, select, [contenteditable]")) return;
    if (event.key === "?") {
      event.preventDefault();
      dialog.showModal();
      return;
    }
    if (off) return;
    let done = true;
    if (event.key === "j") walk(1);
    else if (event.key === "k") walk(-1);
    else if (event.key === "/") document.getElementById("find")?.focus();
    else if (event.key === "Enter" && event.target.matches(".row")) location.href = event.target.dataset.open;
    else if ("caesntpuq".includes(event.key)) done = act(event.key);
    else done = false;
    if (done) event.preventDefault();
  });

  // An episode opened for one act, from the queue: show that form.
  const wanted = location.hash && document.querySelector(`details${CSS.escape ? location.hash : ""}, textarea${location.hash}`);
  // After the load: going to the fragment takes the focus away from whatever had it.
  if (wanted) addEventListener("load", () => setTimeout(() => open(wanted)));
})();
