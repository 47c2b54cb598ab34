// Draws what frames.py decided, in the dashboard's own grid. It decides nothing itself.
"use strict";

const COLUMNS = 24, UNIT = 30, GAP = 8;
const GRID = { stroke: "rgba(204,204,220,0.09)", width: 1 };
const TEXT = "#9fa7b3", FONT = "11px DejaVu Sans, sans-serif";

function element(parent, name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

function clock(seconds) {
  return new Date(seconds * 1000).toISOString().slice(11, 19);
}

const timeAxis = {
  stroke: TEXT, font: FONT, grid: GRID, ticks: GRID, space: 80, size: 26,
  values: (plot, splits) => splits.map(clock),
};

function marksHook(marks) {
  return plot => {
    const { ctx, bbox } = plot;
    for (const { color, spans } of marks) {
      for (const [from] of spans) {
        const x = plot.valToPos(from, "x", true);
        ctx.save();
        ctx.strokeStyle = color;
        ctx.globalAlpha = 0.8;
        ctx.setLineDash([4, 4]);
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
        ctx.restore();
      }
    }
  };
}

function lineHook(values) {
  return plot => {
    const { ctx, bbox } = plot;
    for (const value of values) {
      const y = plot.valToPos(value, "y", true);
      ctx.save();
      ctx.strokeStyle = "#f2495c";
      ctx.setLineDash([8, 6]);
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
      ctx.restore();
    }
  };
}

// A value between two gaps has no line: it gets a point.
function alone(plot, index, shown) {
  if (shown) return null;
  const values = plot.data[index];
  const found = [];
  for (let n = 0; n < values.length; n++) {
    if (values[n] != null && values[n - 1] == null && values[n + 1] == null) found.push(n);
  }
  return found;
}

function series(panel, each) {
  const base = { stroke: each.color, width: 1.5, spanGaps: false };
  if (panel.style === "bars") {
    return { ...base, fill: each.fill, width: 1, paths: uPlot.paths.bars({ size: [0.9, 40] }), points: { show: false } };
  }
  if (panel.style === "points") {
    return { ...base, paths: () => null, points: { show: true, size: 9, fill: each.color } };
  }
  const paths = panel.stepped ? uPlot.paths.stepped({ align: 1 }) : uPlot.paths.linear();
  return { ...base, fill: each.fill, paths, points: { show: false, size: 5, fill: each.color, filter: alone } };
}

function plot(body, panel, options, data, height) {
  return new uPlot({
    width: body.clientWidth, height, legend: { show: false }, cursor: { show: false }, padding: [8, 26, 0, 0],
    ...options,
  }, data, body);
}

function legend(body, names) {
  const list = element(body, "div", "legend");
  for (const { name, color } of names) {
    const item = element(list, "span", "item", name);
    item.style.setProperty("--color", color);
  }
  return list.offsetHeight;
}

const DISTRIBUTIONS = { linear: 1, log: 3, symlog: 4 };

function drawGraph(body, panel, marks) {
  if (!panel.names.length) return nothing(body);
  const place = element(body, "div");
  const height = body.clientHeight - legend(body, panel.names);
  const at = panel.ticks.map(tick => tick.at);
  plot(place, panel, {
    scales: {
      x: { range: [panel.from, panel.to] },
      y: { range: panel.range, distr: DISTRIBUTIONS[panel.scale], log: 10, asinh: 1 },
    },
    axes: [timeAxis, {
      stroke: TEXT, font: FONT, grid: GRID, ticks: GRID, size: 66,
      splits: () => at,
      filter: (plot, splits) => splits,
      values: () => panel.ticks.map(tick => tick.text),
    }],
    series: [{}, ...panel.series.map(each => series(panel, each))],
    hooks: { draw: [marksHook(marks), lineHook(panel.line_at)] },
  }, [panel.times, ...panel.series.map(each => each.values)], height);
}

function heat(share) {
  // From nearly the background to a bright orange, quickly at first: few are seen, too.
  const part = Math.sqrt(share);
  const mix = (from, to) => Math.round(from + (to - from) * part);
  return `rgb(${mix(70, 255)},${mix(40, 160)},${mix(25, 60)})`;
}

function drawHeatmap(body, panel) {
  const count = panel.bounds.length;
  if (!count) return nothing(body);
  const every = Math.ceil(count / 9);
  const shown = panel.bounds.map((text, n) => n).filter(n => n % every === every - 1 || n === count - 1);
  const cells = ({ ctx, valToPos }) => {
    panel.cells.forEach((row, n) => row.forEach((value, k) => {
      if (value <= 1e-9) return;
      const left = valToPos(panel.times[k] - panel.step, "x", true), right = valToPos(panel.times[k], "x", true);
      const bottom = valToPos(n, "y", true), top = valToPos(n + 1, "y", true);
      ctx.fillStyle = heat(value / panel.most);
      const gap = right - left > 6 ? 1 : 0;
      ctx.fillRect(left, top + 0.5, right - left - gap, bottom - top - 1);
    }));
  };
  plot(element(body, "div"), panel, {
    scales: { x: { range: [panel.from, panel.to] }, y: { range: [0, count] } },
    axes: [timeAxis, {
      stroke: TEXT, font: FONT, grid: GRID, ticks: GRID, size: 66,
      splits: () => shown.map(n => n + 1),
      filter: (plot, splits) => splits,
      values: () => shown.map(n => panel.bounds[n]),
    }],
    series: [{}, { paths: () => null, points: { show: false } }],
    hooks: { draw: [cells] },
  }, [panel.times, panel.times.map(() => null)], body.clientHeight);
}

function drawStates(body, panel, marks) {
  const count = panel.rows.length;
  if (!count) return nothing(body);
  const bands = ({ ctx, valToPos }) => {
    panel.rows.forEach((row, n) => row.spans.forEach(span => {
      const left = valToPos(span.from, "x", true), right = valToPos(Math.min(span.to, panel.to), "x", true);
      const top = valToPos(count - n - 0.1, "y", true), bottom = valToPos(count - n - 0.9, "y", true);
      ctx.save();
      ctx.globalAlpha = 0.75;
      ctx.fillStyle = span.color;
      ctx.fillRect(left, top, right - left, bottom - top);
      ctx.restore();
      ctx.font = FONT;
      if (ctx.measureText(span.text).width < right - left - 8) {
        ctx.fillStyle = "#fff";
        ctx.textBaseline = "middle";
        ctx.textAlign = "left";
        ctx.fillText(span.text, left + 4, (top + bottom) / 2);
      }
    }));
  };
  const middles = panel.rows.map((row, n) => count - n - 0.5).reverse();
  plot(element(body, "div"), panel, {
    scales: { x: { range: [panel.from, panel.to] }, y: { range: [0, count] } },
    axes: [timeAxis, {
      stroke: TEXT, font: FONT, grid: { show: false }, ticks: { show: false }, size: 66,
      splits: () => middles,
      filter: (plot, splits) => splits,
      values: () => panel.rows.map(row => row.name).reverse(),
    }],
    series: [{}, { paths: () => null, points: { show: false } }],
    hooks: { draw: [bands, marksHook(marks)] },
  }, [panel.times, panel.times.map(() => null)], body.clientHeight);
}

function drawStat(body, panel) {
  if (!panel.values.length) return nothing(body);
  body.classList.add("stat");
  for (const { name, text, color } of panel.values) {
    const value = element(body, "div", panel.values.length > 2 ? "value small" : "value");
    if (name) element(value, "small", "", name);
    element(value, "b", "", text).style.color = color;
  }
}

function drawTable(body, panel) {
  if (!panel.rows.length) return nothing(body);
  const table = element(body, "table");
  const head = element(table, "tr");
  for (const column of panel.columns) element(head, "th", "", column);
  for (const row of panel.rows) {
    const line = element(table, "tr");
    for (const cell of row) element(line, "td", "", cell);
  }
}

function nothing(body) {
  element(body, "div", "nothing", "No data");
}

const DRAW = {
  stat: drawStat, timeseries: drawGraph, heatmap: drawHeatmap, "state-timeline": drawStates, table: drawTable,
};

function draw(dashboard) {
  const page = document.getElementById("page");
  const column = page.clientWidth / COLUMNS;
  const place = ({ style }, { x, y, w, h }) => {
    style.left = `${x * column}px`;
    style.top = `${y * (UNIT + GAP)}px`;
    style.width = `${w * column - GAP}px`;
    style.height = `${h * (UNIT + GAP) - GAP}px`;
  };
  for (const { title, grid } of dashboard.rows) {
    const row = element(page, "h2", "", title);
    place(row, grid);
  }
  for (const panel of dashboard.panels) {
    const box = element(page, "section");
    place(box, panel.grid);
    element(box, "h3", "", panel.title);
    DRAW[panel.kind](element(box, "div", "body"), panel, dashboard.marks);
  }
}

draw(JSON.parse(document.getElementById("dashboard").textContent));
