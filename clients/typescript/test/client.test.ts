/** Calls a live service: `PARETORANK_URL` is its address, `PARETORANK_KEY` a key with all scopes. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { paretorank, type RankRequest } from "../src/client.js";

const url = process.env["PARETORANK_URL"] ?? "http://127.0.0.1:8000";
const apiKey = process.env["PARETORANK_KEY"] ?? "";
const client = paretorank(url, { apiKey });
const body: RankRequest = { user_id: "u0000", candidates: ["i0001", "i0002", "new"], tradeoff: 0 };

test("ranks candidates", async () => {
  const { data, error, response } = await client.POST("/rank", { body });
  assert.equal(error, undefined);
  assert.ok(Array.isArray(data?.items));
  assert.deepEqual(data.items.map((item) => item.rank), [1, 2, 3]);
  assert.deepEqual(data.items.at(-1), { item_id: "new", rank: 3, score: null, status: "missing" });
  assert.equal(response.headers.get("x-request-id"), data.request_id);
});

test("ranks in columns", async () => {
  const { data } = await client.POST("/rank", { body: { ...body, format: "columns", top_k: 2 } });
  assert.ok(data !== undefined && !Array.isArray(data.items));
  assert.equal(data.items.item_ids.length, 2);
});

test("explains both ends of the front", async () => {
  const { data } = await client.POST("/rank", { body: { ...body, explain: true } });
  assert.ok(Array.isArray(data?.items));
  assert.equal(data.items[0]?.explain?.debiased.rank, 1);
});

test("names the field of an error", async () => {
  const { data, error, response } = await client.POST("/rank", { body: { ...body, tradeoff: 2 } });
  assert.equal(data, undefined);
  assert.equal(response.status, 422);
  assert.equal(error?.error.code, "invalid_request");
  assert.equal(error.error.field, "tradeoff");
});

test("sends events", async () => {
  const event = { request_id: "r1", item_id: "i0001", kind: "click" };
  const { data } = await client.POST("/events", { body: [event, { ...event, kind: "Click!" }] });
  assert.equal(data?.accepted, 1);
  assert.equal(data.errors[0]?.index, 1);
});

test("reads the models and their fronts", async () => {
  const { data } = await client.GET("/models");
  const [model] = data?.models ?? [];
  assert.equal(model?.name, "toy");
  assert.ok(model.front.points.length > 2);
});

test("reads what a raw model takes", async () => {
  const { data } = await client.GET("/v2/models/{model}", { params: { path: { model: "toy" } } });
  assert.deepEqual(data?.versions, ["1"]);
});

test("needs a key", async () => {
  const { error, response } = await paretorank(url).POST("/rank", { body });
  assert.equal(response.status, 401);
  assert.equal(error?.error.code, "unauthorized");
});
