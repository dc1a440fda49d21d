// The service as the page sees it: its answers, its errors, the key.

export interface Estimate {
  mean: number;
  se: number | null;
}

export interface FrontPoint {
  tradeoff: number;
  logged: Record<string, Estimate>;
  unbiased: Record<string, Estimate>;
  shown: Record<string, Estimate>;
}

export interface Front {
  points: FrontPoint[];
  unbiased_kind: string;
  axis: string;
  verdict: "clear" | "weak" | "none";
  recommended: number | null;
  advice: string;
  diagnostic: string;
  dataset: string;
}

export interface Model {
  name: string;
  version: number;
  aliases: string[];
  default: boolean;
  default_tradeoff: number;
  score_meaning: string;
  items: number;
  front: Front;
  card: string | null;
}

export interface Item {
  item_id: string;
  rank: number;
  score: number | null;
  status: "ok" | "cold" | "missing";
  explain?: { debiased: { rank: number }; logged: { rank: number } };
  title?: string;
  picture?: string;
  link?: string;
}

export interface RankRequest {
  user_id: string;
  history?: string[];
  candidates?: string[];
  tradeoff: number;
  top_k: number;
  model: string;
}

export type Stage = "user" | "catalog" | "score" | "select";

export interface Ranking {
  model: string;
  tradeoff: number;
  items: Item[];
  degraded: string[];
  timing_ms: Record<Stage | "total", number>;
}

export interface Explored {
  ranking: Ranking;
  percentiles: number[] | null;
  popularity_percentile: number | null;
  tail_share: number | null;
}

export interface Start {
  users: string[];
  rank_port: number | null;
}

/** An answer that is no success, or none at all: then the status is 0. */
export class ServiceError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly retryS: number | null,
  ) {
    super(message);
  }
}

const KEY = "paretorank-key";
const TIMEOUT_MS = 15_000;

/** The API key, kept until the tab is closed; empty without one. */
export const key = {
  get: (): string => sessionStorage.getItem(KEY) ?? "",
  set: (value: string): void => sessionStorage.setItem(KEY, value),
};

export const models = async (): Promise<Model[]> =>
  (await call<{ models: Model[] }>("models")).models;

export const start = (model: string): Promise<Start> =>
  call<Start>(`explorer/start?model=${encodeURIComponent(model)}`);

export const rank = (request: RankRequest): Promise<Explored> =>
  call<Explored>("explorer/rank", { ...request, explain: true, titles: true });

/** Return why the service is not ready, or what is wrong with it; null if nothing is. */
export async function reason(): Promise<string | null> {
  const answer = await fetch("readyz", { signal: AbortSignal.timeout(TIMEOUT_MS) });
  return ((await answer.json()) as { reason: string | null }).reason;
}

async function call<T>(path: string, body?: object): Promise<T> {
  const headers: Record<string, string> = {};
  if (key.get()) headers["X-API-Key"] = key.get();
  if (body) headers["Content-Type"] = "application/json";
  let answer: Response;
  try {
    answer = await fetch(path, {
      method: body ? "POST" : "GET",
      headers,
      body: body ? JSON.stringify(body) : null,
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (answer.ok) return (await answer.json()) as T;
  } catch {
    throw new ServiceError(0, "no_answer", "The service does not answer.", 2);
  }
  throw await serviceError(answer);
}

async function serviceError(answer: Response): Promise<ServiceError> {
  const retry = Number(answer.headers.get("Retry-After")) || null;
  try {
    const { error } = (await answer.json()) as { error: { code: string; message: string } };
    return new ServiceError(answer.status, error.code, error.message, retry);
  } catch {
    return new ServiceError(answer.status, "unknown", `The answer was ${answer.status}.`, retry);
  }
}
