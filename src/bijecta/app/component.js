// The live view of one run: a connection, one canvas, and its controls. `drawing.js` stands before this file.

const OVERLAYS = [
  ["density", "density", true], ["grid", "warped grid", true], ["samples", "samples", false],
  ["stretching", "log-det", false], ["truth", "truth", false], ["latent", "data", false],
];
const MOST_MINIS = 12;
const FINAL = ["done", "stopped", "failed"];
const WORDS = { idle: "ready", running: "training", paused: "paused", done: "trained", stopped: "stopped", failed: "failed" };

// A message of the server: see messages.py.
function parse(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const arrays = {};
  for (const [name, place] of Object.entries(header.arrays)) {
    const kind = place.type === "uint8" ? Uint8Array : Float32Array;
    const size = place.shape.reduce((a, b) => a * b, 1);
    arrays[name] = { shape: place.shape, values: new kind(buffer, 4 + length + place.at, size) };
  }
  return { ...header, arrays };
}

class Lab {
  constructor(root) {
    this.root = root;
    this.find = (id) => root.querySelector("#" + id);
    this.shown = Object.fromEntries(OVERLAYS.map(([name, , on]) => [name, on]));
    this.calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.playing = !this.calm;
    this.depth = 0; // a share of the way from the latent to the data
    this.clock = 0;
    this.frames = 0;
    this.times = [];
    this.dirty = true;
    this.buildChips();
    this.buildFiles();
    this.listen();
    this.observer = new ResizeObserver(() => this.touch());
    this.observer.observe(root.querySelector(".lab"));
    this.tick = this.tick.bind(this);
    this.request = requestAnimationFrame(this.tick);
  }

  // ------------------------------------------------------------ connection

  follow(data) {
    this.data = data;
    this.card(data.note, "", "note");
    if (data.run !== this.run) this.connect(data.run);
    this.touch();
  }

