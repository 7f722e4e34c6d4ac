"use strict";
// Makes a viewer of every <section class="viewer">: two of its figures one over the other, with a divider, zoom and difference.
// Without scripts the figures stand side by side.

const LARGEST_ZOOM = 32;
const LARGEST_ENLARGED = 600; // height of the frame for a small picture
const KEYS = { s: "slider", l: "left", r: "right", d: "difference" };
const CONTROLS = `
  <div class="bar">
    <fieldset aria-label="Show">
      <label><input type="radio" value="slider" checked>Slider</label><label><input type="radio" value="left">Left</label
      ><label><input type="radio" value="right">Right</label><label><input type="radio" value="difference">Difference</label>
    </fieldset>
    <span class="choice"><label>Left <select class="pick-left"></select></label> <label>Right <select class="pick-right"></select></label></span>
    <span><button type="button" class="out" aria-label="Zoom out">&minus;</button>
      <output>100 %</output>
      <button type="button" class="in" aria-label="Zoom in">+</button>
      <button type="button" class="fit">Fit</button>
      <button type="button" class="one">1:1</button></span>
    <label class="amplify" hidden>Amplified <select>
      <option>1</option><option>2</option><option>4</option><option selected>8</option><option>16</option><option>32</option>
    </select> times</label>
  </div>
  <div class="frame" data-show="slider">
    <div class="scroll" tabindex="0" role="group"><div class="stack"><img class="left" alt=""><img class="right" alt=""></div></div>
    <span class="tag of-left"></span><span class="tag of-right"></span>
    <div class="divider" tabindex="0" role="slider" aria-label="Divider" aria-valuemin="0" aria-valuemax="100"></div>
  </div>`;

class Viewer {
  constructor(section, number) {
    const figures = [...section.querySelectorAll("figure:has(img)")];
    if (figures.length < 2) return;
    const place = document.createElement("div");
    place.innerHTML = CONTROLS;
    section.prepend(place);
    const find = (selector) => place.querySelector(selector);
    this.frame = find(".frame");
    this.scroll = find(".scroll");
    this.stack = find(".stack");
    this.divider = find(".divider");
    this.output = find("output");
    this.images = { left: find("img.left"), right: find("img.right") };
    this.tags = { left: find(".of-left"), right: find(".of-right") };
    this.picks = { left: find(".pick-left"), right: find(".pick-right") };
    this.pictures = figures.map((figure) => figure.querySelector("img"));
    this.radios = [...place.querySelectorAll("[type=radio]")];
    this.share = 0.5; // the divider's position in the frame
    this.fitted = true;
    this.width = Number(this.pictures[0].getAttribute("width"));
    this.height = Number(this.pictures[0].getAttribute("height"));
    this.frame.style.aspectRatio = `${this.width} / ${this.height}`;
    this.scroll.setAttribute("aria-label", "Pictures; arrow keys move them when enlarged");

    find(".choice").hidden = this.pictures.length === 2;
    for (const side of ["left", "right"]) {
      this.picks[side].append(...this.pictures.map((picture, index) => new Option(picture.alt, index)));
      this.picks[side].addEventListener("change", () => this.pick(side, this.picks[side].value));
    }
    for (const radio of this.radios) {
      radio.name = `show-${number}`;
      radio.addEventListener("change", () => this.show(radio.value));
    }
    find(".in").addEventListener("click", () => this.zoomTo(this.zoom * 2));
    find(".out").addEventListener("click", () => this.zoomTo(this.zoom / 2));
    find(".fit").addEventListener("click", () => this.fit());
    find(".one").addEventListener("click", () => this.zoomTo(1));
    this.amplify = find(".amplify");
    this.amplify.querySelector("select").addEventListener("change", (event) =>
      this.frame.style.setProperty("--amplify", event.target.value));
    figures.forEach((figure, index) => figure.addEventListener("click", () => this.pick("right", index)));
    section.addEventListener("keydown", (event) => this.key(event));
    this.divider.addEventListener("keydown", (event) => this.dividerKey(event));
    this.scroll.addEventListener("scroll", () => this.draw());
    this.scroll.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.dragging(this.divider, (event) => this.divide((event.clientX - this.frame.getBoundingClientRect().left) / this.frame.clientWidth));
    this.dragging(this.scroll, (event) => {
      if (event.pointerType === "mouse") this.scroll.scrollBy(-event.movementX, -event.movementY); // touch scrolls by itself
    });
    section.classList.add("ready");
    this.pick("left", 0);
    this.pick("right", 1);
    this.divide(0.5);
    new ResizeObserver(() => (this.fitted ? this.fit() : this.draw())).observe(this.frame);
  }

