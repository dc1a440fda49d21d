// A ranking whose rows glide to their places.
import type { Explored, Item } from "./api";
import { afterPause, h, setText } from "./dom";
import { moved } from "./words";

const SETTLE_MS = 350; // longer than the transition of a row
const TAIL = 80; // items up to this popularity percentile are the long tail
const MARGIN = 2; // rows beyond the window that still glide

/** One item's row. Its element stays while the item is in the list. */
class Row {
  readonly element: HTMLLIElement;
  private index = -1;
  private readonly place = h("span", { class: "place" });
  private readonly tile = h("span", { class: "tile", "aria-hidden": "true" });
  private readonly title = h("span", { class: "title" });
  private readonly id = h("span", { class: "id" });
  private readonly status = h("span", { class: "status" });
  private readonly bar = h("span", { class: "bar", "aria-hidden": "true" }, h("span"));
  private readonly percentile = h("span", { class: "number" });
  private readonly popularity = h(
    "span", { class: "popularity" },
    this.bar, h("span", { class: "said" }, "popularity percentile "), this.percentile,
  );
  private readonly debiased = new Move(0);
  private readonly logged = new Move(1);
  private readonly score = h("span", { class: "score number" });
  private readonly add = h("button", { class: "add", type: "button" }, "+");

  constructor(item: Item, onAdd: (itemId: string) => void) {
    this.add.addEventListener("click", () => onAdd(item.item_id));
    this.element = h(
      "li",
      { class: "row" },
      this.place,
      this.tile,
      h("span", { class: "text" }, this.title, h("span", { class: "meta" }, this.id, this.status)),
      this.popularity,
      this.debiased.element,
      this.logged.element,
      this.score,
      this.add,
    );
    this.element.dataset["item"] = item.item_id;
    this.show(item);
  }

  /** Set what does not depend on the ranking. */
  private show(item: Item): void {
    const title = item.title ?? item.item_id;
    setText(this.title, "");
    this.title.append(
      item.link
        ? h("a", { href: item.link, target: "_blank", rel: "noreferrer" }, title)
        : title,
    );
    this.title.title = title;
    setText(this.id, item.title ? item.item_id : "");
    this.add.setAttribute("aria-label", `Add ${title} to the history`);
    this.tile.style.setProperty("--hue", `${hue(item.item_id)}`);
    setText(this.tile, initials(title));
    if (!item.picture) return;
    const picture = h("img", { src: item.picture, alt: "", loading: "lazy", decoding: "async" });
    picture.addEventListener("error", () => picture.remove()); // the tile is behind it
    this.tile.append(picture);
  }

  update(item: Item, percentile: number | undefined): void {
    setText(this.place, `${item.rank}`);
    setText(this.score, item.score === null ? "–" : item.score.toFixed(3));
    const status = item.status === "missing" ? "no record" : item.status === "cold" ? "cold" : "";
    if (this.element.dataset["status"] !== item.status) {
      this.element.dataset["status"] = item.status;
      setText(this.status, status);
      this.status.title =
        item.status === "cold" ? "known by its content alone, not by clicks" : "";
    }
    this.debiased.update(item.explain && item.explain.debiased.rank - item.rank);
    this.logged.update(item.explain && item.explain.logged.rank - item.rank);
    if (percentile === undefined || item.status === "missing") {
      this.popularity.classList.add("unknown");
      return;
    }
    this.popularity.classList.remove("unknown");
    this.popularity.classList.toggle("tail", percentile <= TAIL);
    this.bar.style.setProperty("--share", `${percentile / 100}`);
    setText(this.percentile, `${Math.round(percentile)}`);
  }

  /** Go to a place of the list; only rows that are seen glide. */
  moveTo(index: number, height: number, first: number, last: number): void {
    if (index === this.index) return;
    const seen = (at: number): boolean => at >= first && at <= last;
    const glides = this.index >= 0 && (seen(index) || seen(this.index));
    this.element.classList.toggle("still", !glides);
    this.element.style.transform = `translateY(${index * height}px)`;
    this.index = index;
  }
}

