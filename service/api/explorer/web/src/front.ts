// The measured front of a model, with the current tradeoffs on it.
import { key, type Estimate, type Front, type FrontPoint, type Model } from "./api";
import { h, setText, svg } from "./dom";
import { metric, tradeoff as words } from "./words";

const WIDTH = 360;
const HEIGHT = 270;
const LEFT = 48;
const RIGHT = 14;
const TOP = 14;
const BOTTOM = 44;
const Z95 = 1.96;

export interface Position {
  name: string; // of the side: A, B or nothing
  tradeoff: number;
}

/** Values of a front's axis at a tradeoff between the measured ones, by straight lines. */
export interface At {
  logged: Estimate;
  unbiased: Estimate;
}

export function at(front: Front, w: number): At | null {
  const [left, right, share] = around(front.points, w);
  const between = (side: "logged" | "unbiased"): Estimate | null => {
    const a = left[side][front.axis];
    const b = right[side][front.axis];
    if (!a || !b) return null;
    const se = a.se === null || b.se === null ? null : mix(a.se, b.se, share);
    return { mean: mix(a.mean, b.mean, share), se };
  };
  const logged = between("logged");
  const unbiased = between("unbiased");
  return logged && unbiased && { logged, unbiased };
}

/** Return what rankings of the whole catalogue show to all users at a tradeoff, null if unknown. */
export function shownAt(front: Front, name: string, w: number): number | null {
  const [left, right, share] = around(front.points, w);
  const a = left.shown[name];
  const b = right.shown[name];
  return a && b ? mix(a.mean, b.mean, share) : null;
}

type Scale = (value: number) => number;
type Bars = [SVGLineElement, SVGLineElement]; // of the logged and the unbiased side

const newBars = (): Bars => [svg("line", { class: "bars" }), svg("line", { class: "bars" })];

/** Draw the 95 % intervals of a point, where they are known. */
function moveBars([across, along]: Bars, { logged, unbiased }: At, x: Scale, y: Scale): void {
  const [dx, dy] = [Z95 * (logged.se ?? 0), Z95 * (unbiased.se ?? 0)];
  move(across, [x(logged.mean - dx), y(unbiased.mean), x(logged.mean + dx), y(unbiased.mean)]);
  move(along, [x(logged.mean), y(unbiased.mean - dy), x(logged.mean), y(unbiased.mean + dy)]);
}

function move(line: SVGLineElement, ends: [number, number, number, number]): void {
  ["x1", "y1", "x2", "y2"].forEach((name, index) => line.setAttribute(name, `${ends[index]}`));
}

/** One side's tradeoff on the chart, and its values below. It moves with each step of a drag. */
class Here {
  readonly mark: SVGGElement;
  readonly values: HTMLElement[];
  private readonly bars = newBars();
  private readonly point = svg("g", {}, svg("circle", { class: "here", r: "8" }));
  private readonly w = h("dt");
  private readonly logged = h("b");
  private readonly unbiased = h("b");

  constructor(readonly name: string, front: Front) {
    if (name) this.point.append(svg("text", { class: "side", y: "3.6" }, name));
    this.mark = svg("g", {}, ...this.bars, this.point);
    const axis = metric(front.axis);
    this.values = [
      this.w,
      h("dd", {}, this.logged, ` ${axis}, logged`),
      h("dd", {}, this.unbiased, ` ${axis}, ${front.unbiased_kind}`),
    ];
  }

  move(w: number, point: At, x: Scale, y: Scale): void {
    moveBars(this.bars, point, x, y);
    const place = `translate(${x(point.logged.mean)} ${y(point.unbiased.mean)})`;
    this.point.setAttribute("transform", place);
    setText(this.w, `${this.name} w = ${words(w)}`.trim());
    setText(this.logged, interval(point.logged));
    setText(this.unbiased, interval(point.unbiased));
  }
}

/** A chart of one model's front. */
export class FrontChart {
  readonly element: HTMLElement;
  private readonly chart = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  private readonly marks = svg("g", { class: "now" });
  private readonly values = h("dl", { class: "values" });
  private here: Here[] = [];
  private readonly x: Scale;
  private readonly y: Scale;