  pick(side, index) {
    this.images[side].src = this.pictures[index].src;
    this.images[side].alt = this.tags[side].textContent = this.pictures[index].alt;
    this.picks[side].value = index;
    this.divide(this.share);
  }

  swap() {
    const [left, right] = [this.picks.left.value, this.picks.right.value];
    this.pick("left", right);
    this.pick("right", left);
  }

  show(mode) {
    if (mode !== "slider" && document.activeElement === this.divider) this.scroll.focus({ preventScroll: true }); // the divider vanishes
    this.frame.dataset.show = mode;
    this.amplify.hidden = mode !== "difference";
    for (const radio of this.radios) radio.checked = radio.value === mode;
    this.draw();
  }

  divide(share) {
    this.share = Math.min(1, Math.max(0, share));
    const percent = Math.round(100 * this.share);
    this.divider.setAttribute("aria-valuenow", percent);
    this.divider.setAttribute("aria-valuetext", `${percent} % ${this.images.left.alt}, ${100 - percent} % ${this.images.right.alt}`);
    this.draw();
  }

  draw() {
    const x = this.share * this.scroll.clientWidth;
    this.divider.style.left = `${x}px`;
    this.images.right.style.clipPath = `inset(0 0 0 ${Math.max(0, x + this.scroll.scrollLeft - this.stack.offsetLeft)}px)`;
  }

  fit() {
    const ratio = window.devicePixelRatio;
    const room = Math.min(this.frame.clientWidth / this.width, LARGEST_ENLARGED / this.height);
    const wholeZoom = Math.max(1, Math.floor(ratio * room));
    this.frame.style.maxHeight = `min(75vh, max(240px, ${(wholeZoom * this.height) / ratio}px))`;
    const largest = ratio * Math.min(this.frame.clientWidth / this.width, this.frame.clientHeight / this.height);
    this.zoomTo(largest < 1 ? largest : Math.min(LARGEST_ZOOM, Math.floor(largest)));
    this.fitted = true;
  }

  // Zoom in device pixels a picture's pixel; the point (x, y) of the frame stays.
  zoomTo(zoom, x = this.scroll.clientWidth / 2, y = this.scroll.clientHeight / 2) {
    const { scroll, stack } = this;
    const at = this.zoom && [(scroll.scrollLeft + x - stack.offsetLeft) / this.zoom, (scroll.scrollTop + y - stack.offsetTop) / this.zoom];
    this.zoom = Math.min(LARGEST_ZOOM, Math.max(1 / 32, zoom));
    this.fitted = false;
    stack.style.width = `${(this.width * this.zoom) / window.devicePixelRatio}px`;
    stack.style.height = `${(this.height * this.zoom) / window.devicePixelRatio}px`;
    stack.classList.toggle("sharp", this.zoom >= 1);
    this.output.textContent = `${Math.round(100 * this.zoom)} %`;
    if (at) scroll.scrollTo(at[0] * this.zoom + stack.offsetLeft - x, at[1] * this.zoom + stack.offsetTop - y);
    this.draw();
  }

  wheel(event) {
    if (!event.ctrlKey) return; // without it, the wheel scrolls
    event.preventDefault();
    const box = this.frame.getBoundingClientRect();
    this.zoomTo(this.zoom * 2 ** (-event.deltaY / 200), event.clientX - box.left, event.clientY - box.top);
  }

  key(event) {
    if (event.target.matches("select") || event.ctrlKey || event.altKey || event.metaKey) return;
    if (KEYS[event.key]) this.show(KEYS[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoomTo(this.zoom * 2);
    else if (event.key === "-") this.zoomTo(this.zoom / 2);
    else if (event.key === "0") this.fit();
    else if (event.key === "1") this.zoomTo(1);
    else if (event.key === "x") this.swap();
    else return;
    event.preventDefault();
  }

  dividerKey(event) {
    const steps = { ArrowLeft: -0.01, ArrowDown: -0.01, ArrowRight: 0.01, ArrowUp: 0.01, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 };
    if (!(event.key in steps)) return;
    this.divide(this.share + steps[event.key]);
    event.preventDefault();
  }

  dragging(element, move) {
    element.addEventListener("pointerdown", (event) => {
      if (event.pointerType !== "mouse" && element === this.scroll) return;
      element.setPointerCapture(event.pointerId);
    });
    element.addEventListener("pointermove", (event) => {
      if (element.hasPointerCapture(event.pointerId)) move(event);
    });
  }
}

document.querySelectorAll(".viewer").forEach((section, number) => new Viewer(section, number));
