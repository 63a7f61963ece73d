// Figures as people read them. Money comes as decimal strings and is only ever shown; nothing is added up for keeps.

const UNKNOWN = "price unknown";
const DIGITS = new Intl.NumberFormat("en", { minimumFractionDigits: 4, maximumFractionDigits: 4 });

// element("td", "spent", …children): text is only ever set as text, since names and messages come from users.
function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

// A name or message of a user: isolated, so that writing from right to left cannot reorder what stands around it.
function said(text) {
  return element("bdi", "", text);
}

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// money(node, 4.218267, "USD") fills it with $4.2183, the last two digits dimmed: a column stays calm while it counts.
function money(node, amount, currency) {
  const tiny = amount !== null && amount !== 0 && Math.abs(amount) < 0.0001;
  const text = amount === null ? UNKNOWN : DIGITS.format(tiny ? 0.0001 : Math.abs(amount));
  const sign = (tiny ? "<" : "") + (amount < 0 ? "−" : "");
  const shown = [sign, currency, text].join(" ");
  if (node.dataset.shown === shown) return;
  node.dataset.shown = shown;
  node.classList.toggle("unknown", amount === null);
  node.classList.toggle("zero", amount === 0);
  node.classList.toggle("negative", amount < 0);
  if (amount === null) node.replaceChildren(text);
  else node.replaceChildren(sign, unit(currency), text.slice(0, -2), element("small", "", text.slice(-2)));
}

// A currency's sign where no other has the same (CA$, not $, for CAD), else its code.
function unit(currency) {
  let sign = currency ?? "";
  try {
    const parts = new Intl.NumberFormat("en", { style: "currency", currency }).formatToParts(0);
    sign = parts.find(({ type }) => type === "currency").value;
  } catch {
    // No code of three letters: it is shown as it came.
  }
  const made = element("abbr", "unit", sign.length > 1 ? `${sign} ` : sign);
  made.title = currency ?? "";
  return made;
}

// number("4.2") is 4.2, and null for what is absent: an unknown cost is never 0.
function number(text) {
  return text === undefined || text === null || text === "" ? null : Number(text);
}

function counted(count, one, many) {
  return `${count} ${count === 1 ? one : many}`;
}

// lasted(95) is "1 min 35 s": two units at most.
function lasted(seconds) {
  const s = Math.max(0, Math.round(seconds));
  const parts = [[Math.floor(s / 86400), "d"], [Math.floor(s / 3600) % 24, "h"], [Math.floor(s / 60) % 60, "min"], [s % 60, "s"]];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return "0 s";
  return parts.slice(first, first + 2).filter(([count]) => count > 0).map(([count, unit]) => `${count} ${unit}`).join(" ");
}

function clockTime(ms) {
  const at = new Date(ms);
  return [at.getHours(), at.getMinutes(), at.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":");
}

// What an endpoint has cost by now: what is known as of asOf, and what each second has cost since.
function spentBy(row, nowMs) {
  const spent = number(row.spent);
  const rate = number(row.perSecond);
  if (spent === null || !rate || row.asOfMs === undefined) return spent;
  return spent + (rate * Math.max(0, nowMs - row.asOfMs)) / 1000;
}

// A bar of what was spent against what never sleeping would have cost.
function split(bar, spent, saved) {
  const known = spent !== null && saved !== null && (spent > 0 || saved > 0);
  bar.hidden = !known;
  if (!known) return;
  const share = saved > 0 ? spent / (spent + saved) : 1;
  bar.classList.toggle("over", saved < 0);
  bar.firstChild.style.width = `${(100 * share).toFixed(2)}%`;
}

function splitBar() {
  const bar = element("span", "split", element("i"));
  bar.setAttribute("aria-hidden", "true");
  return bar;
}
