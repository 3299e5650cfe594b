"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const number = (value) => value.toLocaleString("en");

function duration(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const [unit, size] = units.find(([, size]) => seconds >= size) || units[3];
  return Math.round(seconds / size * 10) / 10 + " " + unit;
}

// Charts: drawn again when the colours of the page change.
let charts = [];

function bars(id, labels, values, colors, options = {}) {
  if (!element(id)) return;
  charts.push(new Chart(element(id), {
    type: "bar",
    data: { labels, datasets: [{ data: values, backgroundColor: colors, minBarLength: 2, categoryPercentage: 1, barPercentage: .9, maxBarThickness: options.thickness }] },
    options: { animation: false, maintainAspectRatio: false, plugins: { legend: { display: false }, ...options.plugins },
      indexAxis: options.indexAxis, scales: options.scales || { y: { ticks: { precision: 0 } } } },
  }));
}

function histogram(id, text) {
  if (!data[id]) return;
  bars(id, data[id].bars.map(([from, to]) => to - from === 1 ? text(from) : text(from) + "–" + text(to)),
    data[id].bars.map((bar) => bar[2] || null), color("bar"));
}

function timeline() {
  const parts = data.parts.slice(0, 100).filter((part) => part.created_at && part.ended_at);
  const box = element("timeline").parentElement;
  box.hidden = !parts.length;
  if (!parts.length) return;
  const seconds = (time) => Date.parse(time) / 1000;
  const start = Math.min(...parts.map((part) => seconds(part.created_at)));
  box.style.height = 5 + 1.6 * parts.length + "rem";
  bars("timeline", parts.map((part) => "part " + part.number),
    parts.map((part) => [seconds(part.created_at) - start, seconds(part.ended_at) - start]),
    parts.map((part) => color(part.status === "completed" ? "bar" : "error")), {
      indexAxis: "y",
      thickness: 20,
      scales: { x: { ticks: { callback: duration } } },
      plugins: { tooltip: { callbacks: { label: ({ raw }) => duration(raw[0]) + " to " + duration(raw[1]) } } },
    });
}

function draw() {
  charts.forEach((chart) => chart.destroy());
  charts = [];
  Chart.defaults.color = color("dim");
  Chart.defaults.borderColor = color("line");
  const outcomes = Object.keys(data.outcomes);
  bars("outcomes", outcomes, outcomes.map((name) => data.outcomes[name]), outcomes.map(color));
  ["prompt_tokens", "completion_tokens", "characters"].forEach((id) => histogram(id, number));
  histogram("answered_after_seconds", duration);
  timeline();
}

// Answers: what others wrote only ever becomes text.
const STEP = 100;
let shown = STEP;

function show() {
  const words = element("search").value.toLowerCase(), outcome = element("outcome").value;
  const found = data.rows.filter((row) => (!outcome || row[1] === outcome)
    && (!words || row.some((text) => text.toLowerCase().includes(words))));
  element("answers").tBodies[0].replaceChildren(...found.slice(0, shown).map((row) => {
    const line = document.createElement("tr");
    row.forEach((text, place) => {
      const cell = line.insertCell();
      cell.textContent = text;
      if (place === 1) cell.className = text;
      if (place > 1) { cell.className = "text"; cell.dir = "auto"; }
    });
    return line;
  }));
  element("found").textContent = number(found.length) + " of " + number(data.rows.length);
  element("more").hidden = found.length <= shown;
}

for (const id of ["search", "outcome"]) element(id).addEventListener("input", () => { shown = STEP; show(); });
element("more").addEventListener("click", () => { shown += STEP * 10; show(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
draw();
show();
