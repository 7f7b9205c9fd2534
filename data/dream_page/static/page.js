// Shows what the server sends and tells it what the user wants. What is wanted lives here, so that it survives a
// lost connection; how the drives go lives in the server.

import { Lines } from "./lines.js";
import { Link } from "./link.js";

const $ = (id) => document.getElementById(id);
const KEYS = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down" };
const RATE_FRAMES = 40;

const views = [0, 1, 2].map((i) => $(`view-${i}`));
const drivers = [...document.querySelectorAll("[data-driver]")];
const pads = [...document.querySelectorAll("[data-key]")];
const overs = [...document.querySelectorAll(".over")];
const style = getComputedStyle(document.documentElement);
const colour = (name) => style.getPropertyValue(name).trim();

const rewards = new Lines(
  $("rewards"),
  [{ colour: colour("--real"), mean: 10 }, { colour: colour("--dream"), dash: [5, 3], mean: 10 }],
  { low: -1, high: 4 },
);
const ends = new Lines($("ends"), [{ colour: colour("--end") }], { low: 0, high: 1, fixed: true });

/** What the user wants; null until the server's first hello, whose defaults it then takes. */
let wanted = null;
let hasController = false;
let newest = null; // the frame to draw next: {head, pixels}
let times = [];
const held = new Set();

const link = new Link({
  hello(hello) {
    hasController = hello.has_controller;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    wanted ??= { temperature: hello.temperature, seed: hello.seed, paused: still, driver: "real" };
    if (!hasController) wanted.driver = "keys";
    $("env").textContent = hello.env_name;
    $("about").textContent = `V and M: ${hello.weights}.`;
    $("temperature").max = hello.max_temperature;
    for (const view of views) view.width = view.height = hello.image_size;
    for (const button of drivers) button.disabled = !hasController && button.dataset.driver !== "keys";
    times = [];
    newest = null;
    say.temperature();
    say.driver();
    say.paused();
    say.keys();
    say.reset();
  },
  frame(head, pixels) {
    note(head);
    if (newest === null) requestAnimationFrame(draw);
    newest = { head, pixels };
  },
  error: notice,
  state(state, text) {
    $("link").dataset.state = state;
    $("link").textContent = text;
    document.body.classList.toggle("is-lost", state === "lost");
    if (state === "open") notice("");
    else $("rate").textContent = "";
  },
});

const say = {
  temperature() { show(); link.say({ say: "temperature", value: wanted.temperature }); },
  driver() { show(); link.say({ say: "driver", value: wanted.driver }); },
  paused() { show(); link.say({ say: "pause", value: wanted.paused }); },
  reset() { show(); link.say({ say: "reset", seed: wanted.seed }); },
  sync() { link.say({ say: "sync" }); },
  keys() { show(); link.say({ say: "keys", held: [...held] }); },
};

/** Bring the controls in line with what is wanted. */
function show() {
  $("temperature").value = wanted.temperature;
  $("temperature-value").textContent = wanted.temperature.toFixed(2);
  if (document.activeElement !== $("seed")) $("seed").value = wanted.seed;
  $("pause").setAttribute("aria-pressed", wanted.paused);
  for (const button of drivers) button.setAttribute("aria-pressed", button.dataset.driver === wanted.driver);
  for (const pad of pads) pad.classList.toggle("is-held", held.has(pad.dataset.key));
}

function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

/** Keep a frame's numbers, whether its picture is drawn or the next one comes too soon. */
function note(head) {
  if (head.begins) {
    rewards.clear();
    ends.clear();
  } else {
    rewards.add(head.real.over ? null : head.real.reward, head.dream.over ? null : head.dream.reward);
    ends.add(head.termination);
  }
}

function draw(now) {
  if (newest === null) return; // it was of the connection before
  const { head, pixels } = newest;
  newest = null;
  link.say({ say: "seen", frame: head.frame });
  views.forEach((view, i) => paint(view, pixels, i));
  rewards.draw();
  ends.draw();
  for (const half of ["real", "dream"]) {
    $(`${half}-reward`).textContent = head[half].reward.toFixed(2);
    $(`${half}-return`).textContent = head[half].return_.toFixed(1);
  }
  [head.real, head.dream].forEach(({ over }, i) => {
    overs[i].hidden = !over;
    overs[i].textContent = over && `Over: ${over}.`;
  });
  ["steer", "gas", "brake"].forEach((name, i) => bar($(name), head.action[i]));
  $("age").textContent = `${head.age} steps on its own`;
  $("end-value").textContent = head.termination.toFixed(3);
  $("score").textContent =
    `Track ${head.seed}, step ${head.step}, temperature ${head.temperature.toFixed(2)}: ` +
    `real return ${head.return.toFixed(1)} so far.`;
  rate(now);
  document.body.dataset.frame = head.frame;
}

