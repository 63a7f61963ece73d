// The table: one line per endpoint, made once and changed only where something has changed.

// What a column is called, what it is sorted by, and whether the largest comes first.
const COLUMNS = [
  { id: "name", label: "Endpoint", by: (row) => `${row.namespace}/${row.name}` },
  { id: "state", label: "State", by: (row) => row.state },
  { id: "replicas", label: "Replicas", by: (row) => number((row.replicas ?? "").split("/")[0]), down: true },
  { id: "gpu", label: "GPU", by: (row) => row.gpu ?? "" },
  { id: "rate", label: "Per hour", by: (row) => number(row.perHour), down: true },
  { id: "spent", label: "Spent", by: (row) => number(row.spent), down: true },
  { id: "saved", label: "Saved", by: (row) => number(row.saved), down: true },
  { id: "tokens", label: "Per Mtok", by: (row) => number(row.perMillionTokens), down: true },
  { id: "activity", label: "Last active", by: (row) => row.lastActivityMs ?? null, down: true },
  { id: "day", label: "Last 24 hours", by: heldInDay, down: true },
];
const AWAKE = new Set(["Serving", "KeepingWarm"]);
const MOVING = new Set(["WarmingUp", "Pending", "Draining", "CheckingWeights"]);
const lines = new Map();
const order = { id: "name", down: false, most: 200, drawn: [] };

function stateClass(row) {
  if (row.ready === "False" || row.state === "Failed" || row.state === "Suspended") return "bad";
  if (AWAKE.has(row.state)) return row.state === "Serving" ? "serving" : "warm";
  return MOVING.has(row.state) ? "moving" : "asleep-state";
}

// The cells of a line; what moves by itself is kept at hand.
function newCells() {
  const line = { tr: element("tr", "") };
  line.tr.setAttribute("role", "row");
  for (const { id, label } of COLUMNS) {
    const cell = element(id === "name" ? "th" : "td", id);
    cell.setAttribute("role", id === "name" ? "rowheader" : "cell");
    if (id === "name") cell.scope = "row";
    cell.dataset.label = label;
    line[id] = cell;
    line.tr.append(cell);
  }
  line.dot = element("i", "dot");
  line.bar = splitBar();
  line.spentText = element("span", "amount");
  line.deadline = element("span", "second");
  line.active = element("span", "");
  return line;
}

function fill(line, row, firstMs) {
  const model = element("span", "second model", said(row.model));
  model.title = "what clients send as model";
  const key = element("span", "key", element("span", "space", said(row.namespace), "/"), said(row.name));
  line.name.replaceChildren(key, model);
  line.dot.className = `dot ${stateClass(row)}`;
  const reason = row.ready === "False" && row.readyReason && row.readyReason !== row.state ? ` · ${row.readyReason}` : "";
  const why = element("span", "second why", said(row.why ?? ""));
  line.state.replaceChildren(element("span", "reason", line.dot, said(row.state + reason)), why);
  line.state.title = row.why ?? "";
  put(line.replicas, row.replicas ?? "–");
  line.gpu.replaceChildren(said(row.gpu ?? "–"));
  fillMoney(line, row);
  line.activity.replaceChildren(line.active, line.deadline);
  line.day.replaceChildren(dayBars(row, firstMs));
}

function fillMoney(line, row) {
  const asOf = row.asOfMs === undefined ? "" : `as of ${clockTime(row.asOfMs)}`;
  amountIn(line.rate, number(row.perHour), row);
  line.spent.replaceChildren(line.spentText);
  amountIn(line.saved, number(row.saved), row);
  line.saved.append(line.bar);
  line.saved.title = asOf;
  if (row.perMillionTokens === undefined && row.spent !== undefined) line.tokens.replaceChildren("–");
  else amountIn(line.tokens, number(row.perMillionTokens), row);
}

function amountIn(cell, amount, row) {
  const text = element("span", "amount");
  if (row.asOfMs === undefined) text.append("–");
  else money(text, amount, row.currency);
  cell.replaceChildren(text);
}

// What moves by itself: money while GPUs are held, and how long ago something was.
function tick(line, nowMs) {
  const { row } = line;
  const spent = spentBy(row, nowMs);
  if (row.asOfMs === undefined) put(line.spentText, "–");
  else money(line.spentText, spent, row.currency);
  split(line.bar, spent, number(row.saved));
  line.tr.classList.toggle("spending", number(row.perSecond) > 0);
  put(line.active, row.lastActivityMs === undefined ? "–" : ago(nowMs - row.lastActivityMs));
  put(line.deadline, row.deadlineMs === undefined ? "" : sleepsIn(row.deadlineMs - nowMs));
}

function ago(ms) {
  return ms < 5000 ? "now" : `${lasted(ms < 3600000 ? ms / 1000 : Math.floor(ms / 60000) * 60)} ago`;
}

function sleepsIn(ms) {
  return ms <= 0 ? "goes to sleep" : `sleeps in ${lasted(ms / 1000)}`;
}

// Bring the lines in step with what was told; those of endpoints that are gone leave.
function takeRows(rows, firstMs) {
  const here = new Set();
  for (const row of rows) {
    const key = `${row.namespace}/${row.name}`;
    here.add(key);
    if (!lines.has(key)) lines.set(key, { shown: "" });
    Object.assign(lines.get(key), { row, firstMs });
  }
  for (const key of lines.keys()) if (!here.has(key)) lines.delete(key);
}

// Make the line of an endpoint, or change it, if it does not show what was told last.
function draw(line) {
  const text = line.firstMs + JSON.stringify(line.row);
  if (line.shown === text) return line.tr;
  if (!line.tr) Object.assign(line, newCells());
  fill(line, line.row, line.firstMs);
  tick(line, clusterNow());
  line.shown = text;
  return line.tr;
}

// Unknown figures come last, whichever way it is sorted.
function compare(a, b) {
  const { by } = COLUMNS.find(({ id }) => id === order.id);
  const [x, y] = [by(a.row), by(b.row)];
  if ((x === null) !== (y === null)) return x === null ? 1 : -1;
  const less = typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y;
  if (less) return order.down ? -less : less;
  return a.row.namespace.localeCompare(b.row.namespace, "en") || a.row.name.localeCompare(b.row.name, "en", { numeric: true });
}

function matches(row, words) {
  const text = [`${row.namespace}/${row.name}`, row.model, row.state, row.readyReason, row.gpu].join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

// Put the lines that match into order, and touch the document only if that is another one than before. Only the first
// are drawn until somebody asks for all: a browser lays a table out anew whenever a figure in it grows.
function arrange() {
  const words = document.getElementById("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const matching = [...lines.values()].filter((line) => matches(line.row, words)).sort(compare);
  const body = document.getElementById("rows");
  order.drawn = matching.slice(0, order.most);
  const wanted = order.drawn.map(draw);
  const same = wanted.length === body.children.length && wanted.every((tr, at) => body.children[at] === tr);
  if (!same) body.replaceChildren(...wanted);
  document.getElementById("none").hidden = matching.length > 0 || lines.size === 0;
  const more = document.getElementById("more");
  more.hidden = wanted.length === matching.length;
  put(more, `Show all ${matching.length}`);
  const some = wanted.length < lines.size;
  put(document.getElementById("shown"), some ? `${wanted.length} of ${lines.size} shown` : "");
}
