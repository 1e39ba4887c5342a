// A pad of 48 x 48 pixels to draw a density on: the pen is soft, the right button rubs out.

const SIDE = 48;

export default function ({ data, parentElement, setStateValue }) {
  if (parentElement.querySelector("canvas")) return;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  canvas.style.cssText = "width:100%;aspect-ratio:1;image-rendering:pixelated;border-radius:.5rem;background:#1b1d29;cursor:crosshair;touch-action:none";
  canvas.setAttribute("aria-label", "Drawing pad for a density");
  const clear = document.createElement("button");
  clear.textContent = "Clear";
  clear.style.cssText = "font:inherit;margin-top:.3rem;padding:.2rem .8rem;border-radius:.5rem;border:1px solid;background:none;color:var(--st-text-color);cursor:pointer";
  parentElement.append(canvas, clear);
  const pixels = Float32Array.from({ length: SIDE * SIDE }, (_, i) => (data?.pixels?.[i] ?? 0) / 15);
  const pen = canvas.getContext("2d");

  const show = () => {
    const image = pen.createImageData(SIDE, SIDE);
    pixels.forEach((value, i) => image.data.set([40 + 213 * value, 30 + 201 * value, 70 - 33 * value, 255], 4 * i));
    pen.putImageData(image, 0, 0);
  };
  const tell = () => setStateValue("drawn", Array.from(pixels, (value) => Math.round(15 * value)));
  const dab = (event) => {
    const box = canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * SIDE, y = ((event.clientY - box.top) / box.height) * SIDE;
    const rub = event.buttons === 2;
    for (let row = 0; row < SIDE; row++) {
      for (let column = 0; column < SIDE; column++) {
        const ink = Math.max(0, 1 - Math.hypot(column + 0.5 - x, row + 0.5 - y) / 2.6);
        const i = row * SIDE + column;
        pixels[i] = rub ? Math.min(pixels[i], 1 - ink) : Math.max(pixels[i], Math.min(1, 1.6 * ink));
      }
    }
    show();
  };
  canvas.onpointerdown = (event) => { canvas.setPointerCapture(event.pointerId); dab(event); };
  canvas.onpointermove = (event) => event.buttons && dab(event);
  canvas.onpointerup = () => pixels.some((value) => value > 0) && tell();
  canvas.oncontextmenu = (event) => event.preventDefault();
  clear.onclick = () => { pixels.fill(0); show(); };
  show();
}
