// One ranking with its model, its tradeoff and its list. The page has one, or two to compare.
import type { Explored, Model, RankRequest, ServiceError } from "./api";
import { rank } from "./api";
import { h, setText } from "./dom";
import { RankingList } from "./list";
import { tradeoff as words } from "./words";

/** What a side does not decide by itself. */
export type Common = Omit<RankRequest, "model" | "tradeoff">;

export interface Listener {
  moved(side: Side): void;
  ranked(side: Side): void;
  failed(side: Side, error: ServiceError): void;
  add(itemId: string): void;
}

let made = 0;

export class Side {
  readonly element: HTMLElement;
  readonly list: RankingList;
  explored: Explored | null = null;
  request: RankRequest | null = null;
  roundTripMs = 0;
  tradeoff = 0.5;
  private readonly number = (made += 1);
  private readonly select = h("select", { id: `model-${this.number}` });
  private readonly slider = h("input", {
    id: `tradeoff-${this.number}`, class: "slider", type: "range", min: "0", max: "1", step: "0.01",
  });
  private readonly output = h("output", { for: `tradeoff-${this.number}`, class: "w" });
  private readonly recommended = h("button", { type: "button", class: "recommend" });
  private readonly onlyHere = h("span", { class: "count" });
  private models: Model[] = [];
  private wanted = false;
  private running = false;

  constructor(
    readonly name: string,
    private readonly listener: Listener,
    private readonly ask: () => Common,
  ) {
    this.list = new RankingList((itemId) => listener.add(itemId));
    this.select.addEventListener("change", () => this.modelChanged());
    this.slider.addEventListener("input", () => this.setTradeoff(this.slider.valueAsNumber));
    this.recommended.addEventListener("click", () => {
      const w = this.model?.front.recommended;
      if (w != null) this.setTradeoff(w);
    });
    const title = name ? `Ranking ${name}` : "Ranking";
    this.element = h(
      "section",
      { class: "side", "aria-label": title },
      h(
        "div",
        { class: "dial" },
        h(
          "div",
          { class: "dial-head" },
          h("h2", {}, name || "Ranking"),
          h("label", { for: this.select.id, class: "said" }, `Model ${name}`.trim()),
          this.select,
          h("label", { for: this.slider.id, class: "w-label" }, "tradeoff", h("span", { class: "said" }, ` ${name}`)),
          this.output,
        ),
        h("div", { class: "track" }, this.slider, this.recommended),
        h(
          "div",
          { class: "ends", "aria-hidden": "true" },
          h("span", { class: "debiased" }, "0 debiased: what the user would like"),
          h("span", { class: "logged" }, "1 logged: what gets clicked"),
        ),
      ),
      h(
        "div",
        { class: "row head", "aria-hidden": "true" },
        h("span", { class: "place" }, "#"),
        h("span", { class: "tile" }),
        h("span", { class: "text" }, "item", this.onlyHere),
        h("span", { class: "popularity" }, "popularity"),
        h("span", { class: "move" }, h("span", { class: "wide" }, "vs "), "w = 0"),
        h("span", { class: "move" }, h("span", { class: "wide" }, "vs "), "w = 1"),
        h("span", { class: "score" }, "score"),
      ),
      this.list.element,
    );
  }

  get model(): Model | undefined {
    return this.models.find((model) => label(model) === this.select.value);
  }

  /** Offer the loaded models; keep the chosen one if it is still loaded. */
  offer(models: Model[], wanted: string | null = null): void {
    const before = wanted ?? this.select.value;
    this.models = models;
    this.select.replaceChildren(
      ...models.map((model) => {
        const aliases = model.aliases.length ? ` (${model.aliases.join(", ")})` : "";
        return h("option", { value: label(model) }, `${label(model)}${aliases}`);
      }),
    );
    const chosen =
      models.find((model) => label(model) === before) ??
      models.find((model) => model.default) ?? models[0];
    if (chosen) this.select.value = label(chosen);
    this.showRecommended();
  }

  /** Show a tradeoff and rank at it. */
  setTradeoff(w: number): void {
    this.tradeoff = w;
    this.slider.value = `${w}`;
    setText(this.output, words(w));
    const meaning = w === 0 ? "debiased" : w === 1 ? "logged" : "between debiased and logged";
    this.slider.setAttribute("aria-valuetext", `${words(w)}, ${meaning}`);
    this.listener.moved(this);
    this.rank();
  }

  /** Rank by the newest wishes: one request at a time, the newest follows at once. */
  rank(): void {
    this.wanted = true;
    if (!this.running) void this.run();
  }

  /** Mark the items that the other list lacks and count them; null hides both. */
  compareWith(others: Set<string> | null): void {
    const count = this.list.mark(others);
    setText(this.onlyHere, others === null ? "" : `▌${count} only here`);
  }

  private modelChanged(): void {
    this.showRecommended();
    this.listener.moved(this);
    this.rank();
  }

  private showRecommended(): void {
    const w = this.model?.front.recommended;
    this.recommended.hidden = w == null;
    if (w == null) return;
    this.recommended.style.setProperty("--at", `${w}`);
    this.recommended.title = "the recommended tradeoff";
    this.recommended.setAttribute("aria-label", `Go to the recommended tradeoff, ${words(w)}`);
  }

  private async run(): Promise<void> {
    this.running = true;
    while (this.wanted) {
      this.wanted = false;
      if (!this.select.value) break;
      const request = { ...this.ask(), tradeoff: this.tradeoff, model: this.select.value };
      const began = performance.now();
      try {
        const explored = await rank(request);
        this.roundTripMs = performance.now() - began;
        this.explored = explored;
        this.request = request;
        this.element.classList.remove("stale");
        this.list.element.setAttribute(
          "aria-label", `Ranking ${this.name} at tradeoff ${words(request.tradeoff)}`);
        this.list.update(explored);
        this.listener.ranked(this);
      } catch (error) {
        if (this.wanted) continue; // a newer wish may do better
        this.element.classList.add("stale");
        this.listener.failed(this, error as ServiceError);
      }
    }
    this.running = false;
  }
}

export const label = (model: Model): string => `${model.name}@${model.version}`;
