// @ts-check
// Keeps what is shown true: listens on the live socket for news and asks again for the regions that show it.
//
//   <section id="lag-table" data-live="lag lag:3" data-live-refetch="/lag/table/?page=2"> … </section>
//
// data-live          the topics the element shows. News of one fires `ef:news` on it (detail.topics; preventDefault()
//                    keeps it from being asked for again) and, with data-live-refetch, fetches it.
// data-live-refetch  a URL whose answer holds an element of the same id (asked for with HX-Request), or "#id": this
//                    page's own URL, asked for whole, with the element of that id picked out of it.
// data-live-hold     while the pointer is in it, rows do not move: values change in place, new rows wait.
// data-live-ignore   the element and what is in it belong to a script; data-live-keep="attr …" keeps single attributes.
// data-live-own      on what a script added and the server does not know: it stays until the script takes it away.
// data-needs-live    a button that is off while the connection is lost.
//
// After a region changed, `ef:refreshed` fires on it (bubbles). Content never comes over the socket.

import { morph } from "./morph.js";

const PING_MS = 10_000;
const APART_MS = 400;
const LOST_AFTER_MS = 5_000;
const RELOAD_AFTER_MS = 60_000;
const MAX_TOPICS = 64;
const UNAUTHENTICATED = 4401;

/** @typedef {{url: string, running: boolean, dirty: boolean, at: number, failures: number, pending: Element | null, waiting: number}} Region */

/** @type {WeakMap<Element, Region>} */
const regions = new WeakMap();
/** @type {WebSocket | null} */
let socket = null;
let shown = "";
let tries = 0;
let paused = "";
let held = "";
let signedOut = false;
let answeredAt = 0;
let lostAt = Date.now();
let everConnected = false;
let missed = 0;
/** @type {number | undefined} */
let flushTimer;
/** @type {number | undefined} */
let connectTimer;

const canHover = matchMedia("(hover: hover)");
const clock = () => new Date().toISOString().slice(11, 19);
const isConnected = () => socket?.readyState === WebSocket.OPEN;
const elements = () => [...document.querySelectorAll("[data-live]")];
/** @param {Element} element */
const topicsOf = (element) => (element.getAttribute("data-live") || "").split(/\s+/).filter(Boolean);

/** @param {Element} element @returns {Region} */
function regionOf(element) {
  let region = regions.get(element);
  if (!region) {
    region = { url: "", running: false, dirty: false, at: 0, failures: 0, pending: null, waiting: 0 };
    regions.set(element, region);
  }
  return region;
}

/** @param {Element} element */
function refetchUrl(element) {
  const wanted = element.getAttribute("data-live-refetch");
  return wanted && (wanted.startsWith("#") ? location.href.split("#")[0] + wanted : new URL(wanted, location.href).href);
}

/** @param {Element} element */
function isUnderPointer(element) {
  if (!canHover.matches) return false;
  return element.matches("[data-live-hold]:hover, [data-live-hold]:hover *") || element.querySelector("[data-live-hold]:hover") !== null;
}

/* ---------- what to ask for again ---------- */

/** @param {Element} element */
function mark(element) {
  if (!element.id || !element.hasAttribute("data-live-refetch")) return;
  regionOf(element).dirty = true;
}

/** Ask again for one element, or for everything. @param {Element} [element] */
export function refresh(element) {
  for (const one of element ? [element] : elements()) {
    if (announce(one, topicsOf(one))) mark(one);
  }
  flushSoon(0);
}

/** @param {Element} element @param {string[]} topics @returns {boolean} whether it is to be fetched */
const announce = (element, topics) =>
  element.dispatchEvent(new CustomEvent("ef:news", { bubbles: true, cancelable: true, detail: { topics } }));

/** @param {string[]} topics */
function onNews(topics) {
  const news = new Set(topics);
  if (paused || held) missed += 1;
  for (const element of elements()) {
    const hits = topicsOf(element).filter((topic) => news.has(topic));
    if (!hits.length) continue;
    if (paused || held) mark(element);
    else if (announce(element, hits)) mark(element);
  }
  if (paused || held) paintPill();
  flushSoon(0);
}

