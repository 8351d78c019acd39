"use strict";
// One slice of one case: pixels on a canvas, contours as SVG above it, both in millimetres of the slice.

const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);

function decoded(kind, base64) {
  const picture = new Image();
  picture.src = `data:image/${kind};base64,${base64}`;
  return picture.decode().then(() => picture);
}

class Grey {
  // A picture whose window can change: its bytes are kept, what is drawn is looked up.
  constructor(picture) {
    this.canvas = new OffscreenCanvas(picture.naturalWidth, picture.naturalHeight);
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.context.drawImage(picture, 0, 0);
    this.shown = this.context.getImageData(0, 0, this.canvas.width, this.canvas.height);
    this.bytes = this.shown.data.filter((_, place) => place % 4 === 0);
    this.window = "";
  }

  through(table, name) {
    if (this.window !== name) {
      const words = new Uint32Array(this.shown.data.buffer);
      this.bytes.forEach((byte, place) => { words[place] = table[byte]; });
      this.context.putImageData(this.shown, 0, 0);
      this.window = name;
    }
    return this.canvas;
  }
}

class Viewer {
  constructor() {
    this.stage = $("stage");
    this.canvas = $("pixels");
    this.lines = $("lines").firstElementChild;
    this.shows = { PZ: true, TZ: true, WP: false, outline: true, fill: false, uncertainty: false };
    this.opacity = 0.9;
    this.zoom = "gland";
    this.case = null;
    this.hidden = false;
    this.moved = () => {};
    new ResizeObserver(() => this.draw()).observe(this.stage);
  }

  open(one) {
    this.case = one;
    this.pictures = one.slices.map(() => null);
    this.slice = one.first;
    this.#blank(""); // never the picture of another case beside this one's name
    [this.low, this.high] = one.window;
    this.millimetres = one.size.map((pixels, axis) => pixels * one.pixel_mm[axis]);
    this.fit(this.zoom);
    this.go(one.first);
    this.pictures.forEach((_, place) => this.picture(place).catch(() => null)); // the rest meanwhile, so that scrolling does not wait
  }

  picture(place) {
    const { crop, whole, uncertainty } = this.case.slices[place];
    this.pictures[place] ??= Promise.all([
      decoded("webp", whole).then((picture) => new Grey(picture)),
      decoded("webp", crop).then((picture) => new Grey(picture)),
      uncertainty ? decoded("png", uncertainty) : null,
    ]);
    return this.pictures[place];
  }

  async go(place) {
    if (!this.case) return;
    const one = this.case;
    this.slice = Math.max(0, Math.min(one.slices.length - 1, place));
    const wanted = this.slice;
    this.moved();
    const pictures = await this.picture(wanted).catch(() => null);
    if (one !== this.case || wanted !== this.slice) return;
    if (!pictures) {
      this.#blank("This browser cannot show the slice.");
      return;
    }
    this.ready = { pictures, slice: wanted }; // pixels and contours change together, never one without the other
    this.draw();
  }

