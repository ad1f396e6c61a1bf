// What scripts add to the pages of the board: they stay current, tables are sorted, forms are sent. All of it can be read
// without. A page is made in one place, the server: what has changed is taken over from the same page, asked for anew.

const API = "/sprocketFactory/v1";
const CALM = 700; // milliseconds between two looks, however many events come
const SHARE = 3; // as many times as long as a look has taken, the next one waits: a busy service gets rest
const PATIENCE = 20_000; // milliseconds without the service before its numbers are called old

document.documentElement.classList.add("has-scripts");
for (const link of document.querySelectorAll("nav a")) {
  if (link.pathname === location.pathname) link.setAttribute("aria-current", "page");
}

// --- Live ---------------------------------------------------------------------------------------------------------

const watched = document.querySelector("[data-position]");
let lastSeen = Date.now();
let looking = null;
let again = false;

function seen() {
  lastSeen = Date.now();
  document.body.classList.remove("cut");
  document.getElementById("link").hidden = true;
}

function tellIfCut() {
  if (document.hidden || Date.now() - lastSeen < PATIENCE) return;
  const line = document.getElementById("link");
  document.body.classList.add("cut");
  if (line.hidden) line.querySelector("time").textContent = new Date(lastSeen).toLocaleString([], { hourCycle: "h23" });
  line.hidden = false;
}

// Whether somebody is about to record something.
function isBegun(form) {
  return [...(form?.elements ?? [])].some((one) => one.matches("input") && one.value !== one.defaultValue);
}

async function look() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (answer.redirected) return location.reload(); // the session is over
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  // A new day has begun. What is half typed is about the one before, and until it is sent so is the page.
  const day = page.querySelector("[data-position]")?.dataset.day;
  if (day !== watched.dataset.day) return isBegun(document.getElementById("record")) ? seen() : location.reload();
  for (const old of document.querySelectorAll("[data-live]")) {
    const now = page.getElementById(old.id);
    const active = old.contains(document.activeElement) ? document.activeElement : null;
    if (!now || now.innerHTML === old.dataset.told || active?.matches("input, select")) continue;
    const order = sortedBy(old);
    old.dataset.told = now.innerHTML;
    old.className = now.className;
    old.replaceChildren(...document.importNode(now, true).childNodes);
    if (old.matches("[data-sortable]")) makeSortable(old, order);
    if (active?.dataset.correct) old.querySelector(`[data-correct="${active.dataset.correct}"]`)?.focus();
    if (active?.matches("a")) old.querySelector(`a[href="${active.getAttribute("href")}"]`)?.focus();
  }
  seen();
}

function lookSoon() {
  if (document.hidden) return; // whoever comes back looks at once
  if (looking) {
    again = true;
    return;
  }
  const began = performance.now();
  looking = look()
    .catch(() => {}) // the line is told to be cut when it stays so
    .then(() => new Promise((done) => setTimeout(done, Math.max(CALM, SHARE * (performance.now() - began)))))
    .finally(() => {
      looking = null;
      if (again) {
        again = false;
        lookSoon();
      }
    });
}

function follow() {
  const factory = watched.dataset.factory;
  const events = new EventSource(`${API}/events?last_event_id=${watched.dataset.position}`);
  events.addEventListener("open", seen);
  events.addEventListener("reset", lookSoon);
  events.addEventListener("production", (event) => {
    if (!factory || String(JSON.parse(event.data).factory_id) === factory) lookSoon();
  });
  events.addEventListener("error", () => {
    if (events.readyState === EventSource.CLOSED) setTimeout(follow, 5000); // the browser has given up
  });
}

if (watched) {
  for (const part of document.querySelectorAll("[data-live]")) part.dataset.told = part.innerHTML;
  follow();
  // The hour goes on, and records grow old, without any event.
  setInterval(lookSoon, 15_000);
  document.addEventListener("visibilitychange", lookSoon);
  setInterval(tellIfCut, 1000);
}

// --- Tables -------------------------------------------------------------------------------------------------------

