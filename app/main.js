// The page: what it shows, and what its buttons do.

import { Camera } from "./camera.js";
import { Engine } from "./engine.js";
import { InputError } from "./errors.js";
import { fillLegend } from "./legend.js";
import { fetchModel, readDescription } from "./model.js";
import { classShares, paintMask } from "./overlay.js";
import { decodeImage, toPixels } from "./image.js";
import { listen } from "./sources.js";

const page = Object.fromEntries([...document.querySelectorAll("[id]")].map((element) => [element.id, element]));
const camera = new Camera(page.preview);

let description = null; // of the model, once it is ready
let engine = null;
let image = null; // what decodeImage gives
let result = null; // what Engine.segment gives
let busy = false;
let filming = false;
let stage = 0; // counts what was on the stage: what was begun for an earlier image is dropped
let choice = 0; // counts what was chosen: an image that is decoded late gives way to later ones

function show() {
  page.empty.hidden = Boolean(image) || filming;
  page.view.hidden = !image || filming;
  page.mask.hidden = !result;
  page.busy.hidden = !busy;
  page.stage.setAttribute("aria-busy", busy);
  page.film.hidden = !filming;
  page.result.hidden = !result;
  page.photo.disabled = filming;
  page.shutter.disabled = page.preview.readyState < HTMLMediaElement.HAVE_CURRENT_DATA;
  page.segment.disabled = !description || !image || busy || Boolean(result) || filming;
  page.restart.disabled = !image && !filming;
  page.opacity.disabled = !result;
}

function say(status) {
  page.status.textContent = status;
}

function complain(text) {
  page.message.textContent = text;
  page.message.hidden = !text;
  if (text) page.message.scrollIntoView({ block: "nearest" });
}

/** Do something that may fail for a reason that the reader can put right. */
async function attempt(action) {
  complain("");
  try {
    await action();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    complain(error.message);
  } finally {
    show();
  }
}

const megabytes = (bytes) => (bytes / 1e6).toFixed(1);

async function loadModel() {
  if (typeof WebAssembly === "undefined") {
    throw new InputError(
      "This browser has no WebAssembly, which the model runs on. Open the page in a current Chrome, Edge, Firefox or " +
        "Safari; on an iPhone, lockdown mode turns it off.",
    );
  }
  const read = await readDescription();
  page.random.hidden = !read.random_weights;
  say("Loading the model");
  engine = new Engine(); // loads its runtime meanwhile
  const bytes = await fetchModel(read, (received, total) => {
    page.progress.value = received / total;
    page.bytes.textContent = `${megabytes(received)} of ${megabytes(total)} MB`;
  });
  page.progress.removeAttribute("value");
  page.bytes.textContent = "";
  say("Starting the model");
  const { device } = await engine.open(bytes, read);
  description = read;
  say(`The model is ready. It runs on ${device}.${image ? " Press Segment." : ""}`);
}

/** Load the model. Why there is none stays on the page, since without it images can only be looked at. */
async function begin() {
  try {
    await loadModel();
  } catch (error) {
    say("There is no model.");
    if (!(error instanceof InputError)) throw error;
    page.failure.textContent = error.message;
    page.failure.hidden = false;
  } finally {
    page.loading.hidden = true;
    show();
  }
}

/** Empty the stage. */
function clear() {
  stage++;
  choice++;
  camera.stop();
  image?.bitmap.close();
  [image, result, busy, filming] = [null, null, false, false];
}

function restart() {
  clear();
  complain("");
  page.size.textContent = "";
  if (description) say("Choose an image.");
  show();
  page.choose.focus();
}

/** Put an image on the stage once it is decoded, unless something else was chosen meanwhile. */
async function place(decoding) {
  const mine = ++choice;
  let decoded;
  try {
    decoded = await decoding;
  } catch (error) {
    if (mine === choice) throw error;
    return;
  }
  if (mine !== choice) {
    decoded.bitmap.close();
    return;
  }
  clear();
  image = decoded;
  const { bitmap, width, height } = image;
  Object.assign(page.image, { width: bitmap.width, height: bitmap.height });
  page.image.getContext("2d").drawImage(bitmap, 0, 0);
  page.view.style.setProperty("--ratio", bitmap.width / bitmap.height);
  const smaller = bitmap.width < width ? `, scaled down to ${bitmap.width} x ${bitmap.height}` : "";
  page.size.textContent = `${width} x ${height} pixels${smaller}`;
  if (description) say("Press Segment.");
  show();
  page.segment.focus();
}

function choose(file) {
  attempt(async () => {
    if (!file) throw new InputError("What was dropped is no file. Drop an image file.");
    await place(decodeImage(file));
  });
}

function film() {
  if (!Camera.allowed) {
    page.capture.click(); // the phone's own camera
    return;
  }
  choice++;
  filming = true;
  show();
  attempt(async () => {
    try {
      await camera.start();
    } catch (error) {
      filming = false;
      show();
      page.photo.focus();
      throw error;
    }
  });
}

function shoot() {
  attempt(() => place(camera.shoot()));
}

function stopFilming() {
  choice++;
  camera.stop();
  filming = false;
  show();
  page.photo.focus();
}

async function segment() {
  const mine = stage;
  busy = true;
  say("Segmenting");
  show();
  await attempt(async () => {
    try {
      const labeled = await engine.segment(toPixels(image.bitmap, description.width, description.height));
      if (mine !== stage) return;
      const shares = classShares(labeled.mask, description);
      paintMask(page.mask, labeled.mask, description);
      fillLegend(page.legend, shares);
      page.time.textContent = `${Math.round(labeled.milliseconds)} ms`;
      page.device.textContent = labeled.device;
      result = labeled;
      say(shares.length === 1 ? "Segmented: one class." : `Segmented: ${shares.length} classes.`);
    } catch (error) {
      if (mine !== stage) return;
      say("The image was not segmented.");
      throw error;
    } finally {
      if (mine === stage) busy = false;
    }
  });
  // A button that can no longer be pressed loses the focus.
  const lost = [document.body, page.segment].includes(document.activeElement);
  if (lost && mine === stage) (result ? page.opacity : page.segment).focus();
}

function fade() {
  page.view.style.setProperty("--opacity", page.opacity.value / 100);
  page.percent.textContent = `${page.opacity.value} %`;
}

page.photo.addEventListener("click", film);
page.choose.addEventListener("click", () => page.file.click());
page.preview.addEventListener("playing", () => {
  show();
  if (filming) page.shutter.focus();
});
page.shutter.addEventListener("click", shoot);
page.cancel.addEventListener("click", stopFilming);
page.segment.addEventListener("click", segment);
page.restart.addEventListener("click", restart);
page.opacity.addEventListener("input", fade);
listen([page.file, page.capture], choose);

fade();
show();
begin();
