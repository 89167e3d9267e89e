"use strict";

// Charts as SVG: axes with titles, and shapes in the units of the data.

const WIDTH = 400, HEIGHT = 300;
const MARGIN = { left: 58, right: 14, top: 12, bottom: 46 };

function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** Round numbers from low to high, about four of them. */
function ticks(low, high) {
  const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find((m) => m * power >= rough * 0.999);
  const first = Math.ceil(low / step), last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

class Chart {
  /** An empty chart in an element: its name, titles of the axes, ranges of the values. */
  constructor(holder, { name, x, y, xRange = [0, 1], yRange = [0, 1], yText = String }) {
    this.xRange = xRange;
    this.yRange = yRange;
    this.below = svg("g", {});
    this.above = svg("g", {});
    this.notes = svg("g", {});
    this.root = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
    this.root.setAttribute("aria-label", name);
    this.axes(x, y, yText);
    this.root.append(this.below, this.above, this.notes);
    holder.replaceChildren(this.root);
  }

  x(value) {
    const [low, high] = this.xRange, width = WIDTH - MARGIN.left - MARGIN.right;
    return MARGIN.left + ((value - low) / (high - low)) * width;
  }

  y(value) {
    const [low, high] = this.yRange, height = HEIGHT - MARGIN.top - MARGIN.bottom;
    return HEIGHT - MARGIN.bottom - ((value - low) / (high - low)) * height;
  }

  axes(xTitle, yTitle, yText) {
    const left = MARGIN.left, bottom = HEIGHT - MARGIN.bottom;
    const middle = (left + WIDTH - MARGIN.right) / 2, centre = (MARGIN.top + bottom) / 2;
    for (const value of ticks(...this.xRange)) {
      const x = this.x(value);
      this.root.append(
        svg("line", { class: "grid", x1: x, x2: x, y1: MARGIN.top, y2: bottom }),
        svg("text", { x, y: bottom + 17, "text-anchor": "middle" }, shortly(value)),
      );
    }
    for (const value of ticks(...this.yRange)) {
      const y = this.y(value), text = yText(Number(shortly(value)));
      this.root.append(
        svg("line", { class: "grid", x1: left, x2: WIDTH - MARGIN.right, y1: y, y2: y }),
        svg("text", { x: left - 7, y: y + 4, "text-anchor": "end" }, text),
      );
    }
    const turned = `rotate(-90 14 ${centre})`;
    this.root.append(
      svg("text", { x: middle, y: HEIGHT - 8, "text-anchor": "middle" }, xTitle),
      svg("text", { x: 14, y: centre, "text-anchor": "middle", transform: turned }, yTitle),
    );
  }

  /** A line through points [x, y]. */
  line(points, style) {
    const path = points.map(([x, y]) => `${this.x(x).toFixed(1)},${this.y(y).toFixed(1)}`);
    this.below.append(svg("polyline", { class: style, points: path.join(" ") }));
  }

  /** A bar from the left to the right value, and from zero to the height. */
  bar(left, right, height, style) {
    const [a, b] = [this.x(left), this.x(right)], [zero, end] = [this.y(0), this.y(height)];
    this.below.append(svg("rect", {
      class: style, x: a + 0.5, width: b - a - 1,
      y: Math.min(zero, end), height: Math.abs(zero - end),
    }));
  }

  /** A dot with its interval, and what it says when it is pointed at. */
  dot(x, y, [low, high], said) {
    const group = svg("g", { class: "dot" }, svg("title", {}, said));
    const [cx, y1, y2] = [this.x(x), this.y(low), this.y(high)];
    group.append(
      svg("line", { x1: cx, x2: cx, y1, y2 }),
      svg("circle", { cx, cy: this.y(y), r: 4 }),
    );
    this.below.append(group);
  }

  /** Say something inside the chart. */
  note(x, y, text, style, anchor = "start") {
    const place = { class: style, x: this.x(x), y: this.y(y), "text-anchor": anchor };
    this.notes.append(svg("text", place, text));
  }

  /** Put the moving parts where the threshold is: a point, a vertical line, or both. */
  mark({ point, at }) {
    this.above.replaceChildren();
    if (at !== undefined) {
      const x = this.x(at), y2 = HEIGHT - MARGIN.bottom;
      this.above.append(svg("line", { class: "cut", x1: x, x2: x, y1: MARGIN.top, y2 }));
    }
    if (point && point.every(Number.isFinite)) {
      const place = { cx: this.x(point[0]), cy: this.y(point[1]), r: 7 };
      this.above.append(svg("circle", { class: "moving", ...place }));
    }
  }
}

/** A number without the noise of binary fractions. */
function shortly(value) {
  return String(Number(value.toPrecision(6)));
}
