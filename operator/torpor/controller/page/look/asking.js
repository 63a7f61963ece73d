// Ask the controller every two seconds, show what it says, and say so when it does not answer.

const EVERY = 2000;
const SLOWEST = 30000;
const GIVE_UP = 10000;
const told = { tag: "", reached: 0, since: 0, stopped: 0, pause: EVERY, offset: 0, timer: 0, standby: 0, asking: false };
const byId = (id) => document.getElementById(id);

// The present instant by the cluster's clock. It stands still while the controller is not reached: nobody knows then.
function clusterNow() {
  return (told.since ? told.stopped : Date.now()) + told.offset;
}

async function ask() {
  if (told.asking) return;
  told.asking = true;
  clearTimeout(told.timer);
  try {
    const answer = await fetched();
    if (answer === null) missed();
    else reached(answer);
  } finally {
    told.asking = false;
    told.timer = setTimeout(ask, told.pause);
  }
}

// What the controller says: its headers, and the body unless it is the one that is shown; null if it was not reached.
async function fetched() {
  try {
    const headers = told.tag ? { "If-None-Match": told.tag } : {};
    const answer = await fetch("endpoints.json", { headers, cache: "no-store", signal: AbortSignal.timeout(GIVE_UP) });
    if (answer.status !== 304 && !answer.ok) return null;
    return { headers: answer.headers, body: answer.status === 304 ? null : await answer.json() };
  } catch {
    return null;
  }
}

function reached({ headers, body }) {
  Object.assign(told, { reached: Date.now(), since: 0, pause: EVERY });
  told.offset = Number(headers.get("Torpor-Now-Ms")) - told.reached;
  if (body !== null) take(body, headers.get("ETag"));
  document.body.classList.remove("lost");
  const waits = !byId("notice").hidden;
  put(byId("contact"), waits ? "waiting" : "live");
  byId("contact").className = waits ? "waits" : "lives";
  everySecond();
}

function missed() {
  if (!told.since) Object.assign(told, { since: told.reached || Date.now(), stopped: Date.now() });
  told.pause = Math.min(SLOWEST, told.pause * 2);
  document.body.classList.add("lost");
  put(byId("contact"), `not reached since ${clockTime(told.since)}`);
  byId("contact").className = "gone";
  everySecond();
}

// A Service leads to any of the controllers, so one that stands by is asked again at once a few times before it counts.
function take(answer, tag) {
  const leads = answer.role === "leader";
  told.standby = leads ? 0 : told.standby + 1;
  if (!leads && told.standby < 5) told.pause = 250;
  told.tag = leads ? tag : "";
  if (leads) {
    takeRows(answer.endpoints, answer.firstHourMs);
    arrange();
    drawTotals();
  } else if (lines.size && told.standby < 5) {
    return;
  }
  byId("all").hidden = !leads || answer.endpoints.length === 0;
  byId("nothing").hidden = !leads || answer.endpoints.length > 0;
  byId("totals").hidden = byId("counts").hidden = !leads;
  byId("unpriced").hidden ||= !leads;
  showNotice(leads ? null : answer);
}

function showNotice(answer) {
  const notice = byId("notice");
  notice.hidden = answer === null;
  if (answer !== null) notice.replaceChildren(...noticeOf(answer));
}

function noticeOf({ role, leader, namespace }) {
  if (role === "listing") {
    const text = "This controller has just begun to lead and is listing the cluster.";
    return [element("h2", "", "Just a moment"), element("p", "", text)];
  }
  const title = element("h2", "", "This controller stands by");
  if (!leader) return [title, element("p", "", "No controller leads at the moment; one will within seconds.")];
  const who = element("p", "", "The one that leads is ", element("code", "", leader), ". Only it knows the endpoints:");
  const command = `kubectl --namespace ${namespace} port-forward pod/${leader} ${location.port || 8082}:8082`;
  return [title, who, element("pre", "", element("code", "", command))];
}

