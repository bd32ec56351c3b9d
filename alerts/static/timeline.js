// An episode's timeline: readings with the patient's own band, the limit, the moves, and the drift statistic below.
"use strict";
(() => {
  const figure = document.getElementById("timeline");
  if (!figure) return;
  const css = getComputedStyle(document.documentElement);
  const colour = (name) => css.getPropertyValue(name).trim();
  const TIERS = { routine: "#5b6b75", watch: colour("--watch"), high: colour("--high"), critical: colour("--critical") };

  // Colour is not alone: what is over the line is a triangle, what is critical a square.
  function point(ctx, x, y, tier, size) {
    ctx.beginPath();
    if (tier === "critical") ctx.rect(x - size, y - size, 2 * size, 2 * size);
    else if (tier === "high" || tier === "watch") {
      ctx.moveTo(x, y - size * 1.3);
      ctx.lineTo(x + size * 1.2, y + size);
      ctx.lineTo(x - size * 1.2, y + size);
      ctx.closePath();
    } else ctx.arc(x, y, size * 0.75, 0, 2 * Math.PI);
    ctx.fill();
  }

  function overlays(told) {
    return {
      hooks: {
        drawClear: [
          (u) => {
            const { ctx, bbox } = u;
            ctx.save();
            ctx.lineWidth = devicePixelRatio;
            for (const mark of told.marks) {
              const x = Math.round(u.valToPos(mark.at, "x", true));
              if (x < bbox.left || x > bbox.left + bbox.width) continue;
              ctx.strokeStyle = mark.person ? colour("--accent") : "#b7bfc3";
              ctx.beginPath();
              ctx.moveTo(x, bbox.top);
              ctx.lineTo(x, bbox.top + bbox.height);
              ctx.stroke();
            }
            ctx.restore();
          },
        ],
        draw: [
          (u) => {
            const { ctx } = u;
            ctx.save();
            // The limit goes over the whole width and over the band, which would hide it.
            const { bbox } = u;
            ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
            ctx.strokeStyle = colour("--critical");
            for (const limit of told.limits) {
              const y = u.valToPos(limit, "y", true);
              ctx.beginPath();
              ctx.moveTo(bbox.left, y);
              ctx.lineTo(bbox.left + bbox.width, y);
              ctx.stroke();
            }
            ctx.setLineDash([]);
            const counted = new Set(told.counted);
            // Beyond what the meter can say: an arrow at the edge with its word, not a number nobody measured.
            told.at.forEach((at, n) => {
              if (!told.beyond[n] || at < u.scales.x.min || at > u.scales.x.max) return;
              const up = told.beyond[n] === "HI";
              const x = u.valToPos(at, "x", true);
              const size = 6 * devicePixelRatio;
              const y = up ? bbox.top + size : bbox.top + bbox.height - size;
              ctx.fillStyle = TIERS[told.tier[n]] ?? TIERS.routine;
              ctx.beginPath();
              ctx.moveTo(x, up ? y - size : y + size);
              ctx.lineTo(x + size, up ? y + size : y - size);
              ctx.lineTo(x - size, up ? y + size : y - size);
              ctx.closePath();
              ctx.fill();
              ctx.font = `${11 * devicePixelRatio}px system-ui`;
              ctx.fillText(told.beyond[n], x + size * 1.3, y + size * 0.6);
            });
            told.at.forEach((at, n) => {
              if (told.value[n] === null || at < u.scales.x.min || at > u.scales.x.max) return;
              ctx.fillStyle = TIERS[told.tier[n]] ?? TIERS.routine;
              point(ctx, u.valToPos(at, "x", true), u.valToPos(told.value[n], "y", true), told.tier[n], (counted.has(told.reading[n]) ? 4.5 : 3) * devicePixelRatio);
            });
            ctx.restore();
          },
        ],
      },
    };
  }

  const grid = { stroke: colour("--line"), width: 1 };
  const axis = { stroke: colour("--muted"), grid, ticks: grid, font: "12px system-ui" };
  const dash = (text) => (text === null || text === undefined ? "–" : text);

  function draw(told) {
    const columns = [told.at, told.high, told.low, told.value];
    const series = [
      { label: "Measured", value: (u, at, s, n) => dash(at && new Date(at * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short", timeZone: told.zone })) },
      { label: "Usual", stroke: "transparent", points: { show: false }, spanGaps: true, value: (u, v, s, n) => (v == null ? "–" : `${told.low[n].toFixed(0)}–${v.toFixed(0)}`) },
      { label: "lower", stroke: "transparent", points: { show: false }, spanGaps: true, value: (u, v) => dash(v && v.toFixed(0)) },
      { label: told.quantity[0].toUpperCase() + told.quantity.slice(1), stroke: "#5b6b75", width: 1.5, points: { show: false }, spanGaps: true, value: (u, v, s, n) => (v === null ? "–" : `${v.toFixed(0)} ${told.unit}${told.quality[n] ? ` (${told.quality[n]})` : ""}`) },
    ];
    if (told.second) {
      columns.push(told.second);
      series.push({ label: "Diastolic", stroke: "#9aa7ae", width: 1, points: { show: false }, spanGaps: true, value: (u, v) => dash(v && v.toFixed(0)) });
    }
    const last = told.at[told.at.length - 1];
    const tzDate = (at) => uPlot.tzDate(new Date(at * 1000), told.zone); // civil time of the practice, not of this browser
    const wide = (u, from, to) => [from, to + (to - from) * 0.02 + 3600];
    const day = (at) => tzDate(at).toLocaleDateString("en-GB", { day: "numeric", month: "short" });
    const hour = (at) => tzDate(at).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
    // Days as everywhere else on the page; looked at closer, the hours too.
    const days = (u, ticks, n, space, step) => ticks.map((at) => (step >= 86400 || hour(at) === "00:00" ? day(at) : hour(at)));
    figure.replaceChildren();
    const plot = new uPlot(
      {
        width: figure.clientWidth,
        height: 300,
        series,
        bands: [{ series: [1, 2], fill: colour("--accent-tint") }],
        tzDate,
        scales: { x: { range: wide }, y: { range: (u, from, to) => uPlot.rangeNum(Math.min(from, ...told.limits), Math.max(to, ...told.limits), 0.08, true) } },
        axes: [{ ...axis, values: days }, { ...axis, label: told.unit, labelSize: 18, size: 48 }],
        cursor: { drag: { x: true, y: false }, points: { show: false } },
        plugins: [overlays(told)],
        hooks: { setCursor: [newest] },
      },
      columns,
      figure,
    );
    // Begin with the last four weeks; drag to look closer, double-click for everything.
    const from = Math.max(told.at[0], last - 28 * 86400);
    if (told.at.length > 1) plot.setScale("x", { min: from, max: last });
    let drift = null;
    if (told.drift.some((v) => v !== null)) {
      drift = new uPlot(
        {
          width: figure.clientWidth,
          height: 90,
          series: [{}, { label: "Drift", stroke: colour("--accent"), width: 1.5, fill: colour("--accent-tint"), points: { show: false }, spanGaps: true }],
          tzDate,
          scales: { x: { range: wide }, y: { distr: 3 } },
          axes: [{ ...axis, show: false }, { ...axis, label: "drift", labelSize: 18, size: 48, grid: { show: false }, ticks: { show: false }, values: (u, ticks) => ticks.map((v) => (Math.log10(v) % 1 === 0 ? v.toLocaleString() : "")) }],
          legend: { show: false },
          cursor: { show: false },
        },
        [told.at, told.drift.map((v) => (v > 0 ? v : null))],
        figure,
      );
      drift.setScale("x", { min: from, max: last });
    }
    // The newest reading's numbers, until somebody points at another: on a phone nobody does.
    function newest(u) {
      if (u.cursor.idx === null || u.cursor.idx === undefined) u.setLegend({ idx: told.at.length - 1 });
    }
    new ResizeObserver(() => {
      plot.setSize({ width: figure.clientWidth, height: 300 });
      requestAnimationFrame(() => newest(plot));
      drift?.setSize({ width: figure.clientWidth, height: 90 });
    }).observe(figure);
  }

  const told = JSON.parse(document.getElementById("series").textContent);
  if (told.at.length > 1) draw(told); // otherwise the drawing by the server stays
})();
