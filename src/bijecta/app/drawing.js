// What is drawn on a canvas, as functions of plain arrays. Nothing here knows of pages or connections.
// Positions come as Float32Array of (positions, points, 2); position 0 is the latent z, the last is the data x.

const VIRIDIS = [[68, 1, 84], [72, 36, 117], [65, 68, 135], [53, 95, 141], [42, 120, 142], [33, 145, 140],
  [34, 168, 132], [68, 191, 112], [122, 209, 81], [189, 223, 38], [253, 231, 37]];
// From shrinking (blue) over unchanged (grey) to stretching (orange): different without colour vision, too.
const DIVERGING = [[33, 102, 172], [103, 169, 207], [209, 229, 240], [240, 240, 240], [253, 219, 199], [239, 138, 98], [200, 80, 20]];

function makePalette(anchors) {
  return Array.from({ length: 256 }, (_, shade) => {
    const at = (shade / 255) * (anchors.length - 1);
    const low = Math.min(anchors.length - 2, Math.floor(at));
    return anchors[low].map((from, channel) => Math.round(from + (at - low) * (anchors[low + 1][channel] - from)));
  });
}
const PALETTE = makePalette(VIRIDIS);
const SIGNED = makePalette(DIVERGING);
const css = (colour) => `rgb(${colour[0]},${colour[1]},${colour[2]})`;
const VIRIDIS_CSS = PALETTE.map(css);
const SIGNED_CSS = SIGNED.map(css);
const shade = (value) => Math.max(0, Math.min(255, Math.round(255 * value)));

// Turn an image of shades into a canvas of its size, row 0 on top, as the worker sends it.
function imageOf(shades, pixels) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = pixels;
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(pixels, pixels);
  for (let i = 0; i < shades.length; i++) {
    const colour = PALETTE[shades[i]];
    image.data.set(colour, 4 * i);
    image.data[4 * i + 3] = 255;
  }
  pen.putImageData(image, 0, 0);
  return canvas;
}

const mix = (a, b, share) => a + (b - a) * share;

// The square that is shown at a depth: that of the latent, and that of the data at the end.
function boxAt(scene, frame, depth) {
  const last = scene.layers.length;
  const r = frame.reach;
  const latent = [-r, -r, r, r];
  const share = Math.max(0, Math.min(1, depth - (last - 1)));
  return latent.map((edge, i) => mix(edge, scene.box[i], share));
}

// A function from coordinates at a depth to pixels of a square of a given size.
function placer(box, size) {
  const sx = size / (box[2] - box[0]);
  const sy = size / (box[3] - box[1]);
  return (x, y) => [(x - box[0]) * sx, size - (y - box[1]) * sy];
}

// Positions of points at a fractional depth: on the straight line between two layers.
function pointsAt(array, depth) {
  const [positions, points] = array.shape;
  const low = Math.max(0, Math.min(positions - 1, Math.floor(depth)));
  const high = Math.min(positions - 1, low + 1);
  const share = depth - low;
  const out = new Float32Array(2 * points);
  const from = 2 * points * low, to = 2 * points * high;
  for (let i = 0; i < out.length; i++) out[i] = mix(array.values[from + i], array.values[to + i], share);
  return out;
}

// Brightness of every node at a whole position, between 0 and 1, as the root of the density.
function brightness(frame, position) {
  const [positions, nodes] = frame.arrays.grid_logp.shape;
  const values = frame.arrays.grid_logp.values.subarray(position * nodes, (position + 1) * nodes);
  let top = position === positions - 1 ? Math.log(frame.scale) : -Infinity;
  if (top === -Infinity) for (const value of values) if (value > top) top = value;
  return Float32Array.from(values, (value) => Math.min(1, Math.exp((value - top) / 2)));
}

function brightnessAt(frame, depth) {
  frame.brightness ??= Array.from({ length: frame.arrays.grid_logp.shape[0] }, (_, k) => brightness(frame, k));
  const low = Math.min(frame.brightness.length - 1, Math.floor(depth));
  const high = Math.min(frame.brightness.length - 1, low + 1);
  return frame.brightness[low].map((value, i) => mix(value, frame.brightness[high][i], depth - low));
}

// Fill the cells of the lattice; a coarse picture takes every second or fourth node.
function cells(pen, nodes, stride, places, colourOf) {
  for (let row = 0; row < nodes - 1; row += stride) {
    for (let column = 0; column < nodes - 1; column += stride) {
      const here = row * nodes + column;
      const corners = [here, here + stride, here + stride * nodes + stride, here + stride * nodes];
      const colour = colourOf(corners);
      pen.beginPath();
      corners.forEach((corner, i) => (i ? pen.lineTo : pen.moveTo).call(pen, places[2 * corner], places[2 * corner + 1]));
      pen.closePath();
      pen.fillStyle = pen.strokeStyle = colour;
      pen.fill();
      pen.stroke(); // closes the seams between neighbours
    }
  }
}