function valueOf(row, column) {
  let place = 0;
  for (const cell of row.cells) {
    place += cell.colSpan;
    if (place > column) {
      const text = cell.dataset.value ?? cell.textContent.trim();
      const number = Number(text.replace(/[,%\s]/g, "").replace("\u2212", "-").replace("±", ""));
      return cell.colSpan > 1 ? -Infinity : text === "" || Number.isNaN(number) ? text : number;
    }
  }
  return "";
}

function sortedBy(table) {
  const heads = [...table.querySelectorAll("thead th")];
  const column = heads.findIndex((head) => head.hasAttribute("aria-sort"));
  return column < 0 ? null : { column, way: heads[column].getAttribute("aria-sort") };
}

function sort(table, column, way) {
  const rows = [...table.tBodies[0].rows];
  const sign = way === "descending" ? -1 : 1;
  rows.sort((one, other) => {
    const [a, b] = [valueOf(one, column), valueOf(other, column)];
    if (typeof a === typeof b && typeof a === "string") return sign * a.localeCompare(b);
    return sign * (a < b ? -1 : a > b ? 1 : 0);
  });
  table.tBodies[0].append(...rows);
  table.querySelectorAll("thead th").forEach((head, place) => {
    if (place === column) head.setAttribute("aria-sort", way);
    else head.removeAttribute("aria-sort");
  });
}