/** How far an item has moved from its place at one end of the front. */
class Move {
  readonly element = h("span", { class: "move number" });
  private readonly seen = h("span", { "aria-hidden": "true" });
  private readonly said = h("span", { class: "said" });
  private places: number | undefined | null = null;

  constructor(private readonly end: number) {
    this.element.append(this.seen, this.said);
  }

  update(places: number | undefined): void {
    if (places === this.places) return;
    this.places = places;
    const sign = places === undefined ? "" : places > 0 ? "▲" : places < 0 ? "▼" : "";
    this.element.dataset["direction"] = !places ? "same" : places > 0 ? "up" : "down";
    setText(this.seen, places === undefined ? "" : places === 0 ? "=" : `${sign} ${Math.abs(places)}`);
    setText(this.said, places === undefined ? "" : moved(places, this.end));
  }
}

/** The rows of one ranking, by item. */
export class RankingList {
  readonly element = h("ol", { class: "ranking" });
  private readonly rows = new Map<string, Row>();
  private order: Row[] = [];
  private readonly settle = afterPause(SETTLE_MS, () => this.reorder());

  constructor(private readonly onAdd: (itemId: string) => void) {}

  /** Show a ranking: rows of items that stay glide to their new places. */
  update(explored: Explored): void {
    const { items } = explored.ranking;
    const height = this.rowHeight();
    const top = this.element.getBoundingClientRect().top;
    const first = Math.floor(-top / height) - MARGIN;
    const last = Math.ceil((innerHeight - top) / height) + MARGIN;
    const gone = new Set(this.rows.keys());
    const fresh: HTMLElement[] = [];
    this.order = items.map((item, index) => {
      let row = this.rows.get(item.item_id);
      if (row === undefined) {
        row = new Row(item, this.onAdd);
        this.rows.set(item.item_id, row);
        fresh.push(row.element);
      }
      gone.delete(item.item_id);
      row.update(item, explored.percentiles?.[index]);
      row.moveTo(index, height, first, last);
      return row;
    });
    for (const id of gone) {
      this.rows.get(id)?.element.remove();
      this.rows.delete(id);
    }
    this.element.append(...fresh);
    if (this.order.length > fresh.length) for (const row of fresh) appear(row);
    this.element.style.height = `${items.length * height}px`;
    this.settle();
  }

  /** Mark the items that another list, if there is one, does not have; return their number. */
  mark(others: Set<string> | null): number {
    let count = 0;
    for (const [id, row] of this.rows) {
      const only = others !== null && !others.has(id);
      row.element.classList.toggle("only-here", only);
      count += Number(only);
    }
    return count;
  }

  /** Place all rows anew, after their height has changed. */
  resize(): void {
    const height = this.rowHeight();
    this.order.forEach((row, index) => {
      row.moveTo(-1, height, 0, 0);
      row.moveTo(index, height, 0, -1);
    });
    this.element.style.height = `${this.order.length * height}px`;
  }

  private rowHeight(): number {
    return parseFloat(getComputedStyle(this.element).getPropertyValue("--row")) || 56;
  }

  /** Bring the elements into the order that is seen: keyboards and screen readers follow them. */
  private reorder(): void {
    if (this.order.every((row, index) => this.element.children[index] === row.element)) return;
    const focused = document.activeElement;
    this.element.append(...this.order.map((row) => row.element));
    if (focused instanceof HTMLElement && this.element.contains(focused)) focused.focus();
  }
}

function appear(row: HTMLElement): void {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  row.animate([{ opacity: 0 }, { opacity: 1 }], { duration: 200, easing: "ease-out" });
}

function initials(title: string): string {
  const words = title.split(/[\s_-]+/).filter(Boolean);
  const last = words.length > 1 ? (words.at(-1) ?? "") : "";
  const tail = /^\d+$/.test(last) ? last.slice(-2) : last.charAt(0);
  return `${(words[0] ?? "?").charAt(0)}${tail}`.toUpperCase();
}

function hue(text: string): number {
  let hash = 0;
  for (const letter of text) hash = (hash * 31 + letter.charCodeAt(0)) >>> 0;
  return (hash * 47) % 360;
}
