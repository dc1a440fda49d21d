// The explorer page: rank for somebody, drag the tradeoff, see what changes.
import type { Model, ServiceError } from "./api";
import { key, models as loadModels, reason, start } from "./api";
import { afterPause, byId, h, setText } from "./dom";
import { FrontChart, shownAt, type Position } from "./front";
import { curl, showPopularity, showTimes } from "./panels";
import { type Common, label, Side } from "./side";
import * as words from "./words";

const HISTORY_USER = "explorer:typed-history"; // has no record, so that the history counts
const TYPING_MS = 250;
const SPOKEN_MS = 700;
const RETRY_S = 2;

const controls = byId<HTMLFormElement>("controls");
const user = byId<HTMLInputElement>("user");
const history_ = byId<HTMLTextAreaElement>("history");
const candidates = byId<HTMLTextAreaElement>("candidates");
const top_ = byId<HTMLSelectElement>("top");
const compare = byId<HTMLButtonElement>("compare");
const sidesElement = byId("sides");

let models: Model[] = [];
let users: string[] = [];
let usersOf = "";
let rankPort: number | null = null;
const sides: Side[] = [];
const charts = new Map<string, FrontChart>();
const errors = new Map<Side, ServiceError>();
const retries = new Map<Side, number>();

const chosen = (group: string): string =>
  (controls.elements.namedItem(group) as RadioNodeList).value;
const choose = (group: string, value: string): void => {
  (controls.elements.namedItem(group) as RadioNodeList).value = value;
};
const ids = (text: string): string[] => [
  ...new Set(text.split(/[\n,]+/).map((id) => id.trim()).filter(Boolean)),
];

function common(): Common {
  const history = chosen("who") === "history";
  const pool = chosen("pool") === "candidates" ? ids(candidates.value) : [];
  return {
    user_id: history ? HISTORY_USER : user.value.trim() || "?",
    ...(history ? { history: ids(history_.value) } : {}),
    ...(pool.length ? { candidates: pool } : {}),
    top_k: Number(top_.value),
  };
}

const listener = {
  moved(side: Side): void {
    showFronts();
    if (side === sides[0] && side.model && label(side.model) !== usersOf) void offerUsers(side.model);
  },
  ranked(side: Side): void {
    errors.delete(side);
    clearTimeout(retries.get(side));
    showLists();
    remember();
    speak();
  },
  failed(side: Side, error: ServiceError): void {
    errors.set(side, error);
    if (error.status === 401 || error.status === 403) askKey(error);
    showNotice();
    if (error.code === "model_not_found") void boot();
    else if (error.retryS !== null) {
      clearTimeout(retries.get(side));
      retries.set(side, setTimeout(() => side.rank(), 1000 * error.retryS));
    }
  },
  add(itemId: string): void {
    history_.value = [...ids(history_.value), itemId].join(", ");
    rankAll();
  },
};

function rankAll(): void {
  for (const side of sides) side.rank();
}

/** Load the models and rank; wait and try again while there are none. */
async function boot(): Promise<void> {
  try {
    models = await loadModels();
    if (!models.length) {
      const why = (await reason()) ?? "no model is loaded";
      return later(`No model serves yet: ${why}. Trying again.`);
    }
  } catch (thrown) {
    const error = thrown as ServiceError;
    if (error.status === 401 || error.status === 403) return askKey(error);
    return later(`${error.message} Trying again.`);
  }
  byId("key-form").hidden = true;
  charts.clear();
  const first = sides.length === 0;
  if (first) addSide("");
  for (const side of sides) side.offer(models, first ? wishes.get("model") : null);
  if (first && wishes.has("b")) toggleCompare();
  const model = sides[0]?.model;
  if (model) await offerUsers(model);
  if (first) {
    const side = sides[0] as Side;
    side.setTradeoff(wish("w") ?? side.model?.default_tradeoff ?? 0.5);
  } else rankAll();
}

function later(text: string): void {
  notice([text], "error");
  setTimeout(() => void boot(), 1000 * RETRY_S);
}

async function offerUsers(model: Model): Promise<void> {
  usersOf = label(model);
  setText(byId("items"), `all ${model.items.toLocaleString("en")} items`);
  try {
    ({ users, rank_port: rankPort } = await start(usersOf));
  } catch {
    users = []; // a user can still be typed
  }
  byId("users").replaceChildren(...users.map((id) => h("option", { value: id })));
  byId<HTMLButtonElement>("next").disabled = users.length < 2;
  if (!user.value && users[0]) user.value = users[0];
}