const meanOf = (values, corners) => (values[corners[0]] + values[corners[1]] + values[corners[2]] + values[corners[3]]) / 4;

function placesOf(points, place) {
  const places = new Float32Array(points.length);
  for (let i = 0; i < points.length; i += 2) [places[i], places[i + 1]] = place(points[i], points[i + 1]);
  return places;
}

function drawDensity(pen, size, scene, frame, depth, stride) {
  const last = scene.layers.length;
  pen.fillStyle = VIRIDIS_CSS[0];
  pen.fillRect(0, 0, size, size);
  const whole = Math.max(0, 1 - 6 * (last - depth));
  if (whole < 1) {
    const places = placesOf(pointsAt(frame.arrays.grid, depth), placer(boxAt(scene, frame, depth), size));
    const values = brightnessAt(frame, depth);
    pen.lineWidth = 1;
    cells(pen, scene.nodes, stride, places, (corners) => VIRIDIS_CSS[shade(meanOf(values, corners))]);
  }
  if (whole > 0) {
    frame.image ??= imageOf(frame.arrays.density.values, frame.arrays.density.shape[0]);
    pen.globalAlpha = whole;
    pen.imageSmoothingEnabled = true;
    pen.drawImage(frame.image, 0, 0, size, size);
    pen.globalAlpha = 1;
  }
}

// How much the layer in front of a depth stretches: orange where it does, blue where it shrinks.
function drawStretching(pen, size, scene, frame, depth, stride) {
  const ladj = frame.arrays.grid_ladj;
  const nodes = ladj.shape[1];
  const layer = Math.max(0, Math.min(ladj.shape[0] - 1, Math.ceil(depth - 1e-6) - 1));
  const values = ladj.values.subarray(layer * nodes, (layer + 1) * nodes);
  const places = placesOf(pointsAt(frame.arrays.grid, depth), placer(boxAt(scene, frame, depth), size));
  const most = largestStretching(frame);
  pen.lineWidth = 1;
  cells(pen, scene.nodes, stride, places, (corners) => SIGNED_CSS[shade(0.5 + meanOf(values, corners) / (2 * most))]);
}

// The |log-det| that gets the strongest colours: nearly the largest of all layers, so that layers can be compared.
function largestStretching(frame) {
  frame.stretching ??= Math.max(0.02, Float32Array.from(frame.arrays.grid_ladj.values, Math.abs).sort()[Math.floor(0.97 * frame.arrays.grid_ladj.values.length)]);
  return frame.stretching;
}

function drawGrid(pen, size, scene, frame, depth, colour, stride) {
  const nodes = scene.nodes;
  const places = placesOf(pointsAt(frame.arrays.grid, depth), placer(boxAt(scene, frame, depth), size));
  pen.strokeStyle = colour;
  pen.lineWidth = Math.max(0.6, size / 700);
  pen.beginPath();
  for (let line = 0; line < nodes; line += stride) {
    for (const [start, apart] of [[line * nodes, 1], [line, nodes]]) {
      for (let i = 0; i < nodes; i += stride) {
        const at = 2 * (start + i * apart);
        (i ? pen.lineTo : pen.moveTo).call(pen, places[at], places[at + 1]);
      }
    }
  }
  pen.stroke();
}

function drawDots(pen, size, scene, frame, array, depth, colour, radius) {
  const places = placesOf(pointsAt(array, depth), placer(boxAt(scene, frame, depth), size));
  pen.fillStyle = colour;
  pen.beginPath();
  for (let i = 0; i < places.length; i += 2) {
    pen.moveTo(places[i] + radius, places[i + 1]);
    pen.arc(places[i], places[i + 1], radius, 0, 2 * Math.PI);
  }
  pen.fill();
}

// Contours of the true density, by marching squares; it is known in the space of the data only.
function drawTruth(pen, size, truth, pixels, colour) {
  const scale = size / pixels;
  pen.strokeStyle = colour;
  pen.lineWidth = Math.max(1, size / 450);
  pen.setLineDash([4, 3]);
  pen.beginPath();
  for (const level of [64, 160]) {
    for (let row = 0; row < pixels - 1; row++) {
      for (let column = 0; column < pixels - 1; column++) contourOf(pen, truth, pixels, row, column, level, scale);
    }
  }
  pen.stroke();
  pen.setLineDash([]);
}

