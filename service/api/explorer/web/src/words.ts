// What the page says about states and errors.
import type { ServiceError } from "./api";

const DEGRADED: Record<string, string> = {
  unknown_user: "This user has no record and no known history: ranked for an average user.",
  store_unavailable: "Redis does not answer: ranked from memory, without what is only there.",
  deadline: "The deadline passed before Redis answered: ranked from memory.",
  corrupt_record: "The user's record is damaged: ranked without it.",
  overloaded: "Too many reads wait for Redis: ranked without the records that were not read.",
  partial_catalog: "The catalogue does not fit in memory: the part in memory is ranked.",
  lost_items: "Redis has lost records of items: ranked with their states in memory.",
};

/** Return a sentence for a reason of `degraded`. */
export const degraded = (name: string): string => DEGRADED[name] ?? `Degraded: ${name}.`;

/** Return what a reader can do about an error. */
export function mend(error: ServiceError): string {
  switch (error.status) {
    case 0:
      return "The list below is the last one. Trying again.";
    case 403:
      return "The page needs a key with the scopes admin and rank.";
    case 429:
      return "The list below is the last one. Trying again.";
    case 503:
      return "Trying again.";
    default:
      return "";
  }
}

const METRICS: Record<string, string> = { auc: "AUC", gauc: "GAUC", matched_auc: "matched AUC" };

/** Return a metric's name for people: `ndcg_at_10` is NDCG@10. */
export function metric(name: string): string {
  const [head, k] = name.split("_at_");
  if (k === undefined || head === undefined) return METRICS[name] ?? name.replaceAll("_", " ");
  return `${head === "ndcg" ? "NDCG" : head.charAt(0).toUpperCase() + head.slice(1)}@${k}`;
}

export const tradeoff = (w: number): string => w.toFixed(2);
export const percent = (share: number): string => `${Math.round(100 * share)} %`;

/** Return a duration; below 10 ms with two digits after the point. */
export const ms = (value: number): string => `${value.toFixed(value < 10 ? 2 : 0)} ms`;

/** Return how far an item has moved from its place at another tradeoff, for a screen reader. */
export function moved(places: number, w: number): string {
  if (places === 0) return `same place as at w = ${w}`;
  const count = Math.abs(places);
  const direction = places > 0 ? "higher" : "lower";
  return `${count} ${count === 1 ? "place" : "places"} ${direction} than at w = ${w}`;
}