function makeSortable(table, order = null) {
  table.querySelectorAll("thead th").forEach((head, column) => {
    if (head.classList.contains("scripted")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () =>
      sort(table, column, head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending"),
    );
    head.append(button);
  });
  if (order) sort(table, order.column, order.way);
}

document.querySelectorAll("table[data-sortable]").forEach((table) => makeSortable(table));

// --- Forms --------------------------------------------------------------------------------------------------------

function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const KINDS = {
  integer: Number,
  number: Number,
  integers: (text) => text.split(",").map(Number),
  day: (text) => `${text}T00:00:00Z`,
  // Browsers leave seconds out where they are none.
  time: (text, form) => `${form.dataset.date}T${text.padEnd(8, ":00")}${form.querySelector("[data-offset]").value}`,
};

const CHANGED = "Somebody has changed this meanwhile. Load the page again to see what is there now, then change that.";

function bodyOf(form) {
  const body = {};
  for (const field of form.querySelectorAll("[name]")) {
    if (field.value === "") continue;
    const kind = KINDS[field.dataset.type];
    body[field.name] = kind ? kind(field.value, form) : field.value;
  }
  return body;
}

function tell(form, problem) {
  const line = form.querySelector(".problem[role=alert]");
  line.textContent = problem ? problem.detail : "";
  line.hidden = !problem;
  if (form.querySelector(".done")) form.querySelector(".done").hidden = true;
  for (const field of form.querySelectorAll("[name]")) {
    const fault = problem?.errors?.find((one) => one.pointer === `/${field.name}`);
    if (fault) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  }
  form.querySelector("[aria-invalid]")?.focus();
}

async function send(form, method, path, body) {
  const headers = body ? { "Content-Type": "application/json" } : {};
  if (method === "POST" && form.dataset.show === undefined) headers["Idempotency-Key"] = form.dataset.key ??= randomKey();
  if (form.dataset.etag && method !== "POST") headers["If-Match"] = form.dataset.etag;
  try {
    const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
    const told = answer.status === 204 ? {} : await answer.json();
    // It is done or refused, so what is sent next is another thing; unless 409 says that it is still under way.
    if (answer.status < 500 && answer.status !== 409) delete form.dataset.key;
    if (answer.ok) return told;
    if (answer.status === 401) return location.reload();
    if (answer.status === 412) return tell(form, { detail: CHANGED });
    if (answer.status === 409 && form.dataset.replace) return await offerToReplace(form, body, told);
    return tell(form, told);
  } catch {
    tell(form, { detail: "The service does not answer. Nothing is known to be stored; it is safe to send it again." });
    return null;
  }
}

// What somebody agrees to replace is what he was shown: with the version that was read, as in a correction.
async function offerToReplace(form, body, problem) {
  const { factory_id: _, time, ...counts } = body;
  const path = form.dataset.replace + encodeURIComponent(time);
  const answer = await fetch(path);
  if (!answer.ok) return tell(form, problem); // no record is in the way: the first sending of this one is under way
  const stored = await answer.json();
  form.dataset.etag = answer.headers.get("ETag");
  const [day, clock] = time.split("T");
  const words = `For ${clock} on ${day} there is a record already: made ${stored.sprocket_production_actual}, goal ${stored.sprocket_production_goal}.`;
  if (confirm(`${words} Replace it?`)) return send(form, "PUT", path, counts);
  return tell(form, { detail: words });
}

function goOn(form, told, where) {
  tell(form, null);
  if (form.dataset.show) return showSecret(form, told);
  if (where) return location.assign(where.replace("{id}", told.id));
  form.reset();
  if (form === recording) settleOffset(form);
  form.closest("dialog")?.close();
  const done = form.querySelector(".done");
  done.textContent = `Recorded: made ${told.sprocket_production_actual}, goal ${told.sprocket_production_goal}.`;
  done.hidden = false;
  form.querySelector("input:not([type=hidden])").focus();
  lookSoon();
}

function showSecret(form, told) {
  form.querySelector("[data-secret]").textContent = told.secret;
  const kiosk = form.querySelector("[data-kiosk]");
  kiosk.hidden = told.role !== "viewer";
  kiosk.querySelector("code").textContent = `${location.origin}/board/kiosk/${told.secret}`;
  form.querySelector(".secret").hidden = false;
}

// Which offset a time has follows from the day. Only where clocks go back, and show it twice, it has to be asked for.
function settleOffset(form) {
  const clock = form.querySelector("[data-type=time]").value;
  const select = form.querySelector("[data-offset]");
  const field = select.closest("label");
  const fitting = [...select.options].filter(({ value, dataset }) => {
    const instant = Date.parse(`${form.dataset.date}T${clock}${value}`);
    return Date.parse(dataset.since) <= instant && instant < Date.parse(dataset.until);
  });
  if (fitting.length < 2) select.value = fitting[0]?.value ?? "";
  else if (field.hidden) select.value = "";
  field.hidden = fitting.length < 2;
  if (select.value !== "") return null;
  const words = fitting.length ? `show ${clock} twice. Choose which of the two it was.` : `never show ${clock}: they go forward past it.`;
  return { detail: `On this day clocks ${words}`, errors: [{ pointer: "/time" }] };
}

const recording = document.getElementById("record");
recording?.querySelector("[data-type=time]").addEventListener("input", () => settleOffset(recording));

async function submit(form) {
  const method = form.dataset.send;
  const problem = form === recording ? settleOffset(form) : null;
  if (problem) return tell(form, problem);
  if (form.dataset.ask && method === "DELETE" && !confirm(form.dataset.ask)) return;
  const buttons = form.querySelectorAll("button");
  buttons.forEach((button) => (button.disabled = true));
  const told = await send(form, method, form.dataset.to, method === "DELETE" ? null : bodyOf(form));
  buttons.forEach((button) => (button.disabled = false));
  if (told) goOn(form, told, form.dataset.then);
}

for (const form of document.querySelectorAll("form[data-send]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit(form);
  });
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.matches("[data-correct]")) correct(button.dataset);
});

// A record is corrected with the version that was read: what somebody else has corrected meanwhile is not lost.
async function correct({ correct: path, when }) {
  const dialog = document.getElementById("correct");
  const form = dialog.querySelector("form");
  const answer = await fetch(path).catch(() => null);
  if (!answer?.ok) return location.reload(); // which says what is wrong
  const record = await answer.json();
  form.dataset.to = path;
  form.dataset.etag = answer.headers.get("ETag");
  for (const field of form.querySelectorAll("[name]")) field.value = record[field.name];
  dialog.querySelector("time").textContent = when;
  tell(form, null);
  dialog.showModal();
}

for (const button of document.querySelectorAll("dialog [data-leave]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}