function addSide(name: string): Side {
  const side = new Side(name, listener, common);
  sides.push(side);
  sidesElement.append(side.element);
  return side;
}

/** Show two rankings side by side, or one again. */
function toggleCompare(): void {
  const two = sides.length < 2;
  const [old] = sides;
  const [w, model] = [old?.tradeoff ?? wish("w") ?? 0.5, old?.model];
  for (const side of sides.splice(0)) {
    clearTimeout(retries.get(side));
    errors.delete(side);
    side.element.remove();
  }
  document.body.classList.toggle("two", two);
  compare.setAttribute("aria-pressed", `${two}`);
  for (const name of two ? ["A", "B"] : [""]) {
    const side = addSide(name);
    const other = name === "B";
    side.offer(models, (other && wishes.get("bmodel")) || (model ? label(model) : null));
    side.setTradeoff(other ? (wish("b") ?? (w < 0.5 ? 1 : 0)) : w);
  }
  wishes.delete("b");
}

function showFronts(): void {
  const fronts = byId("front");
  const shown = new Map<string, Position[]>();
  for (const side of sides) {
    if (!side.model) continue;
    const name = label(side.model);
    const position = { name: side.name, tradeoff: side.tradeoff };
    shown.set(name, [...(shown.get(name) ?? []), position]);
    if (charts.has(name)) continue;
    const go = (w: number): void => sides.find((s) => s.model && label(s.model) === name)?.setTradeoff(w);
    charts.set(name, new FrontChart(side.model, go));
  }
  const wanted = [...shown.keys()].map((name) => (charts.get(name) as FrontChart).element);
  if (wanted.some((element, index) => fronts.children[index] !== element) ||
      wanted.length !== fronts.children.length) fronts.replaceChildren(...wanted);
  for (const [name, positions] of shown) charts.get(name)?.show(positions);
}

function showLists(): void {
  const ranked = sides.filter((side) => side.explored);
  showPopularity(byId("shown"), ranked.flatMap((side) => side.explored && side.model ? [{
    name: side.name,
    explored: side.explored,
    tailOfAll: shownAt(side.model.front, "tail_share", side.tradeoff),
    popularityOfAll: shownAt(side.model.front, "popularity_percentile", side.tradeoff),
  }] : []));
  showTimes(byId("time"), ranked.flatMap((side) =>
    side.explored ? [[side.name, side.explored, side.roundTripMs] as const] : []).map((x) => [...x]));
  showRequests();
  compareLists();
  showNotice();
}

function showRequests(): void {
  const texts = sides.flatMap((side) => (side.request ? [curl(side.name, side.request, rankPort)] : []));
  const blocks = byId("curl").querySelectorAll("pre");
  if (blocks.length === texts.length) {
    texts.forEach((text, index) => setText(blocks[index] as Element, text));
    return;
  }
  byId("curl").replaceChildren(...texts.flatMap((text) => {
    const pre = h("pre", {}, text);
    const copy = h("button", { type: "button", click: () => {
      void navigator.clipboard.writeText(pre.textContent ?? "").then(() => setText(copy, "Copied"));
      setTimeout(() => setText(copy, "Copy"), 1500);
    } }, "Copy");
    return [pre, copy];
  }));
}

function compareLists(): void {
  const [a, b] = sides.map((side) =>
    side.explored && new Set(side.explored.ranking.items.map((item) => item.item_id)));
  sides[0]?.compareWith(b ?? null);
  sides[1]?.compareWith(a ?? null);
}

/** Show the errors, else the reasons for which rankings are degraded. */
function showNotice(): void {
  const problems = sides.flatMap((side) => {
    const error = errors.get(side);
    return error ? [`${error.message} ${words.mend(error)}`.trim()] : [];
  });
  if (problems.length) return notice(problems, "error");
  const reasons = sides.flatMap((side) => side.explored?.ranking.degraded ?? []);
  const typed = chosen("who") === "history";
  notice(reasons.map((name) => typed && name === "unknown_user"
    ? "No item of the history is known: ranked for an average user."
    : words.degraded(name)), "degraded");
}