// Sums per currency, since money of two currencies is never added; what has no known price is counted, not guessed.
function sums(nowMs) {
  const found = new Map();
  for (const { row } of lines.values()) {
    const spent = spentBy(row, nowMs);
    const rate = number(row.perHour);
    if (spent === null && rate === null) continue;
    const key = row.currency ?? "";
    if (!found.has(key)) found.set(key, { rate: null, spent: null, saved: null });
    const sum = found.get(key);
    const amounts = { rate, spent, saved: number(row.saved) };
    for (const [name, amount] of Object.entries(amounts)) if (amount !== null) sum[name] = (sum[name] ?? 0) + amount;
  }
  return [...found].sort(([a], [b]) => a.localeCompare(b, "en"));
}

function drawTotals() {
  const all = [...lines.values()].map((line) => line.row);
  const awake = all.filter((row) => AWAKE.has(row.state)).length;
  const bad = all.filter((row) => row.ready === "False").length;
  const texts = [counted(all.length, "endpoint", "endpoints"), `${awake} awake`, ...(bad ? [`${bad} cannot answer`] : [])];
  put(byId("counts"), texts.join(" · "));
  const unpriced = all.filter((row) => row.asOfMs !== undefined && (row.spent === undefined || row.perHour === undefined)).length;
  byId("unpriced").hidden = unpriced === 0;
  put(byId("unpriced"), `The price of ${counted(unpriced, "endpoint", "endpoints")} is unknown and not in these sums.`);
}

function tickTotals(nowMs) {
  const found = sums(nowMs);
  const place = byId("totals");
  const names = found.map(([currency]) => currency).join(" ");
  if (place.dataset.names !== names) {
    place.dataset.names = names;
    place.replaceChildren(...found.map(([currency]) => totalCard(currency)));
  }
  found.forEach(([currency, sum], at) => {
    const { figures, bar } = place.children[at];
    for (const name of ["rate", "spent", "saved"]) money(figures[name], sum[name], currency);
    split(bar, sum.spent, sum.saved);
  });
}

function totalCard(currency) {
  const labels = { rate: `${currency} per hour`, spent: "spent", saved: "saved" };
  const list = element("dl", "");
  const card = element("article", "total", list);
  card.figures = {};
  for (const [name, label] of Object.entries(labels)) {
    card.figures[name] = element("span", "amount");
    list.append(element("div", "", element("dt", "", label), element("dd", name, card.figures[name])));
  }
  card.bar = splitBar();
  card.append(card.bar);
  return card;
}

function everySecond() {
  const now = clusterNow();
  for (const line of order.drawn) tick(line, now);
  tickTotals(now);
}

function sortBy(id) {
  const column = COLUMNS.find((one) => one.id === id);
  order.down = order.id === id ? !order.down : Boolean(column.down);
  order.id = id;
  for (const head of byId("heads").children) {
    const own = head.dataset.id === id;
    if (own) head.setAttribute("aria-sort", order.down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  }
  byId("sort").value = id;
  arrange();
}

function begin() {
  for (const { id, label } of COLUMNS) {
    const button = element("button", "", label);
    button.type = "button";
    button.addEventListener("click", () => sortBy(id));
    const head = element("th", id, button);
    head.scope = "col";
    head.dataset.id = id;
    if (id === "day") head.append(element("span", "second now", "now"));
    head.setAttribute("role", "columnheader");
    byId("heads").append(head);
    byId("sort").append(new Option(label, id));
  }
  byId("heads").firstChild.setAttribute("aria-sort", "ascending");
  byId("filter").addEventListener("input", arrange);
  byId("more").addEventListener("click", () => {
    order.most = Infinity;
    arrange();
  });
  byId("sort").addEventListener("change", (event) => sortBy(event.target.value));
  document.addEventListener("visibilitychange", () => document.hidden || ask());
  setInterval(everySecond, 1000);
  ask();
}

begin();