  connect(run, then) {
    this.run = run;
    this.forget();
    this.socket?.close();
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live/${run}`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onopen = () => { this.tries = 0; then?.(); };
    socket.onmessage = (event) => socket === this.socket && this.take(event.data);
    socket.onclose = (event) => {
      if (socket !== this.socket || this.over || event.code === 4404) return;
      this.tries = (this.tries ?? 0) + 1;
      setTimeout(() => socket === this.socket && !this.over && this.connect(run), Math.min(5000, 300 * 2 ** this.tries));
    };
    for (const link of this.root.querySelectorAll(".files a")) link.href = `/export/${run}/${link.dataset.name}`;
  }

  forget() {
    this.scene = this.frame = this.live = this.probed = null;
    this.asking = false;
    this.past = false;
    this.renderProbe();
  }

  send(command) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(command));
  }

  take(data) {
    if (typeof data === "string") return this.card(JSON.parse(data).error, "", "error");
    const message = parse(data);
    if (message.kind === "scene") return this.takeScene(message);
    if (message.kind === "answer") return this.takeProbe(message);
    this.takeFrame(message);
  }

  takeScene(scene) {
    this.forget();
    this.scene = scene;
    this.truth = scene.arrays.truth?.values ?? null;
    this.find("depth").max = scene.layers.length;
    this.buildMinis();
    this.renderKeys();
  }

  takeFrame(frame) {
    if (!frame.past && frame.past !== 0) {
      this.live = frame;
      this.renderFacts(frame);
      if (this.past) return;
    }
    // A frame without a picture tells the state; the last picture stays.
    this.frame = frame.arrays.grid || !this.frame ? frame : { ...this.frame, ...frame, arrays: this.frame.arrays };
    if (frame.arrays.density) {
      this.frames += 1;
      this.times.push(performance.now());
      if (this.times.length > 40) this.times.shift();
      this.root.querySelector(".lab").dataset.frames = this.frames;
    }
    this.touch();
    this.minisDue = true;
    if (this.aim && frame.state === "running") this.ask();
  }

  // ------------------------------------------------------------ controls

  listen() {
    const on = (id, event, act) => this.find(id).addEventListener(event, act);
    on("run", "click", () => this.start());
    on("pause", "click", () => this.send({ do: this.live?.state === "paused" ? "resume" : "pause" }));
    on("step", "click", () => this.send({ do: "step" }));
    on("slow", "click", () => this.send({ do: "slow", on: !this.live?.slow }));
    on("stop", "click", () => this.send({ do: "stop" }));
    on("rate", "input", () => this.changeRate(10 ** Number(this.find("rate").value)));
    on("play", "click", () => this.play(!this.playing));
    on("depth", "input", () => { this.play(false); this.setDepth(Number(this.find("depth").value)); });
    on("past", "input", () => { this.past = true; this.send({ do: "scrub", at: Number(this.find("past").value) }); this.find("now").disabled = false; });
    on("now", "click", () => this.backToLive());
    on("view", "pointermove", (event) => this.pointAt(event));
    on("view", "pointerdown", (event) => this.pointAt(event));
    on("view", "keydown", (event) => this.keyAt(event));
  }

  start() {
    this.play(false);
    this.setDepth(this.scene?.layers.length ?? 1);
    this.depth = 1;
    this.find("rate").value = 0;
    this.find("factor").textContent = "× 1";
    this.badge("starting", "starting …");
    this.card("", "", "note");
    if (this.data.next && this.data.next !== this.run) {
      this.send({ do: "stop" });
      this.connect(this.data.next, () => this.send({ do: "run" }));
    } else this.send({ do: "run" });
  }

  changeRate(factor) {
    this.find("factor").textContent = "× " + Number(factor.toPrecision(2));
    clearTimeout(this.rateTimer);
    this.rateTimer = setTimeout(() => this.send({ do: "rate", factor }), 120);
  }

  play(on) {
    this.playing = on;
    this.clock = null;
    this.find("play").textContent = on ? "❚❚" : "▶";
    this.find("play").setAttribute("aria-pressed", on);
  }

  backToLive() {
    this.past = false;
    this.find("now").disabled = true;
    if (this.live) this.takeFrame(this.live);
  }

  setDepth(layers) {
    this.depth = this.scene ? layers / this.scene.layers.length : 1;
    this.touch();
  }

  get layerDepth() { return this.depth * this.scene.layers.length; }

  // ------------------------------------------------------------ probe

  pointAt(event) {
    if (!this.scene || !this.frame) return;
    const box = this.find("view").getBoundingClientRect();
    this.aimAt((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  }

  keyAt(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (!moves[event.key] || !this.scene || !this.frame) return;
    event.preventDefault();
    const [x, y] = this.pointer ?? [0.5, 0.5];
    const stride = event.shiftKey ? 0.05 : 0.01;
    this.aimAt(x + stride * moves[event.key][0], y + stride * moves[event.key][1]);
  }

  // In the space of the data any point can be asked about; before it, the sample nearest to the pointer.
  aimAt(x, y) {
    this.pointer = [Math.max(0, Math.min(1, x)), Math.max(0, Math.min(1, y))];
    const depth = this.layerDepth, last = this.scene.layers.length;
    const box = boxAt(this.scene, this.frame, depth);
    const at = [mix(box[0], box[2], this.pointer[0]), mix(box[3], box[1], this.pointer[1])];
    if (depth > last - 0.01) this.aim = at;
    else {
      const here = pointsAt(this.frame.arrays.samples, depth);
      let best = 0, nearest = Infinity;
      for (let i = 0; i < here.length; i += 2) {
        const distance = (here[i] - at[0]) ** 2 + (here[i + 1] - at[1]) ** 2;
        if (distance < nearest) [nearest, best] = [distance, i];
      }
      const offset = last * here.length;
      this.aim = [...this.frame.arrays.samples.values.subarray(offset + best, offset + best + 2)];
    }
    this.ask();
  }

  ask() {
    if (this.past) return;
    if (this.asking) return void (this.again = true);
    this.asking = true;
    this.send({ do: "probe", x: this.aim });
  }

  takeProbe(answer) {
    this.asking = false;
    if (!answer.error) {
      this.probed = answer;
      this.renderProbe();
      this.touch();
      this.minisDue = true;
    }
    if (this.again) { this.again = false; this.ask(); }
  }

  renderProbe() {
    const place = this.find("probe");
    if (!this.probed) {
      place.replaceChildren(element("p", "Point at the picture (or focus it and use the arrow keys): log p(x) = log p(z) + the log-determinants of all layers."));
      return;
    }
    const { x, base, ladj, sum, path } = this.probed;
    const terms = [["base: log p(z)", base], ...ladj.map((value, k) => [`layer ${k + 1}: log |det|`, value])];
    const largest = Math.max(...terms.map(([, value]) => Math.abs(value)), 1e-9);
    const table = element("table");
    for (const [name, value] of terms) table.append(row(name, value, largest));
    table.append(row("sum = log p(x)", sum, 0, "sum"));
    const point = (pair) => `(${pair.map((number) => number.toFixed(3)).join(", ")})`;
    place.replaceChildren(element("p", `x = ${point(x)}  →  z = ${point(path[0])}`), table);
    const lab = this.root.querySelector(".lab");
    Object.assign(lab.dataset, { sum, logProb: this.probed.log_prob, probe: x.join(",") });
  }

  // ------------------------------------------------------------ what is said

  renderFacts(frame) {
    this.badge(frame.state, WORDS[frame.state] ?? frame.state);
    const final = FINAL.includes(frame.state), idle = frame.state === "idle";
    const trains = !final && !idle;
    this.find("run").textContent = trains || (final && !frame.recorded) ? "↻ Restart" : "▶ Run";
    this.find("pause").textContent = frame.state === "paused" ? "▶ Resume" : "❚❚ Pause";
    for (const id of ["pause", "step", "slow", "stop", "rate"]) this.find(id).disabled = !trains;
    this.find("slow").setAttribute("aria-pressed", Boolean(frame.slow));
    this.find("verdict").textContent = frame.verdict || (idle ? "Press Run: the flow begins as a Gaussian and learns to bend it." : "");
    if (frame.state === "failed") this.card(frame.message, "The training stopped. ", "error");
    else if (this.cardKind === "error") this.card("", "", "error");
    this.renderNumbers(frame);
    const past = this.find("past");
    past.disabled = !(frame.kept > 1);
    past.max = Math.max(1, (frame.kept ?? 1) - 1);
    if (!this.past) past.value = past.max;
    this.curvesDue = true;
  }

  renderNumbers(frame) {
    const number = (value, digits) => (value == null ? "–" : value.toFixed(digits));
    const last = frame.validation?.at(-1)?.[1];
    const final = FINAL.includes(frame.state);
    const facts = [
      ["validation NLL", number(final ? frame.best : last, 3)],
      ["best possible", number(this.scene?.entropy, 3)],
      ["step", frame.steps ? `${frame.step}/${frame.steps}` : String(frame.step ?? 0)],
      ["epoch", frame.epochs ? `${frame.epoch}/${frame.epochs}` : "–"],
      ["steps/s", number(frame.steps_per_second, 0)],
      ["time left", final ? "–" : frame.eta == null ? "–" : `${frame.eta.toFixed(frame.eta < 10 ? 1 : 0)} s`],
      ["learning rate", frame.learning_rate ? frame.learning_rate.toExponential(1) : "–"],
      ["round trip", frame.round_trip == null ? "–" : frame.round_trip.toExponential(1)],
    ];
    this.find("numbers").replaceChildren(...facts.map(([name, value]) => {
      const box = element("div");
      box.append(element("dt", name), element("dd", value));
      return box;
    }));
  }

  renderKeys() {
    const colours = this.colours();
    const keys = [["training", colours.train], ["validation", colours.validation]];
    if (this.scene.entropy != null) keys.push(["exact entropy: nothing can be lower", colours.floor]);
    this.find("keys").replaceChildren(...keys.map(([name, colour]) => {
      const key = element("span");
      const line = element("i");
      line.style.borderColor = colour;
      key.append(line, name);
      return key;
    }));
  }

  badge(state, words) {
    const badge = this.find("state");
    badge.dataset.state = state;
    badge.textContent = words;
  }

  card(text, title, kind) {
    if (!text && this.cardKind !== kind) return;
    const card = this.find("card");
    card.hidden = !text;
    this.cardKind = text ? kind : null;
    card.replaceChildren(...(text ? [...(title ? [element("b", title)] : []), text] : []));
  }

  // ------------------------------------------------------------ building

  buildChips() {
    this.find("chips").replaceChildren(...OVERLAYS.map(([name, words]) => {
      const chip = element("button", words);
      chip.id = "show-" + name;
      const mark = () => chip.setAttribute("aria-pressed", this.shown[name]);
      chip.onclick = () => { this.shown[name] = !this.shown[name]; mark(); this.touch(); };
      mark();
      return chip;
    }));
  }

  buildFiles() {
    const files = [["picture.png", "PNG"], ["training.gif", "GIF"], ["model.safetensors", "model"], ["settings.json", "settings"],
      ["samples.csv", "samples"], ["report.html", "report"], ["run.py", "Python script"]];
    this.find("files").replaceChildren(...files.map(([name, words]) => {
      const link = element("a", words);
      link.dataset.name = name;
      link.setAttribute("download", "bijecta-" + name);
      return link;
    }));
  }

  // One small picture of every layer; of very many layers, some evenly spread ones.
  buildMinis() {
    const last = this.scene.layers.length;
    const count = Math.min(last + 1, MOST_MINIS);
    const positions = Array.from({ length: count }, (_, i) => Math.round((i * last) / (count - 1)));
    this.minis = positions.map((k) => {
      const button = element("button"), canvas = element("canvas");
      button.title = k ? this.scene.layers[k - 1] : "the base";
      button.append(canvas, element("span", k === 0 ? "base z" : k === last ? "data x" : `layer ${k}`));
      button.onclick = () => { this.play(false); this.setDepth(k); };
      button.onpointerenter = () => { this.peek = k; this.touch(); };
      button.onpointerleave = () => { this.peek = null; this.touch(); };
      return { button, canvas, k };
    });
    this.find("minis").replaceChildren(...this.minis.map((mini) => mini.button));
    this.minisDue = true;
  }

  colours() {
    const style = getComputedStyle(this.root.querySelector(".lab"));
    const dark = this.isDark(style);
    return {
      font: style.fontFamily, faint: dark ? "#aab4c0" : "#5a6572", rule: dark ? "#2a3340" : "#e3e7ec",
      train: dark ? "#6fb1e0" : "#5b9bd0", validation: dark ? "#ffb347" : "#c85a00", floor: dark ? "#5ec9b0" : "#00796b",
    };
  }

  isDark(style) {
    const numbers = style.color.match(/[\d.]+/g).map(Number);
    return numbers[0] + numbers[1] + numbers[2] > (style.color.startsWith("color(") ? 1.5 : 380);
  }

  // ------------------------------------------------------------ drawing

  touch() { this.dirty = true; }

  tick(now) {
    this.request = requestAnimationFrame(this.tick);
    if (!this.scene || !this.frame?.arrays.grid) return;
    if (this.playing) this.advance(now);
    if (this.dirty && now - (this.paintedAt ?? -1e9) > 2.5 * (this.cost ?? 0)) { // leaves the machine time to train
      this.dirty = false;
      this.paintedAt = now;
      this.paint();
    }
    if (this.minisDue && now - (this.minisAt ?? -1e9) > 500) {
      this.minisDue = false;
      this.minisAt = now;
      this.paintMinis();
    }
    if (this.curvesDue && now - (this.curvesAt ?? -1e9) > 150) {
      this.curvesDue = false;
      this.curvesAt = now;
      this.paintCurves();
    }
  }

  // To the data and back, with a rest at both ends.
  advance(now) {
    this.clock ??= now - (this.depth * 0.375 + 0.0625) * 8000;
    const turn = ((now - this.clock) / 8000) % 1;
    const way = Math.max(0, Math.min(1, (turn < 0.5 ? turn - 0.0625 : 0.9375 - turn) / 0.375));
    if (way === this.depth) return;
    this.depth = way * way * (3 - 2 * way) || way;
    this.dirty = true;
  }

  paint() {
    const canvas = this.find("view");
    const size = Math.round(canvas.clientWidth * Math.min(2, devicePixelRatio || 1));
    if (!size) return;
    if (canvas.width !== size) canvas.width = canvas.height = size;
    const depth = this.peek ?? this.layerDepth;
    const began = performance.now();
    this.paintOn(canvas.getContext("2d"), size, depth, 0);
    this.cost = 0.8 * (this.cost ?? 0) + 0.2 * (performance.now() - began);
    this.strides = this.cost > 14 ? [2, 2] : this.cost > 9 ? [2, 1] : [1, 1]; // a slow machine gets fewer cells
    if (this.peek == null) this.find("depth").value = depth;
    const last = this.scene.layers.length, near = Math.round(depth);
    this.find("where").textContent = depth < 0.02 ? "base z" : depth > last - 0.02 ? "data x" : `layer ${depth.toFixed(1)} of ${last}`;
    this.find("legend").textContent = this.shown.stretching ? `log |det|: blue −${largestStretching(this.frame).toFixed(2)} · orange +${largestStretching(this.frame).toFixed(2)}` : "";
    this.minis?.forEach(({ button, k }) => button.setAttribute("aria-current", k === near));
  }

  // `coarse` is 0 for the large picture, else every how many-th node a small one takes.
  paintOn(pen, size, depth, coarse) {
    const { scene, frame, shown } = this;
    const [cellStride, lineStride] = coarse ? [coarse, coarse] : this.strides ?? [1, 1];
    const last = scene.layers.length;
    pen.clearRect(0, 0, size, size);
    if (shown.density) drawDensity(pen, size, scene, frame, depth, cellStride);
    else { pen.fillStyle = "#1b1d29"; pen.fillRect(0, 0, size, size); }
    if (shown.stretching && depth > 0) drawStretching(pen, size, scene, frame, depth, cellStride);
    if (shown.grid) drawGrid(pen, size, scene, frame, depth, coarse ? "rgba(255,255,255,.16)" : "rgba(255,255,255,.28)", lineStride);
    if (coarse) return;
    const ratio = size / this.find("view").clientWidth;
    if (shown.truth && this.truth && depth > last - 0.3) drawTruth(pen, size, this.truth, 64, "rgba(255,255,255,.9)");
    if (shown.latent) drawDots(pen, size, scene, frame, frame.arrays.latent, depth, "rgba(120,220,255,.95)", 2 * ratio);
    if (shown.samples) drawDots(pen, size, scene, frame, frame.arrays.samples, depth, "rgba(255,140,40,.95)", 2 * ratio);
    if (this.probed) drawProbe(pen, size, scene, frame, this.probed, depth);
  }

  paintMinis() {
    this.minis?.forEach(({ canvas, k }) => {
      if (canvas.width !== 96) canvas.width = canvas.height = 96;
      this.paintOn(canvas.getContext("2d"), 96, k, 2);
      if (!this.probed) return;
      const [x, y] = placer(boxAt(this.scene, this.frame, k), 96)(...this.probed.path[k]);
      const pen = canvas.getContext("2d");
      pen.fillStyle = "#ff7f0e";
      pen.beginPath();
      pen.arc(x, y, 4, 0, 2 * Math.PI);
      pen.fill();
    });
    const times = this.times;
    const lab = this.root.querySelector(".lab");
    if (times.length > 1) lab.dataset.fps = (((times.length - 1) * 1000) / (times.at(-1) - times[0])).toFixed(1);
  }

  paintCurves() {
    const canvas = this.find("curves");
    const scale = Math.min(2, devicePixelRatio || 1);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = width * scale;
    canvas.height = height * scale;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    const { train = [], validation = [], step = 0 } = this.live ?? {};
    drawCurves(pen, width, height, { train, validation, step, entropy: this.scene.entropy }, this.colours());
  }

  leave() {
    this.over = true;
    cancelAnimationFrame(this.request);
    this.observer.disconnect();
    this.socket?.close();
  }
}

function element(tag, text) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  return made;
}

function row(name, value, largest, kind) {
  const made = element("tr");
  if (kind) made.className = kind;
  const bar = element("td");
  bar.className = "amount";
  if (largest) {
    const line = element("i");
    line.style.width = `${(100 * Math.abs(value)) / largest}%`;
    line.style.background = value < 0 ? "#2166ac" : "#e08040";
    bar.append(line);
  }
  made.append(element("td", name), bar, element("td", value.toFixed(4)));
  return made;
}

export default function ({ data, parentElement }) {
  parentElement.lab ??= new Lab(parentElement);
  const lab = parentElement.lab;
  lab.follow(data);
  return () => {
    lab.leave();
    parentElement.lab = undefined;
  };
}
