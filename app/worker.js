// Runs the model beside the page, which stays alive meanwhile.

const RUNTIMES = {
  webgpu: ["ort.webgpu.bundle.min.mjs", "ort-wasm-simd-threaded.asyncify.wasm"],
  wasm: ["ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"], // half the download of the other
};
// More than four threads gain little, and phones have slow cores beside the fast ones.
const THREADS = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 4) : 1;
const DEVICES = { webgpu: "WebGPU", wasm: `WebAssembly, ${THREADS} ${THREADS === 1 ? "thread" : "threads"}` };

const runtimes = {}; // promises of what was loaded of them
let model; // the file, and its description
let opened; // the session, and what it runs on

async function hasWebGPU() {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  // A fallback adapter is a processor that plays a GPU; WebAssembly is faster.
  return Boolean(adapter) && !adapter.info?.isFallbackAdapter;
}

async function loadRuntime(provider) {
  const [script, binary] = RUNTIMES[provider].map((name) => new URL(`vendor/${name}`, import.meta.url).href);
  try {
    const [ort, response] = await Promise.all([import(script), fetch(binary)]);
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    ort.env.wasm.wasmBinary = await response.arrayBuffer();
    ort.env.wasm.numThreads = provider === "wasm" ? THREADS : 1;
    return ort;
  } catch (error) {
    throw new Error(
      `onnxruntime-web could not be loaded from vendor/ (${error.message}). Reload the page to try again; what is missing ` +
        "there is copied by: make app-assets.",
    );
  }
}

/** Load what runs models on a provider, once. */
function runtime(provider) {
  runtimes[provider] ??= loadRuntime(provider);
  return runtimes[provider];
}

async function open(provider) {
  const ort = await runtime(provider);
  opened?.session.release().catch(() => {}); // of a GPU that failed, which holds memory
  try {
    const session = await ort.InferenceSession.create(model.bytes, { executionProviders: [provider] });
    opened = { ort, session, provider };
    // The first run is slow, and shows whether the device can do what the model asks.
    const { width, height } = model.description;
    await run(new Uint8Array(width * height * 3));
    if (provider === "wasm") model.bytes = null; // there is no slower way that would need it
  } catch (error) {
    const file = model.description.file;
    throw new Error(`models/${file} cannot be run here (${error.message ?? error}). Export it again.`);
  }
}

async function openFastest() {
  if (await gpu) {
    try {
      return await open("webgpu");
    } catch (error) {
      console.warn(error);
    }
  }
  return open("wasm");
}

async function run(pixels) {
  const { ort, session } = opened;
  const { inputs, outputs } = model.description;
  const input = new ort.Tensor("uint8", pixels, inputs[0].shape);
  const started = performance.now();
  const results = await session.run({ [inputs[0].name]: input });
  const mask = await results[outputs[0].name].getData();
  return { mask: Uint8Array.from(mask), milliseconds: performance.now() - started };
}

async function segment(pixels) {
  try {
    return await run(pixels);
  } catch (error) {
    if (opened.provider === "wasm") {
      throw new Error(`The model failed (${error.message ?? error}). Reload the page to try again.`);
    }
    // A GPU can be lost at any time.
    console.warn(error);
    await open("wasm");
    return run(pixels);
  }
}

async function answer(request) {
  try {
    if (request.open) {
      model = request.open;
      await openFastest();
      postMessage({ device: DEVICES[opened.provider] });
    } else {
      const result = await segment(request.segment.pixels);
      postMessage({ ...result, device: DEVICES[opened.provider] }, [result.mask.buffer]);
    }
  } catch (error) {
    postMessage({ error: error.message ?? String(error) });
  }
}

const gpu = hasWebGPU();
// The runtime is loaded while the page loads the model. What goes wrong is said when the model is opened.
gpu.then((there) => runtime(there ? "webgpu" : "wasm")).catch(() => {});

let last = Promise.resolve(); // a session runs one image at a time
self.onmessage = ({ data }) => {
  last = last.then(() => answer(data));
};