/** @param {number} wait */
function flushSoon(wait) {
  if (flushTimer !== undefined) {
    if (wait > 0) return;
    clearTimeout(flushTimer);
  }
  flushTimer = setTimeout(flush, wait);
}

function flush() {
  flushTimer = undefined;
  if (paused || held || document.hidden || signedOut) return;
  /** @type {Map<string, Element[]>} */
  const due = new Map();
  let soonest = Infinity;
  for (const element of elements()) {
    const region = regions.get(element);
    if (!region?.dirty || region.running) continue;
    const apart = APART_MS * 2 ** Math.min(region.failures, 6);
    const wait = region.at + apart - performance.now();
    if (wait > 0) {
      soonest = Math.min(soonest, wait);
      continue;
    }
    const url = refetchUrl(element);
    if (!url) continue;
    region.dirty = false;
    region.running = true;
    region.url = url;
    const page = url.split("#")[0] + (url.includes("#") ? "#" : "");
    due.set(page, [...(due.get(page) || []), element]);
  }
  for (const [page, ones] of due) ask(page, ones);
  if (soonest < Infinity) flushSoon(soonest);
}

/** One request, for all regions that come out of it. @param {string} page @param {Element[]} ones */
async function ask(page, ones) {
  const whole = page.endsWith("#");
  try {
    const headers = whole ? {} : { "HX-Request": "true" };
    const answer = await fetch(page.replace(/#$/, ""), { headers, credentials: "same-origin", cache: "no-store" });
    if (answer.redirected && new URL(answer.url).pathname.startsWith("/account/")) return signOut();
    if (!answer.ok) throw new Error(`${answer.status}`);
    const tree = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const element of ones) {
      const region = regionOf(element);
      region.failures = 0;
      const newer = tree.getElementById(element.id);
      if (element.isConnected && newer && refetchUrl(element) === region.url) show(element, newer);
    }
  } catch {
    for (const element of ones) {
      const region = regionOf(element);
      region.failures += 1;
      if (region.failures < 8) region.dirty = true;
    }
  } finally {
    for (const element of ones) {
      const region = regionOf(element);
      region.running = false;
      region.at = performance.now();
    }
    flushSoon(APART_MS);
  }
}

/** @param {Element} element @param {Element} newer */
function show(element, newer) {
  const region = regionOf(element);
  const hold = isUnderPointer(element);
  region.waiting = morph(element, newer, hold);
  region.pending = hold ? newer : null;
  const htmx = /** @type {any} */ (window).htmx;
  if (!hold && htmx) htmx.process(element);
  element.dispatchEvent(new CustomEvent("ef:refreshed", { bubbles: true }));
  paintPill();
}

/** Let in what waited while the pointer was on its list. @param {boolean} [all] */
function release(all = false) {
  for (const element of elements()) {
    const region = regions.get(element);
    if (!region?.pending || (!all && isUnderPointer(element))) continue;
    const newer = region.pending;
    region.pending = null;
    region.waiting = 0;
    morph(element, newer);
    /** @type {any} */ (window).htmx?.process(element);
    element.dispatchEvent(new CustomEvent("ef:refreshed", { bubbles: true }));
  }
  paintPill();
}

/* ---------- the pill ---------- */

function paintPill() {
  const pill = document.querySelector("[data-live-pill]");
  const text = pill?.querySelector("[data-live-text]");
  if (!pill || !text) return;
  const lost = !isConnected() && Date.now() - lostAt > LOST_AFTER_MS;
  const waiting = elements().reduce((sum, element) => sum + (regions.get(element)?.waiting || 0), 0);
  let state = "live";
  let words = "Live";
  if (signedOut) [state, words] = ["stale", "Signed out, reload"];
  else if (held) [state, words] = ["held", held];
  else if (paused) [state, words] = ["paused", missed ? `Resume, ${missed} new` : `Paused ${paused}`];
  else if (lost && Date.now() - lostAt > RELOAD_AFTER_MS) [state, words] = ["stale", "No connection, reload"];
  else if (lost) [state, words] = ["stale", `Reconnecting, ${Math.round((Date.now() - lostAt) / 1000)} s`];
  else if (waiting) [state, words] = ["waiting", `Resume, ${waiting} new`];
  pill.setAttribute("data-state", state);
  pill.setAttribute("aria-pressed", String(state === "paused"));
  if (text.textContent !== words) text.textContent = words;
  document.body.classList.toggle("paused", state === "paused" || state === "held");
  document.body.dataset.connection = state === "stale" ? "lost" : "ok";
  for (const button of document.querySelectorAll("[data-needs-live]")) {
    if (!(button instanceof HTMLButtonElement)) continue;
    if (state === "stale" && !button.disabled) {
      button.disabled = true;
      button.dataset.wasOn = "1";
      button.title = "Off until the connection is back";
    } else if (state !== "stale" && button.dataset.wasOn) {
      button.disabled = false;
      delete button.dataset.wasOn;
      button.removeAttribute("title");
    }
  }
}

export const isPaused = () => paused !== "";

/** Pause by the person, or go on and show what came meanwhile. */
export function togglePause() {
  if (signedOut || (!isConnected() && Date.now() - lostAt > RELOAD_AFTER_MS)) return location.reload();
  paused = paused ? "" : clock();
  missed = 0;
  paintPill();
  if (!paused) flushSoon(0);
}

/** A page that shows another time holds the news back; an empty label lets it go on. @param {string} label */
export function hold(label) {
  held = label;
  missed = 0;
  paintPill();
  if (!held) refresh();
}

function signOut() {
  signedOut = true;
  paintPill();
}

/* ---------- the socket ---------- */

function subscribe() {
  const topics = [...new Set(elements().flatMap(topicsOf))].sort().slice(0, MAX_TOPICS);
  const frame = JSON.stringify({ show: topics });
  if (frame === shown || !isConnected()) return;
  shown = frame;
  socket?.send(frame);
}

function connect() {
  clearTimeout(connectTimer);
  const path = document.body.dataset.socket;
  if (!path || signedOut || (socket && socket.readyState <= WebSocket.OPEN)) return;
  const mine = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`);
  socket = mine;
  shown = "";
  mine.addEventListener("open", () => {
    tries = 0;
    answeredAt = Date.now();
    everConnected = true;
    subscribe();
    paintPill();
    // What happened between the page's rendering (or the loss) and now is not known: ask.
    refresh();
  });
  mine.addEventListener("message", (event) => {
    answeredAt = Date.now();
    const message = JSON.parse(event.data);
    if (message.stale) refresh();
    if (Array.isArray(message.news)) onNews(message.news);
  });
  mine.addEventListener("close", (event) => {
    if (socket !== mine) return;
    socket = null;
    if (tries === 0) lostAt = Date.now();
    if (event.code === UNAUTHENTICATED) return signOut();
    const wait = Math.min(15_000, 500 * 2 ** tries) * (0.75 + Math.random() / 2);
    tries += 1;
    connectTimer = setTimeout(connect, wait);
  });
}

let pings = 0;
setInterval(() => {
  if (!isConnected()) return;
  if (Date.now() - answeredAt > 2.5 * PING_MS) return socket?.close();
  socket?.send(JSON.stringify({ ping: (pings += 1) }));
}, PING_MS);
setInterval(() => {
  if (!isConnected()) paintPill();
}, 1_000);

const again = () => {
  if (document.hidden) return;
  if (!isConnected()) connect();
  flushSoon(0);
};
addEventListener("online", again);
document.addEventListener("visibilitychange", again);
addEventListener("pagehide", () => socket?.close());
addEventListener("pageshow", (event) => event.persisted && connect());

document.addEventListener("pointerover", () => {
  if (elements().some((element) => regions.get(element)?.pending && !isUnderPointer(element))) release();
});
document.documentElement.addEventListener("pointerleave", () => release());
document.addEventListener("click", (event) => {
  const pill = event.target instanceof Element && event.target.closest("[data-live-pill]");
  if (!pill) return;
  if (pill.getAttribute("data-state") === "waiting") release(true);
  else togglePause();
});

let looking = false;
new MutationObserver(() => {
  if (looking) return;
  looking = true;
  queueMicrotask(() => {
    looking = false;
    subscribe();
  });
}).observe(document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ["data-live"] });

connect();
paintPill();
export const connected = () => everConnected && isConnected();
