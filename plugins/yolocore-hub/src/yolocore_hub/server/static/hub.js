"use strict";

// The page is complete without this script. It keeps an open page up to date, moves a cursor over the curves,
// enlarges pictures, shows times as "3 minutes ago" and remembers the choice between light and dark.

const root = document.documentElement;
const wish = localStorage.getItem("theme");
if (wish) root.dataset.theme = wish;

const LEFT = 44; // margins of the curves in the drawing; see charts.py
const RIGHT = 10;

function ago(element) {
  const then = Date.parse(element.dateTime);
  if (Number.isNaN(then)) return;
  const seconds = Math.round((Date.now() - then) / 1000);
  const steps = [[60, "second", 1], [3600, "minute", 60], [86400, "hour", 3600], [2592000, "day", 86400]];
  const step = steps.find(([limit]) => seconds < limit);
  element.title = new Date(then).toLocaleString();
  if (!step) element.textContent = new Date(then).toLocaleDateString();
  else if (seconds < 5) element.textContent = "just now";
  else {
    const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
    element.textContent = words.format(-Math.floor(seconds / step[2]), step[1]);
  }
}

function tick() {
  document.querySelectorAll("time").forEach(ago);
}

// curves --------------------------------------------------------------------------------------------------------

function nearest(points, epoch) {
  let found = points[0];
  for (const point of points) if (Math.abs(point[0] - epoch) < Math.abs(found[0] - epoch)) found = point;
  return found;
}

function read(figure, clientX) {
  const series = JSON.parse(figure.dataset.points);
  const drawing = figure.querySelector("svg");
  const box = drawing.getBoundingClientRect();
  const width = drawing.viewBox.baseVal.width;
  const span = width - LEFT - RIGHT;
  const epochs = series.flat().map((point) => point[0]);
  const first = Math.min(...epochs);
  const last = Math.max(...epochs);
  const part = (((clientX - box.left) / box.width) * width - LEFT) / span;
  const epoch = nearest(series.flat(), first + Math.min(1, Math.max(0, part)) * (last - first))[0];
  const x = LEFT + (last > first ? (epoch - first) / (last - first) : 0.5) * span;
  const cursor = figure.querySelector(".cursor");
  cursor.setAttribute("x1", x);
  cursor.setAttribute("x2", x);
  figure.querySelectorAll("output").forEach((output, index) => {
    output.textContent = Number(nearest(series[index], epoch)[1].toPrecision(3)).toString();
  });
  figure.dataset.epoch = `epoch ${epoch}`;
  figure.classList.add("reading");
}

function stopReading(figure) {
  const series = JSON.parse(figure.dataset.points);
  figure.querySelectorAll("output").forEach((output, index) => {
    output.textContent = Number(series[index].at(-1)[1].toPrecision(3)).toString();
  });
  figure.classList.remove("reading");
}

document.addEventListener("pointermove", (event) => {
  const figure = event.target.closest?.(".chart");
  document.querySelectorAll(".chart.reading").forEach((other) => other !== figure && stopReading(other));
  if (figure) read(figure, event.clientX);
});

// pictures ------------------------------------------------------------------------------------------------------

document.addEventListener("click", (event) => {
  const link = event.target.closest?.(".pictures a");
  const dialog = document.getElementById("large");
  if (link && dialog && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    const image = new Image();
    image.src = link.href;
    image.alt = link.textContent;
    dialog.replaceChildren(image);
    dialog.showModal();
  } else if (dialog?.open) dialog.close();
});

// keeping up to date --------------------------------------------------------------------------------------------

async function refresh(live, seen) {
  const headers = { "x-part": "live" };
  if (seen) headers["if-none-match"] = seen;
  const answer = await fetch(location.href, { headers, cache: "no-store", credentials: "same-origin" });
  if (answer.redirected) location.reload();
  if (answer.status !== 200) return seen;
  const text = await answer.text();
  if (!document.querySelector(".chart.reading, dialog[open]")) {
    live.innerHTML = text;
    tick();
    return answer.headers.get("etag");
  }
  return seen;
}

document.addEventListener("DOMContentLoaded", () => {
  tick();
  setInterval(tick, 10000);

  const button = document.getElementById("theme");
  if (button) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const dark = root.dataset.theme
        ? root.dataset.theme === "dark"
        : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      localStorage.setItem("theme", root.dataset.theme);
    });
  }

  const live = document.getElementById("live");
  const seconds = Number(live?.dataset.seconds);
  if (!seconds) return;
  let seen = null;
  setInterval(async () => {
    if (document.hidden) return;
    try {
      seen = await refresh(live, seen);
      root.classList.remove("offline");
    } catch {
      root.classList.add("offline");
    }
  }, seconds * 1000);
});