  #blank(words) {
    this.ready = null;
    this.canvas.width = this.canvas.height = 1;
    this.lines.replaceChildren();
    $("where").textContent = words;
    this.canvas.setAttribute("aria-label", words || "Loading");
    delete this.stage.dataset.slice;
  }

  fit(zoom) {
    const { gland, pixel_mm } = this.case;
    this.zoom = zoom;
    this.centre = this.millimetres.map((side) => side / 2);
    this.side = Math.max(...this.millimetres);
    if (zoom === "gland" && gland) {
      this.centre = gland.map(([low, high], axis) => ((low + high) / 2) * pixel_mm[axis]);
      this.side = Math.max(...gland.map(([low, high], axis) => (high - low) * pixel_mm[axis])) + 30;
    }
    if (zoom === "gland" && !gland) this.side = Math.min(this.side, 120);
    this.draw();
  }

  scaled(factor) {
    this.side = Math.max(15, Math.min(2 * Math.max(...this.millimetres), this.side * factor));
    this.zoom = "";
    this.draw();
  }

  panned(across, down) {
    const scale = this.scale;
    this.centre = [this.centre[0] - across / scale, this.centre[1] - down / scale];
    this.zoom = "";
    this.draw();
  }

  windowed(level, width) {
    width = Math.max(0.005, Math.min(1, width));
    level = Math.max(0, Math.min(1, level));
    [this.low, this.high] = [level - width / 2, level + width / 2];
    this.draw();
  }

  get level() { return (this.low + this.high) / 2; }
  get width() { return this.high - this.low; }
  get scale() { return Math.min(this.stage.clientWidth, this.stage.clientHeight) / this.side; } // CSS pixels per mm

  draw() {
    if (!this.case || !this.ready || !this.stage.clientWidth) return;
    const { clientWidth, clientHeight } = this.stage, scale = this.scale;
    const corner = [this.centre[0] - clientWidth / 2 / scale, this.centre[1] - clientHeight / 2 / scale];
    this.#paint(clientWidth, clientHeight, scale, corner);
    this.#trace(clientWidth / scale, clientHeight / scale, corner);
    this.#note(clientWidth, scale);
    this.moved();
  }

  #paint(width, height, scale, corner) {
    const dots = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * dots);
    this.canvas.height = Math.round(height * dots);
    const context = this.canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.setTransform(scale * dots, 0, 0, scale * dots, -corner[0] * scale * dots, -corner[1] * scale * dots);
    const [whole, crop, doubt] = this.ready.pictures, { pixel_mm } = this.case;
    const place = this.case.crop.map((pixels, axis) => pixels * pixel_mm[axis % 2]);
    const table = this.#table(), name = `${this.low} ${this.high}`;
    context.drawImage(whole.through(table, name), 0, 0, ...this.millimetres);
    context.drawImage(crop.through(table, name), ...place);
    context.strokeStyle = "#ffffff40"; // inside this frame the picture is sharp, outside it is an overview
    context.lineWidth = 1 / scale;
    context.strokeRect(...place);
    if (doubt && this.shows.uncertainty && !this.hidden) context.drawImage(doubt, ...place);
  }

  #table() {
    return Uint32Array.from({ length: 256 }, (_, byte) => {
      const grey = Math.round(255 * Math.max(0, Math.min(1, (byte / 255 - this.low) / (this.high - this.low))));
      return (0xff000000 | (grey << 16) | (grey << 8) | grey) >>> 0;
    });
  }

  #trace(width, height, corner) {
    const { slices, pixel_mm } = this.case, shows = this.shows;
    $("lines").setAttribute("viewBox", [...corner, width, height].join(" "));
    this.lines.setAttribute("transform", `scale(${pixel_mm.join(" ")})`);
    this.lines.setAttribute("class", ["outline", "fill"].filter((way) => shows[way]).join(" "));
    this.lines.style.opacity = this.hidden ? 0 : this.opacity;
    const paths = ["WP", "PZ", "TZ"].filter((zone) => shows[zone] && slices[this.ready.slice][zone]).map((zone) => {
      const path = document.createElementNS(SVG, "path");
      path.setAttribute("d", slices[this.ready.slice][zone]);
      path.setAttribute("class", zone);
      return path;
    });
    this.lines.replaceChildren(...paths);
  }

  #note(width, scale) {
    const { slices, slice_mm, name } = this.case, number = this.ready.slice + 1;
    $("where").textContent = `${number} / ${slices.length} · ${Number(slice_mm.toFixed(2))} mm` + (this.hidden ? " · overlays hidden" : "");
    $("grey").textContent = `L ${Math.round(100 * this.level)} W ${Math.round(100 * this.width)}`;
    this.canvas.setAttribute("aria-label", `Axial slice ${number} of ${slices.length} of ${name}`);
    const bar = [50, 20, 10, 5, 2, 1].find((length) => length * scale < width / 4) ?? 1;
    $("scale-words").textContent = `${bar} mm`;
    $("scale-bar").style.width = `${bar * scale}px`;
    $("ramp").hidden = this.hidden || !this.shows.uncertainty || !slices.some((slice) => slice.uncertainty);
    Object.assign(this.stage.dataset, { slice: number, case: name });
  }
}