/** Show a number between the bar's ends, from 0 on. */
function bar(element, value) {
  const low = Number(element.ariaValueMin);
  const at = (x) => (100 * (x - low)) / (1 - low);
  element.ariaValueNow = value.toFixed(2);
  element.firstChild.style.left = `${at(Math.min(value, 0))}%`;
  element.firstChild.style.width = `${at(Math.max(value, 0)) - at(Math.min(value, 0))}%`;
}

function paint(view, pixels, which) {
  const pen = view.getContext("2d");
  const image = pen.createImageData(view.width, view.height);
  const count = view.width * view.height;
  for (let i = 0, from = 3 * count * which, to = 0; i < count; i++, from += 3, to += 4) {
    image.data[to] = pixels[from];
    image.data[to + 1] = pixels[from + 1];
    image.data[to + 2] = pixels[from + 2];
    image.data[to + 3] = 255;
  }
  pen.putImageData(image, 0, 0);
}

function rate(now) {
  if (times.length && now - times.at(-1) > 1000) times = []; // it was paused
  times.push(now);
  if (times.length > RATE_FRAMES) times.shift();
  if (times.length < 5) return;
  const fps = (1000 * (times.length - 1)) / (now - times[0]);
  $("rate").textContent = `${fps.toFixed(1)} frames/s`;
}

function take(driver) {
  if (!hasController) driver = "keys";
  if (wanted.driver === driver) return;
  wanted.driver = driver;
  say.driver();
}

function press(key, isDown) {
  if (wanted === null || held.has(key) === isDown) return;
  held[isDown ? "add" : "delete"](key);
  if (isDown) take("keys");
  say.keys();
}

function letGo() {
  if (!held.size) return;
  held.clear();
  say.keys();
}

function reset(seed) {
  const most = Number($("seed").max);
  if (!Number.isInteger(seed) || seed < 0 || seed > most) {
    notice(`The track is a whole number from 0 to ${most}.`);
    return;
  }
  notice("");
  wanted.seed = seed;
  say.reset();
}

const commands = {
  r: () => reset($("seed").valueAsNumber),
  n: () => { $("seed").value = wanted.seed + 1; reset(wanted.seed + 1); },
  s: () => say.sync(),
  p: () => { wanted.paused = !wanted.paused; say.paused(); },
  c: () => take(wanted.driver === "real" ? "dream" : "real"),
};

addEventListener("keydown", (event) => {
  const isField = event.target instanceof HTMLInputElement;
  if (wanted === null || isField || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key in KEYS) {
    event.preventDefault();
    press(KEYS[event.key], true);
  } else if (!event.repeat && event.key.toLowerCase() in commands) {
    commands[event.key.toLowerCase()]();
  }
});
addEventListener("keyup", (event) => {
  if (event.key in KEYS) press(KEYS[event.key], false);
});
addEventListener("blur", letGo);
document.addEventListener("visibilitychange", () => document.hidden && letGo());

for (const pad of pads) {
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    press(pad.dataset.key, true);
  });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
    pad.addEventListener(name, () => press(pad.dataset.key, false));
  }
  pad.addEventListener("contextmenu", (event) => event.preventDefault());
}
for (const button of drivers) {
  button.addEventListener("click", () => wanted && take(button.dataset.driver));
}
for (const [id, key] of [["reset", "r"], ["next", "n"], ["sync", "s"], ["pause", "p"]]) {
  $(id).addEventListener("click", () => wanted && commands[key]());
}
$("temperature").addEventListener("input", () => {
  if (wanted === null) return;
  wanted.temperature = $("temperature").valueAsNumber;
  say.temperature();
});
// A slider that was dragged would keep the arrow keys to itself: give them back to the drive.
$("temperature").addEventListener("pointerup", () => $("stage").focus({ preventScroll: true }));
$("seed").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || wanted === null) return;
  $("stage").focus({ preventScroll: true });
  commands.r();
});
addEventListener("resize", () => { rewards.draw(); ends.draw(); });