function contourOf(pen, truth, pixels, row, column, level, scale) {
  const at = [[0, 0], [0, 1], [1, 1], [1, 0]].map(([r, c]) => truth[(row + r) * pixels + column + c]);
  const ends = [];
  [[0, 0, 0, 1], [0, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]].forEach(([r0, c0, r1, c1], side) => {
    const from = at[side], to = at[(side + 1) % 4];
    if (from < level === to < level) return;
    const share = (level - from) / (to - from);
    ends.push([column + mix(c0, c1, share) + 0.5, row + mix(r0, r1, share) + 0.5]);
  });
  for (let i = 0; i + 1 < ends.length; i += 2) {
    pen.moveTo(ends[i][0] * scale, ends[i][1] * scale);
    pen.lineTo(ends[i + 1][0] * scale, ends[i + 1][1] * scale);
  }
}

// A dot where a probed point is at this depth, and its way from the latent (square) to the data (circle).
function drawProbe(pen, size, scene, frame, probe, depth) {
  const last = scene.layers.length;
  const places = probe.path.map((point, position) => placer(boxAt(scene, frame, position), size)(...point));
  const outline = (width, colour) => {
    pen.lineWidth = width;
    pen.strokeStyle = colour;
    pen.beginPath();
    places.forEach(([x, y], i) => (i ? pen.lineTo : pen.moveTo).call(pen, x, y));
    pen.stroke();
  };
  outline(4, "rgba(0,0,0,.55)");
  outline(2, "#ffffff");
  const low = Math.min(last, Math.floor(depth)), high = Math.min(last, low + 1);
  const here = [0, 1].map((axis) => mix(probe.path[low][axis], probe.path[high][axis], depth - low));
  const [x, y] = placer(boxAt(scene, frame, depth), size)(...here);
  pen.fillStyle = "#ff7f0e";
  pen.strokeStyle = "#ffffff";
  pen.lineWidth = 2;
  pen.beginPath();
  pen.arc(x, y, 6, 0, 2 * Math.PI);
  pen.fill();
  pen.stroke();
}

// Curves of the losses, with the exact entropy as their floor.
function drawCurves(pen, width, height, facts, colours) {
  pen.clearRect(0, 0, width, height);
  const { train, validation, entropy } = facts;
  const left = 44, bottom = height - 20, top = 10, right = width - 10;
  const shown = [...train.slice(Math.floor(train.length / 12)), ...validation.slice(1)].map((pair) => pair[1]).sort((a, b) => a - b);
  if (!shown.length) return void hint(pen, width, height, colours, "The curves of the losses appear here as soon as it trains.");
  let low = Math.min(shown[0], entropy ?? Infinity), high = shown[Math.floor(0.97 * (shown.length - 1))];
  const margin = 0.1 * Math.max(high - low, 0.05);
  low -= margin; high += margin;
  const steps = Math.max(facts.step, 1);
  const at = ([step, loss]) => [left + (step / steps) * (right - left), top + ((high - loss) / (high - low)) * (bottom - top)];
  pen.font = "11px " + colours.font;
  pen.textBaseline = "middle";
  for (const value of ticks(low, high)) {
    const [, y] = at([0, value]);
    pen.strokeStyle = colours.rule;
    pen.lineWidth = 1;
    stroke(pen, [[left, y], [right, y]]);
    pen.fillStyle = colours.faint;
    pen.textAlign = "right";
    pen.fillText(Math.abs(value) >= 1000 ? value.toExponential(0) : value.toFixed(high - low < 0.5 ? 2 : 1), left - 6, y);
  }
  pen.textAlign = "right";
  pen.fillText(`step ${facts.step}`, right, height - 7);
  pen.save();
  pen.beginPath();
  pen.rect(left, 0, right - left, bottom + 2);
  pen.clip();
  const paint = (pairs, colour, thick) => {
    pen.strokeStyle = colour;
    pen.lineWidth = thick;
    stroke(pen, pairs.map(at));
  };
  paint(train, colours.train, 1.2);
  paint(validation, colours.validation, 2.4);
  if (entropy != null) {
    pen.setLineDash([5, 4]);
    paint([[0, entropy], [steps, entropy]], colours.floor, 1.6);
    pen.setLineDash([]);
  }
  pen.restore();
}

function hint(pen, width, height, colours, text) {
  pen.fillStyle = colours.faint;
  pen.font = "12px " + colours.font;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.fillText(text, width / 2, height / 2, width - 20);
}

function stroke(pen, places) {
  pen.beginPath();
  places.forEach(([x, y], i) => (i ? pen.lineTo : pen.moveTo).call(pen, x, y));
  pen.stroke();
}

function ticks(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) found.push(value);
  return found;
}
