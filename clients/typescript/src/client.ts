/** A typed client of Paretorank's HTTP API. `schema.d.ts` is generated from `../openapi.json`. */
import createClient, { type Client, type ClientOptions } from "openapi-fetch";

import type { components, paths } from "./schema.js";

export type RankRequest =
  paths["/rank"]["post"]["requestBody"]["content"]["application/json"];
export type RankResponse = components["schemas"]["RankResponse"];
export type RankedItem = components["schemas"]["RankedItem"];
export type ItemColumns = components["schemas"]["ItemColumns"];
export type ModelInfo = components["schemas"]["ModelInfo"];
export type ErrorDetail = components["schemas"]["ErrorDetail"];

export interface Options extends Omit<ClientOptions, "baseUrl"> {
  /** An API key. Anybody can read a key that is in a page: call from your server instead. */
  apiKey?: string;
}

/** Return a client of the service at `baseUrl`, such as `https://rank.example`. */
export function paretorank(baseUrl: string, { apiKey, ...options }: Options = {}): Client<paths> {
  const client = createClient<paths>({ ...options, baseUrl });
  if (apiKey !== undefined) {
    client.use({
      onRequest({ request }) {
        request.headers.set("X-API-Key", apiKey);
        return request;
      },
    });
  }
  return client;
}
