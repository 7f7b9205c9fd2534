// Running lines on a canvas: the last steps, the newest at the right.

const STEPS = 300;

export class Lines {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {{colour: string, dash?: number[], mean?: number}[]} lines `mean` smooths over so many steps
   * @param {{low: number, high: number, fixed?: boolean}} range what is shown at least, or exactly
   */
  constructor(canvas, lines, range) {
    this.canvas = canvas;
    this.lines = lines;
    this.range = range;
    this.clear();
  }

  clear() {
    this.raw = this.lines.map(() => []);
    this.values = this.lines.map(() => []);
    this.draw();
  }

  /** Add one value a line; null leaves a gap. */
  add(...values) {
    values.forEach((value, i) => {
      const raw = this.raw[i];
      raw.push(value);
      if (raw.length > STEPS) raw.shift();
      const last = raw.slice(-(this.lines[i].mean ?? 1)).filter((x) => x !== null);
      const mean = value === null ? null : last.reduce((a, b) => a + b, 0) / last.length;
      this.values[i].push(mean);
      if (this.values[i].length > STEPS) this.values[i].shift();
    });
  }

  draw() {
    const { canvas } = this;
    const ratio = devicePixelRatio;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const { low, high } = this.scale();
    const left = 34;
    const y = (value) => 8 + (height - 16) * (1 - (value - low) / (high - low));
    const x = (i) => left + ((width - left - 4) * i) / (STEPS - 1);
    this.grid(pen, width, left, low, high, y);
    this.values.forEach((values, i) => {
      pen.strokeStyle = this.lines[i].colour;
      pen.setLineDash(this.lines[i].dash ?? []);
      pen.lineWidth = 1.75;
      pen.lineJoin = "round";
      pen.beginPath();
      let isDown = false;
      values.forEach((value, k) => {
        if (value !== null) pen[isDown ? "lineTo" : "moveTo"](x(STEPS - values.length + k), y(value));
        isDown = value !== null;
      });
      pen.stroke();
    });
    pen.setLineDash([]);
  }

  scale() {
    let { low, high } = this.range;
    if (this.range.fixed) return { low, high };
    for (const value of this.values.flat()) {
      if (value === null) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    return { low, high };
  }

  grid(pen, width, left, low, high, y) {
    pen.font = "11px system-ui, sans-serif";
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    pen.lineWidth = 1;
    for (const value of new Set([low, low < 0 && high > 0 ? 0 : (low + high) / 2, high])) {
      pen.strokeStyle = "#2a3240";
      pen.fillStyle = "#9aa6b6";
      pen.beginPath();
      pen.moveTo(left, Math.round(y(value)) + 0.5);
      pen.lineTo(width - 4, Math.round(y(value)) + 0.5);
      pen.stroke();
      pen.fillText(Number(value.toFixed(1)), left - 6, y(value));
    }
  }
}
