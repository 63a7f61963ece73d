// The last 24 hours of an endpoint as bars: an hour is a column, its height the share of the GPUs' time in each phase.

const HOUR = 3600000;
const HOURS = 24;
const PHASES = ["busy", "idle", "starting", "terminating"];
const CALLED = { busy: "busy", idle: "idle", starting: "starting", terminating: "ending" };
const COLUMN = 7;
const HEIGHT = 32;

function svg(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// An endpoint that sleeps is told as it was read last, which may have been many hours ago.
function recent(row, firstMs) {
  return (row.hours ?? []).filter((hour) => hour.atMs >= firstMs);
}

// One path per phase, whatever the number of hours: a thousand endpoints must stay light.
function dayBars(row, firstMs) {
  const paths = Object.fromEntries(PHASES.map((phase) => [phase, ""]));
  for (const hour of recent(row, firstMs)) {
    const left = ((hour.atMs - firstMs) / HOUR) * COLUMN;
    let bottom = HEIGHT;
    for (const phase of PHASES) {
      if (!hour[phase]) continue;
      const exact = (HEIGHT * hour[phase]) / (HOUR * row.gpus);
      const high = Math.min(bottom, Math.max(1, exact));
      paths[phase] += `M${left} ${bottom.toFixed(2)}h${COLUMN - 1}v${(-high).toFixed(2)}h${1 - COLUMN}z`;
      bottom -= high;
    }
  }
  const words = dayWords(row, firstMs);
  const width = HOURS * COLUMN - 1;
  const drawn = svg("svg", {
    class: "bars", viewBox: `0 0 ${width} ${HEIGHT + 1}`, role: "img", "aria-label": words, preserveAspectRatio: "none",
  });
  const title = svg("title", {});
  title.textContent = words;
  drawn.append(title);
  const made = row.sinceMs === undefined ? firstMs : row.sinceMs;
  const began = Math.min(width, Math.max(0, Math.floor((made - firstMs) / HOUR) * COLUMN));
  drawn.append(svg("path", { class: "asleep", d: `M${began} ${HEIGHT}h${width - began}v1h${began - width}z` }));
  for (const phase of PHASES) if (paths[phase]) drawn.append(svg("path", { class: phase, d: paths[phase] }));
  return drawn;
}

// The same in words: "In the last 24 hours: busy 1 h 12 min, idle 20 min of GPU time; asleep in 20 of 24 hours."
function dayWords(row, firstMs) {
  const hours = recent(row, firstMs);
  const sums = PHASES.map((phase) => [phase, hours.reduce((sum, hour) => sum + hour[phase], 0)]);
  const told = sums.filter(([, sum]) => sum > 0).map(([phase, sum]) => `${CALLED[phase]} ${lasted(sum / 1000)}`);
  const born = row.sinceMs === undefined ? 0 : Math.max(0, Math.floor((row.sinceMs - firstMs) / HOUR));
  const lived = Math.max(1, HOURS - born);
  if (!told.length) return "Asleep in the last 24 hours: no GPU was held.";
  const asleep = `no GPU held in ${lived - hours.length} of ${counted(lived, "hour", "hours")}`;
  return `In the last 24 hours: ${told.join(", ")} of GPU time; ${asleep}.`;
}

// What the column is sorted by.
function heldInDay(row) {
  return (row.hours ?? []).reduce((sum, hour) => sum + PHASES.reduce((all, phase) => all + hour[phase], 0), 0);
}
