// Change of variables in one dimension: a monotone map through five points, a density at either edge, a probe.
// The map is the rational-quadratic spline of spline flows; the slope at a point is the geometric mean of the two
// chords beside it, so it is positive, and with it the whole map increases.

const REACH = 4, GAP = 0.08, HALF = 0.25;
const AT = [-2.4, -1.2, 0, 1.2, 2.4];
const SHAPES = {
  "two bumps": [-1.9, -0.35, 0, 0.35, 1.9],
  "identity": AT,
  "stretch by 1.5": AT.map((x) => 1.5 * x),
  "shift": AT.map((x) => x - 1),
  "nearly uniform": [-2.3, -0.67, 0, 0.67, 2.3],
};

const bell = (z) => Math.exp(-z * z / 2) / Math.sqrt(2 * Math.PI);

function slopes(points) {
  const chords = points.slice(1).map(([x, z], i) => (z - points[i][1]) / (x - points[i][0]));
  return points.map((_, i) => Math.sqrt((chords[i - 1] ?? chords[i]) * (chords[i] ?? chords[i - 1])));
}

// f(x) and f'(x).
function warp(points, inclines, x) {
  const last = points.length - 1;
  if (x <= points[0][0]) return [points[0][1] + inclines[0] * (x - points[0][0]), inclines[0]];
  if (x >= points[last][0]) return [points[last][1] + inclines[last] * (x - points[last][0]), inclines[last]];
  const i = points.findIndex((_, k) => x < points[k + 1][0]);
  const [[x0, z0], [x1, z1]] = [points[i], points[i + 1]], [d0, d1] = [inclines[i], inclines[i + 1]];
  const chord = (z1 - z0) / (x1 - x0), t = (x - x0) / (x1 - x0), u = 1 - t;
  const below = chord + (d1 + d0 - 2 * chord) * t * u;
  const z = z0 + (z1 - z0) * (chord * t * t + d0 * t * u) / below;
  return [z, chord * chord * (d1 * t * t + 2 * chord * t * u + d0 * u * u) / (below * below)];
}

function integral(f, from, to, steps) {
  const h = (to - from) / steps;
  let sum = (f(from) + f(to)) / 2;
  for (let k = 1; k < steps; k++) sum += f(from + k * h);
  return sum * h;
}

