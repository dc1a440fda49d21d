// The cards beside the ranking: what it shows, its time, the request.
import type { Explored, RankRequest, Stage } from "./api";
import { key } from "./api";
import { h } from "./dom";
import { ms, percent } from "./words";

const STAGES: Record<Stage, string> = {
  user: "user",
  catalog: "catalogue",
  score: "score",
  select: "select",
};

/** The popularity of one shown list, and that of all users at the same tradeoff. */
export interface Shown {
  name: string;
  explored: Explored;
  tailOfAll: number | null;
  popularityOfAll: number | null;
}

/** Show the long-tail share and the popularity of the lists, as meters. */
export function showPopularity(card: HTMLElement, lists: Shown[]): void {
  const parts = lists.flatMap(({ name, explored, tailOfAll, popularityOfAll }) => {
    const { tail_share: tail, popularity_percentile: popularity } = explored;
    if (tail === null || popularity === null) {
      return [h("p", {}, "The model's artifact does not hold the popularity of items.")];
    }
    const all = popularityOfAll === null ? null : popularityOfAll / 100;
    return [
      meter(`${name} long tail`.trim(), percent(tail), tail, tailOfAll, "tail"),
      meter(`${name} mean popularity`.trim(), `${popularity.toFixed(0)} of 100`, popularity / 100,
        all, "popular"),
    ];
  });
  card.replaceChildren(...parts);
}

function meter(
  label: string, value: string, share: number, ofAll: number | null, kind: string,
): HTMLElement {
  const track = h("span", { class: `meter ${kind}`, "aria-hidden": "true" }, h("span"));
  track.style.setProperty("--share", `${share}`);
  if (ofAll !== null) {
    track.append(h("i", { title: "all users, first 10 places of the whole catalogue" }));
    track.style.setProperty("--all", `${ofAll}`);
  }
  const all = ofAll === null ? "" : `all users ${Math.round(100 * ofAll)}${kind === "tail" ? " %" : ""}`;
  return h(
    "div",
    { class: "measure" },
    h("span", { class: "name" }, label),
    h("b", {}, value),
    track,
    h("span", { class: "all" }, all),
  );
}

/** Show the time of each stage as one bar a list, and that of the whole round trip. */
export function showTimes(card: HTMLElement, lists: [string, Explored, number][]): void {
  const parts = lists.flatMap(([name, { ranking }, roundTripMs]) => {
    const bar = h("div", { class: "stages", "aria-hidden": "true" });
    const legend = h("ul", { class: "legend" });
    for (const [stage, label] of Object.entries(STAGES) as [Stage, string][]) {
      const part = h("span", { class: stage });
      part.style.flexGrow = `${ranking.timing_ms[stage]}`;
      bar.append(part);
      legend.append(
        h("li", { class: stage }, `${label} `, h("b", {}, ms(ranking.timing_ms[stage]))),
      );
    }
    const total = `${name} ${ms(ranking.timing_ms.total)} in the service`.trim();
    return [
      h("p", {}, h("b", {}, total), `, ${ms(roundTripMs)} until the page had it`),
      bar,
      legend,
    ];
  });
  card.replaceChildren(...parts);
}

/** Return the request as a curl command; a key stands as the variable KEY. */
export function curl(name: string, request: RankRequest, rankPort: number | null): string {
  const url = new URL("rank", document.baseURI);
  url.hash = "";
  if (rankPort !== null) url.port = `${rankPort}`;
  const body = JSON.stringify(request).replaceAll("'", "'\\''");
  const masked = key.get() ? ` \\\n  -H "X-API-Key: $KEY"` : "";
  const title = name && `# ${name}\n`;
  return `${title}curl -s ${url.href} \\\n  -H 'content-type: application/json'${masked} \\\n  -d '${body}'`;
}