function notice(texts: string[], kind: "error" | "degraded"): void {
  const element = byId("notice");
  element.className = kind;
  element.hidden = !texts.length;
  const text = [...new Set(texts)].join(" ");
  setText(element, text);
}

function askKey(error: ServiceError): void {
  byId("key-form").hidden = false;
  setText(byId("key-text"), error.status === 401 && !key.get()
    ? "This service asks for a key: one with the scopes admin and rank."
    : `${error.message}. The page needs a key with the scopes admin and rank.`);
  byId("key").focus();
}

/** Tell a screen reader what the ranking became, once it stands still. */
const speak = afterPause(SPOKEN_MS, () => {
  const texts = sides.map((side) => {
    const items = side.explored?.ranking.items ?? [];
    const first = items.slice(0, 3).map((item) => item.title ?? item.item_id).join(", ");
    const tail = side.explored?.tail_share;
    const share = tail == null ? "" : `, ${words.percent(tail)} long tail`;
    const name = side.name ? `Ranking ${side.name} at` : "Ranking at";
    return `${name} ${words.tradeoff(side.tradeoff)}: ${items.length} items${share}. First: ${first}.`;
  });
  setText(byId("said"), texts.join(" "));
});

/** Keep the view in the address, so that it can be sent to others. */
const remember = afterPause(SPOKEN_MS, () => {
  const view = new URLSearchParams();
  if (chosen("who") === "user") view.set("user", user.value);
  else view.set("history", ids(history_.value).join(","));
  if (chosen("pool") === "candidates") view.set("candidates", ids(candidates.value).join(","));
  view.set("top", top_.value);
  const [a, b] = sides;
  if (a?.model) view.set("model", label(a.model));
  if (a) view.set("w", `${a.tradeoff}`);
  if (b?.model) view.set("bmodel", label(b.model));
  if (b) view.set("b", `${b.tradeoff}`);
  history.replaceState(null, "", `#${view}`);
});

const wishes = new URLSearchParams(location.hash.slice(1));
function wish(name: string): number | null {
  const value = Number(wishes.get(name) ?? NaN);
  return value >= 0 && value <= 1 ? value : null;
}

function readWishes(): void {
  user.value = wishes.get("user") ?? "";
  history_.value = (wishes.get("history") ?? "").replaceAll(",", ", ");
  if (wishes.has("history")) choose("who", "history");
  candidates.value = (wishes.get("candidates") ?? "").replaceAll(",", ", ");
  if (wishes.has("candidates")) choose("pool", "candidates");
  const top = wishes.get("top");
  if (top && [...top_.options].some((option) => option.value === top)) top_.value = top;
}

function showChoices(): void {
  const [who, pool] = [chosen("who"), chosen("pool")];
  byId("who-user").hidden = who !== "user";
  byId("who-history").hidden = who !== "history";
  document.body.classList.toggle("adds", who === "history");
  byId("pool-whole").hidden = pool !== "whole";
  byId("pool-candidates").hidden = pool !== "candidates";
  if (pool === "candidates" && !candidates.value) {
    const items = sides[0]?.explored?.ranking.items ?? [];
    candidates.value = items.map((item) => item.item_id).join(", ");
  }
}

const typed = afterPause(TYPING_MS, rankAll);
controls.addEventListener("input", (event) => {
  const element = event.target as HTMLElement;
  if (element.closest("#controls") && element !== top_) typed();
});
controls.addEventListener("change", () => {
  showChoices();
  rankAll();
});
controls.addEventListener("submit", (event) => event.preventDefault());
byId("next").addEventListener("click", () => {
  user.value = users[(users.indexOf(user.value) + 1) % users.length] ?? user.value;
  rankAll();
});
compare.addEventListener("click", toggleCompare);
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set(byId<HTMLInputElement>("key").value.trim());
  byId("key-form").hidden = true;
  errors.clear();
  void boot();
});
addEventListener("resize", afterPause(100, () => {
  for (const side of sides) side.list.resize();
}));

document.querySelector(".skip")?.addEventListener("click", (event) => {
  event.preventDefault(); // the address keeps the view
  sidesElement.focus();
});
addEventListener("hashchange", () => location.reload()); // another view was pasted

readWishes();
showChoices();
void boot();