  constructor(
    private readonly model: Model,
    onRecommended: (w: number) => void,
  ) {
    const { front } = model;
    const points = front.points.map((point) => at(front, point.tradeoff)).filter((p) => p !== null);
    this.x = scale(points.map((p) => p.logged), LEFT, WIDTH - RIGHT);
    this.y = scale(points.map((p) => p.unbiased), HEIGHT - BOTTOM, TOP);
    const { recommended, verdict } = front;
    this.element = h(
      "div",
      { class: "front" },
      h(
        "p",
        { class: "verdict" },
        h("span", { class: `chip ${verdict}` }, `front: ${verdict}`),
        ` ${model.name}@${model.version} on ${front.dataset}`,
      ),
    );
    if (model.card && !key.get()) { // a link sends no key
      const address = `models/${model.name}@${model.version}/card.md`;
      const card = h("a", { href: address, target: "_blank" }, "The card of this model");
      this.element.append(h("p", {}, card));
    }
    if (points.length < 2) {
      this.element.append(h("p", {}, "This model has no measured front."));
      return;
    }
    this.draw(points);
    this.element.append(this.chart, this.values);
    const advice = front.advice || front.diagnostic;
    if (advice) this.element.append(h("p", { class: "advice" }, advice));
    if (recommended !== null) {
      const label = `Go to the recommended tradeoff, ${words(recommended)}`;
      this.element.append(
        h("button", { type: "button", click: () => onRecommended(recommended) }, label),
      );
    }
  }

  /** Put the marks of one or two sides where their tradeoffs are. */
  show(positions: Position[]): void {
    const { front } = this.model;
    const name = metric(front.axis);
    const isNew = ({ name }: Position, index: number): boolean => name !== this.here[index]?.name;
    if (positions.length !== this.here.length || positions.some(isNew)) {
      this.here = positions.map(({ name }) => new Here(name, front));
      this.marks.replaceChildren(...this.here.map((here) => here.mark));
      this.values.replaceChildren(...this.here.flatMap((here) => here.values));
    }
    const said: string[] = [];
    positions.forEach(({ name: side, tradeoff }, index) => {
      const point = at(front, tradeoff);
      if (point === null) return;
      this.here[index]?.move(tradeoff, point, this.x, this.y);
      const { logged, unbiased } = point;
      const sides = `${interval(logged)} logged, ${interval(unbiased)} unbiased`;
      said.push(`${side} w = ${words(tradeoff)}: ${sides}`.trim());
    });
    const label = `Measured front of ${this.model.name}: ${name}. ${said.join("; ")}`;
    this.chart.setAttribute("aria-label", label);
  }

  private draw(points: At[]): void {
    const { front } = this.model;
    const name = metric(front.axis);
    for (const value of ticks(points.map((p) => p.logged))) {
      const x = `${this.x(value)}`;
      this.chart.append(
        svg("line", { class: "grid", x1: x, x2: x, y1: `${TOP}`, y2: `${HEIGHT - BOTTOM}` }),
        svg("text", { class: "tick", x, y: `${HEIGHT - BOTTOM + 14}` }, digits(value)),
      );
    }
    for (const value of ticks(points.map((p) => p.unbiased))) {
      const y = this.y(value);
      this.chart.append(
        svg("line", { class: "grid", x1: `${LEFT}`, x2: `${WIDTH - RIGHT}`, y1: `${y}`, y2: `${y}` }),
        svg("text", { class: "tick left", x: `${LEFT - 6}`, y: `${y + 3.5}` }, digits(value)),
      );
    }
    const middle = (HEIGHT - BOTTOM + TOP) / 2;
    this.chart.append(
      svg("text", { class: "axis", x: `${(LEFT + WIDTH - RIGHT) / 2}`, y: `${HEIGHT - 8}` },
        `${name} on logged traffic →`),
      svg("text", { class: "axis", transform: `translate(11 ${middle}) rotate(-90)` },
        `${name}, ${front.unbiased_kind} →`),
    );
    const isNamed = ({ tradeoff: w }: FrontPoint): boolean =>
      w === 0 || w === 1 || w === front.recommended;
    points.forEach((point, index) => {
      const measured = front.points[index];
      if (measured && isNamed(measured)) {
        const bars = newBars();
        moveBars(bars, point, this.x, this.y);
        this.chart.append(...bars);
      }
    });
    const line = points.map((p) => `${this.x(p.logged.mean)},${this.y(p.unbiased.mean)}`).join(" ");
    this.chart.append(svg("polyline", { class: "curve", points: line }));
    front.points.forEach((measured, index) => {
      const point = points[index];
      if (point) this.chart.append(...this.point(measured, point));
    });
    this.chart.append(this.marks);
  }

