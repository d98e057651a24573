// The page: asks the monitor how things stand once a second, shows it, and sends answers.

import { drawChart } from "/static/chart.js";

const find = (id) => document.getElementById(id);
const PERIOD_MS = 1000;
const PICTURE_MS = 500;

// One element with text and children; everything that comes from outside is set as text.
function element(tag, { text, className, children = [], onclick } = {}) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  if (onclick) {
    made.type = "button";
    made.addEventListener("click", onclick);
  }
  made.append(...children);
  return made;
}

function span(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d`;
}

const words = (name) => name.replaceAll("_", " ");

function showWork(board) {
  find("procedure").textContent = board.procedure;
  document.title = `${board.alarms.length ? `(${board.alarms.length}) ` : ""}${board.procedure}`;
  const partly = board.partly ? ", not seen from its beginning" : "";
  const unknown = board.unknown ? ", what is done now looks like no step" : "";
  find("cycle").textContent = `cycle ${board.cycle}, ${Math.round(board.progress * 100)} % done${partly}${unknown}`;
  const running = board.steps.find((step) => step.running);
  let now = "No step is running";
  if (running) {
    const normal = running.takes_s?.[1] ? `, usually ${running.takes_s[0].toFixed(0)} to ${running.takes_s[1].toFixed(0)} s` : "";
    now = `${running.title}: ${board.step_s.toFixed(0)} s${normal}`;
  }
  find("now").textContent = now;
  showTempo(running, board.step_s);
  showForecast(board.forecast);
  find("steps").replaceChildren(...board.steps.map((step) => {
    const classes = [];
    if (step.times) classes.push("done");
    if (step.running) classes.push("running");
    else if (step.expected) classes.push("expected");
    const times = step.times > 1 ? ` ×${step.times}` : "";
    const optional = step.optional ? " (optional)" : "";
    const item = element("li", { text: step.title + optional + times, className: classes.join(" ") });
    if (step.running) item.setAttribute("aria-current", "step");
    return item;
  }));
}

// The time of the running step on a bar, whose middle part is what is normal.
function showTempo(running, seconds) {
  const [low, high] = running?.takes_s ?? [0, 0];
  const bar = find("tempo");
  bar.hidden = !high;
  if (!high) return;
  const most = 1.5 * high;
  find("normal").style.left = `${100 * low / most}%`;
  find("normal").style.width = `${100 * (high - low) / most}%`;
  find("needle").style.width = `${100 * Math.min(1, seconds / most)}%`;
  bar.className = seconds > high ? "late" : "";
  bar.setAttribute("aria-label", `${seconds.toFixed(0)} s, normal is ${low} to ${high} s`);
}

function showForecast(forecast) {
  const line = find("forecast");
  line.hidden = !forecast;
  if (!forecast) return;
  const sure = `${Math.round(100 * forecast.probability)} %`;
  line.textContent = forecast.warning
    ? `Careful: “${forecast.title}” seems to come next (${sure}), too early`
    : `Next: ${forecast.title} (${sure})`;
  line.className = forecast.warning ? "warning" : "";
}

// Clips are kept when an alarm is drawn anew, or they would begin again.
const playing = new Map();

function clip(key, source, caption) {
  if (!playing.has(key)) {
    const image = element("img");
    image.src = source;
    image.alt = caption;
    playing.set(key, element("figure", { children: [image, element("figcaption", { text: caption })] }));
  }
  return playing.get(key);
}

function clips(alarm) {
  const shown = [];
  const step = encodeURIComponent(alarm.step);
  if (alarm.clip) shown.push(clip(`${alarm.number}`, `/api/alarms/${alarm.number}/clip.webp`, "This time"));
  if (alarm.normal_clip) shown.push(clip(`${alarm.number} ${step}`, `/api/steps/${step}/clip.webp`, "Done right"));
  return element("div", { className: "clips", children: shown });
}

function alarmItem(alarm) {
  const where = alarm.title ? ` in “${alarm.title}”` : "";
  const about = [alarm.priority, words(alarm.state), `${span(alarm.age_s)} ago`, `cycle ${alarm.cycle}`];
  if (alarm.acknowledged_by) about.push(`seen by ${alarm.acknowledged_by}`);
  const condition = alarm.step ? `${alarm.kind}@${alarm.step}` : alarm.kind;
  const title = words(alarm.kind) + where;
  const buttons = [
    element("button", { text: "False alarm", onclick: () => ask(`False alarm: ${title}`, `/api/alarms/${alarm.number}/false_alarm`) }),
  ];
  if (!alarm.acknowledged_by) {
    buttons.unshift(element("button", { text: "Acknowledge", onclick: () => ask(`Acknowledge: ${title}`, `/api/alarms/${alarm.number}/acknowledge`) }));
  }
  if (alarm.state !== "shelved" && alarm.state !== "out_of_service") {
    buttons.push(element("button", { text: "Shelve", onclick: () => ask(`Shelve: ${title}`, "/api/shelve", { condition }, true) }));
    buttons.push(element("button", { text: "Out of service", onclick: () => ask(`Take out of service: ${title}`, "/api/out_of_service", { condition }) }));
  }
  return element("li", {
    className: `alarm ${alarm.priority} ${alarm.state}`,
    children: [
      element("h3", { text: `${alarm.number}. ${title}` }),
      element("p", { className: "about", text: about.join(" · ") }),
      element("p", { className: "reason", text: alarm.reason }),
      clips(alarm),
      element("ul", { className: "consequences", children: alarm.consequences.map((text) => element("li", { text })) }),
      element("div", { className: "buttons", children: buttons }),
    ],
  });
}

// Redrawn only when something but the age has changed, so that a finger does not miss its button.
let drawn = "";
function showAlarms(board) {
  find("count").textContent = board.alarms.length ? `(${board.alarms.length})` : "";
  const key = JSON.stringify(board.alarms.map(({ age_s, ...rest }) => [span(age_s), rest]));
  if (key !== drawn) {
    drawn = key;
    const open = new Set(board.alarms.map((alarm) => `${alarm.number}`));
    for (const key of playing.keys()) if (!open.has(key.split(" ")[0])) playing.delete(key);
    const items = board.alarms.map(alarmItem);
    if (!items.length) items.push(element("li", { className: "none", text: "None. All is well." }));
    find("alarms").replaceChildren(...items);
  }
  const conditions = [
    ...board.shelves.map((shelf) => [shelf.condition, `shelved by ${shelf.by}, ${span(shelf.left_s)} left`, "/api/unshelve", "Unshelve"]),
    ...Object.entries(board.out_of_service).map(([condition, by]) => [condition, `out of service, by ${by}`, "/api/in_service", "Return to service"]),
  ];
  find("aside").hidden = !conditions.length;
  find("conditions").replaceChildren(...conditions.map(([condition, text, path, verb]) => element("li", {
    children: [
      element("span", { text: `${words(condition)}: ${text}` }),
      element("button", { text: verb, onclick: () => ask(`${verb}: ${words(condition)}`, path, { condition }) }),
    ],
  })));
}

// Answers

let pending = null;

function ask(question, path, body = {}, withTime = false) {
  pending = { path, body, withTime };
  find("question").textContent = question;
  find("for").hidden = !withTime;
  find("refusal").textContent = "";
  find("comment").value = "";
  find("by").value = localStorage.getItem("by") ?? "";
  find("token").value = localStorage.getItem("token") ?? "";
  find("answer").showModal();
}

async function send(event) {
  event.preventDefault();
  const by = find("by").value.trim();
  const token = find("token").value.trim();
  const body = { ...pending.body, by, comment: find("comment").value };
  if (pending.withTime) body.minutes = Number(find("minutes").value);
  try {
    const response = await fetch(pending.path, {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
      body: JSON.stringify(body),
    });
    if (!response.ok) {
      const { detail } = await response.json();
      find("refusal").textContent = typeof detail === "string" ? detail : "Please fill in the form.";
      return;
    }
  } catch {
    find("refusal").textContent = "The monitor does not answer.";
    return;
  }
  localStorage.setItem("by", by);
  localStorage.setItem("token", token);
  find("answer").close();
  await Promise.all([refresh(), newest()]);
}

// History: the newest entries on top; a button adds older ones below.

function took(steps) {
  if (!steps?.length) return "";
  return `, ${((steps.at(-1)[2] - steps[0][1]) / 1e9).toFixed(1)} s`;
}

function entryRow(entry) {
  const { alarm, kind, step, reason, text, by, comment, condition, cycle, partly } = entry.body;
  const detail = [
    alarm && `alarm ${alarm}`, kind && words(kind), condition && words(condition), step && words(step),
    reason, text, by && `by ${by}`, comment && `“${comment}”`,
    entry.kind === "cycle_ended" && `cycle ${cycle}${partly ? ", not seen as a whole" : took(entry.body.steps)}`,
  ];
  const row = element("tr");
  row.dataset.number = entry.number;
  row.append(
    element("td", { text: entry.number }),
    element("td", { text: new Date(entry.stamp_ns / 1e6).toLocaleString() }),
    element("td", { text: words(entry.kind) }),
    element("td", { text: detail.filter(Boolean).join(", ") }),
  );
  return row;
}

async function history(before) {
  const response = await fetch(`/api/history?limit=25${before ? `&before=${before}` : ""}`);
  return response.ok ? response.json() : [];
}

async function newest() {
  const entries = await history();
  const table = find("history");
  const known = Number(table.firstElementChild?.dataset.number ?? 0);
  const fresh = entries.filter((entry) => entry.number > known);
  if (fresh.length === entries.length) table.replaceChildren();
  table.prepend(...fresh.map(entryRow));
  hideOlder();
}

async function older() {
  const last = Number(find("history").lastElementChild?.dataset.number ?? 1);
  if (last > 1) find("history").append(...(await history(last)).map(entryRow));
  hideOlder();
}

function hideOlder() {
  find("older").hidden = Number(find("history").lastElementChild?.dataset.number ?? 1) <= 1;
}

// Once a second

let seen = 0;

async function refresh() {
  const connection = find("connection");
  try {
    const response = await fetch("/api/board");
    if (!response.ok) throw new Error(response.statusText);
    const board = await response.json();
    showWork(board);
    showAlarms(board);
    drawChart(find("chart"), find("chart-note"), board.cycles);
    connection.textContent = "live";
    connection.className = "";
    if (board.head !== seen) {
      seen = board.head;
      await newest();
    }
  } catch {
    connection.textContent = "no connection to the monitor";
    connection.className = "lost";
  }
}

async function showPicture() {
  const image = find("picture");
  try {
    const response = await fetch("/api/picture.jpg");
    if (response.ok) {
      const before = image.src;
      image.src = URL.createObjectURL(await response.blob());
      await image.decode();
      if (before) URL.revokeObjectURL(before);
    }
    image.hidden = !response.ok;
  } catch {
    image.hidden = true;
  }
  find("no-picture").hidden = !image.hidden;
}

// One after the other, so that a slow network does not pile requests up.
async function every(periodMs, work) {
  for (;;) {
    if (!document.hidden) await work();
    await new Promise((done) => setTimeout(done, periodMs));
  }
}

find("answer").querySelector("form").addEventListener("submit", send);
find("cancel").addEventListener("click", () => find("answer").close());
find("older").addEventListener("click", older);
every(PERIOD_MS, refresh);
every(PICTURE_MS, showPicture);