export default function ({ parentElement }) {
  const root = parentElement.querySelector(".warp");
  if (root.dataset.ready) return;
  root.dataset.ready = "yes";
  const canvas = root.querySelector("canvas"), pen = canvas.getContext("2d");
  let points = AT.map((x, i) => [x, SHAPES["two bumps"][i]]), probe = 1.0, chosen = -1;

  const measure = () => {
    const inclines = slopes(points), f = (x) => warp(points, inclines, x);
    const density = (x) => { const [z, slope] = f(x); return bell(z) * slope; };
    const [z, slope] = f(probe), ends = [f(probe - HALF)[0], f(probe + HALF)[0]];
    return {
      f, density, ends, x: probe, z, slope, base: bell(z), product: bell(z) * slope,
      areaBase: integral(bell, ...ends, 400), areaData: integral(density, probe - HALF, probe + HALF, 400),
      total: integral(density, -16, 16, 6400),
    };
  };

  const tell = (now) => {
    const cells = { x: now.x, z: now.z, base: now.base, slope: now.slope, product: now.product, "area-base": now.areaBase, "area-data": now.areaData, total: now.total };
    for (const [name, value] of Object.entries(cells)) {
      root.querySelector(`#${name}`).textContent = value.toFixed(name === "x" ? 2 : 4);
      root.setAttribute(`data-${name}`, value);
    }
    root.dataset.points = JSON.stringify(points);
    const what = chosen < 0 ? "The arrows move the probe." : `The arrows move point ${chosen + 1}.`;
    root.querySelector("p").textContent = `Drag the orange probe, or one of the five points. ${what}`;
  };

  const draw = () => {
    const now = measure(), side = canvas.clientWidth, style = getComputedStyle(root);
    const colour = (name) => style.getPropertyValue(name).trim();
    const [text, main, orange] = [style.color, colour("--main"), colour("--probe")];
    const strip = side * 0.2, plot = side - strip, X = (x) => strip + (x + REACH) / (2 * REACH) * plot, Y = (z) => (REACH - z) / (2 * REACH) * plot;
    const highest = Math.max(...Array.from({ length: 161 }, (_, k) => now.density(-REACH + k / 20)), bell(0));
    const high = (p) => strip * 0.75 * p / highest;  // one scale for both: areas can be compared
    canvas.width = canvas.height = Math.round(side * devicePixelRatio);
    pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    pen.font = "12px system-ui, sans-serif";

    const path = (place, from, to, foot) => {
      pen.beginPath();
      if (foot) pen.moveTo(...foot(from));
      for (let k = 0; k <= 400; k++) pen.lineTo(...place(from + (to - from) * k / 400));
      if (foot) pen.lineTo(...foot(to));
    };
    const stroke = (style, width = 2) => { pen.strokeStyle = style; pen.lineWidth = width; pen.stroke(); };
    const fill = (style, strength) => { pen.globalAlpha = strength; pen.fillStyle = style; pen.fill(); pen.globalAlpha = 1; };
    const line = (...corners) => { pen.beginPath(); corners.forEach((corner) => pen.lineTo(...corner)); };

    pen.globalAlpha = 0.13;
    for (let k = -REACH; k <= REACH; k++) { line([X(k), 0], [X(k), plot]); stroke(text, 1); line([strip, Y(k)], [side, Y(k)]); stroke(text, 1); }
    pen.globalAlpha = 1;
    const left = (z) => [strip - high(bell(z)), Y(z)], bottom = (x) => [X(x), plot + high(now.density(x))];
    const leftFoot = (z) => [strip, Y(z)], bottomFoot = (x) => [X(x), plot];
    path(left, -REACH, REACH, leftFoot); fill(main, 0.25); stroke(main);
    path(bottom, -REACH, REACH, bottomFoot); fill(main, 0.25); stroke(main);
    const cut = (value) => Math.max(-REACH, Math.min(REACH, value));
    path(left, ...now.ends.map(cut), leftFoot); fill(orange, 0.75);
    path(bottom, cut(probe - HALF), cut(probe + HALF), bottomFoot); fill(orange, 0.75);

    pen.save(); pen.beginPath(); pen.rect(strip, 0, plot, plot); pen.clip();
    path((x) => [X(x), Y(now.f(x)[0])], -REACH, REACH); stroke(text, 2.5);
    pen.restore();
    pen.setLineDash([5, 4]); line([X(probe), plot], [X(probe), Y(now.z)], [strip, Y(now.z)]); stroke(orange); pen.setLineDash([]);
    const dot = (x, z, radius, style, label) => {
      pen.beginPath(); pen.arc(X(x), Y(z), radius, 0, 7); pen.fillStyle = style; pen.fill();
      if (label) { pen.fillStyle = text; pen.fillText(label, X(x) + 9, Y(z) + 14); }
    };
    points.forEach(([x, z], i) => { if (i === chosen) dot(x, z, 10, orange); dot(x, z, 7, main, `${i + 1}`); });
    dot(probe, now.z, 6, orange);
    pen.fillStyle = text;
    pen.fillText("base p(z)", 5, 15); pen.fillText("z", strip + 6, 15); pen.fillText("x", side - 14, plot - 7);
    pen.fillText("data p(x)", strip + 6, side - 8);
    tell(now);
  };

  const between = (value, low, high) => Math.max(low, Math.min(high, value));
  const place = (i, x, z) => {
    const floor = points[i - 1] ?? [-REACH - GAP, -9], roof = points[i + 1] ?? [REACH + GAP, 9];
    points[i] = [between(x, floor[0] + GAP, roof[0] - GAP), between(z, floor[1] + GAP, roof[1] - GAP)];
  };
  const where = (event) => {
    const box = canvas.getBoundingClientRect(), plot = box.width * 0.8;
    return [((event.clientX - box.left - 0.2 * box.width) / plot) * 2 * REACH - REACH, REACH - ((event.clientY - box.top) / plot) * 2 * REACH, plot];
  };
  const move = (x, z) => { if (chosen < 0) probe = between(x, -REACH, REACH); else place(chosen, x, z); draw(); };
  canvas.onpointerdown = (event) => {
    const [x, z, plot] = where(event), near = 18 * 2 * REACH / plot;
    const distances = points.map((point) => Math.hypot(point[0] - x, point[1] - z)), least = Math.min(...distances);
    chosen = least < near ? distances.indexOf(least) : -1;
    canvas.setPointerCapture(event.pointerId);
    move(x, z);
  };
  canvas.onpointermove = (event) => event.buttons && move(...where(event));
  canvas.onkeydown = (event) => {
    if (/^[0-5]$/.test(event.key)) chosen = Number(event.key) - 1;
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!steps && !/^[0-5]$/.test(event.key)) return;
    event.preventDefault();
    const [x, z] = chosen < 0 ? [probe, 0] : points[chosen], size = event.shiftKey ? 0.25 : 0.05;
    move(x + size * (steps?.[0] ?? 0), z + size * (steps?.[1] ?? 0));
  };
  root.querySelector(".presets").replaceChildren();
  for (const [name, heights] of Object.entries(SHAPES)) {
    const button = document.createElement("button");
    button.textContent = name;
    button.onclick = () => { points = AT.map((x, i) => [x, heights[i]]); chosen = -1; draw(); };
    root.querySelector(".presets").append(button);
  }
  const watcher = new ResizeObserver(draw);
  watcher.observe(canvas);
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", draw);
  return () => { watcher.disconnect(); scheme.removeEventListener("change", draw); delete root.dataset.ready; };
}