  private point(measured: FrontPoint, point: At): SVGElement[] {
    const w = measured.tradeoff;
    const cx = this.x(point.logged.mean);
    const cy = this.y(point.unbiased.mean);
    const end = w === 0 ? "debiased" : w === 1 ? "logged" : "";
    const recommended = w === this.model.front.recommended;
    const marks: SVGElement[] = [
      svg("circle", { class: `point ${end}`, cx: `${cx}`, cy: `${cy}`, r: end ? "4.5" : "2.5" }),
    ];
    if (recommended) {
      marks.push(svg("circle", { class: "recommended", cx: `${cx}`, cy: `${cy}`, r: "12" }));
    }
    const label = [end && `w = ${w}`, recommended && "recommended"].filter(Boolean).join(", ");
    if (!label) return marks;
    // Outside of the curve, which goes from the upper left to the lower right.
    const [dx, dy] = w === 0 ? [-11, -9] : w === 1 ? [11, 16] : [15, -11];
    const roomy = cx + dx > LEFT + 50 && cx + dx < WIDTH - 6.3 * label.length;
    const onLeft = roomy ? dx < 0 : cx > WIDTH / 2;
    const x = `${cx + (onLeft ? -Math.abs(dx) : Math.abs(dx))}`;
    marks.push(svg("text", { class: onLeft ? "label left" : "label", x, y: `${cy + dy}` }, label));
    return marks;
  }
}

/** Return the measured points on both sides of a tradeoff, and the share of the right one. */
function around(points: FrontPoint[], w: number): [FrontPoint, FrontPoint, number] {
  const index = points.findIndex((point) => point.tradeoff >= w);
  const right = points[index < 0 ? points.length - 1 : index] as FrontPoint;
  const left = points[Math.max(0, (index < 0 ? points.length : index) - 1)] as FrontPoint;
  const width = right.tradeoff - left.tradeoff;
  return [left, right, width > 0 ? Math.min(1, Math.max(0, (w - left.tradeoff) / width)) : 1];
}

const mix = (a: number, b: number, share: number): number => a + (b - a) * share;
const digits = (value: number): string => value.toFixed(3).replace(/^0/, "");

/** Return a mean with its 95 % interval, as far as it is known. */
function interval({ mean, se }: Estimate): string {
  return se === null ? mean.toFixed(3) : `${mean.toFixed(3)} ± ${(Z95 * se).toFixed(3)}`;
}

function bounds(values: Estimate[]): [number, number] {
  const low = Math.min(...values.map((v) => v.mean - Z95 * (v.se ?? 0)));
  const high = Math.max(...values.map((v) => v.mean + Z95 * (v.se ?? 0)));
  const pad = Math.max(0.06 * (high - low), 1e-4);
  return [low - pad, high + pad];
}

function scale(values: Estimate[], from: number, to: number): Scale {
  if (!values.length) return () => from;
  const [low, high] = bounds(values);
  return (value) => from + ((value - low) / (high - low)) * (to - from);
}

/** Return three to five round values within the bounds. */
function ticks(values: Estimate[]): number[] {
  const [low, high] = bounds(values);
  const rough = (high - low) / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough) ?? rough;
  const marks: number[] = [];
  for (let n = Math.ceil(low / step); n * step <= high; n += 1) marks.push(n * step);
  return marks;
}

