// The page's requests on slow and broken connections. In the page's head, so that it runs before Gradio's scripts.
//
// Gradio 6.31 posts each event to queue/join, and reads the answers to all of them from one stream, queue/data. As it
// comes, this loses clicks: a stream that the server closes while the response to a click is on its way is not opened
// again; answers are applied in the order of those responses, not of the events; and one failed request reloads the
// page. Here events are numbered, responses arrive in their order, the stream goes on, and requests are repeated.
(() => {
  const RETRY_MS = 1000, UNREACHABLE = [502, 504];
  const send = window.fetch.bind(window);
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));

  // Wait until what has been resolved so far is processed; timers would be slowed down in a tab in the background.
  const nextTask = () => new Promise((done) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => (port1.close(), done());
    port2.postMessage(null);
  });

  // --- the last wish ---

  // The number of the last event in which the user changed a component; 0: since the page opened, none has.
  const wishes = { image: 0, backbone: 0, others: 0, top_k: 0 };
  let last = 0;

  function wish(...keys) {
    last += 1;
    keys.forEach((key) => (wishes[key] = last));
    return last;
  }

  // What is on its way to the image field: the number of the event that asked for it, or the state of the page's link.
  const LINK = -1;
  let awaited = location.search ? LINK : null, waiting = [];

  function awaitImage() {
    return (awaited = wish("image"));
  }

  // End the wait for what was on its way, whether it came or not.
  function arrived() {
    awaited = null;
    waiting.splice(0).forEach((go) => go());
  }

  // The numbers of the clicks on the buttons that need the image, by their ids, until their events begin: Gradio runs a
  // listener that has the image as an input only after an upload.
  const clicks = { "compare-all": [], measure: [] };
  document.addEventListener("click", ({ target }) => clicks[target.closest("button")?.id]?.push(wish()), true);

  // Begin the event of a button that needs the image, once none is on its way: return the image and the backbone of the
  // page then, and the number of the click, which is a wish for the components with these keys.
  async function withImage(id, keys, image, backbone) {
    const number = clicks[id].shift();
    if (awaited !== null) {
      const button = document.getElementById(id);
      button.setAttribute("aria-busy", "true");
      await new Promise((go) => waiting.push(go));
      button.removeAttribute("aria-busy");
      [image, backbone] = [shown, chosen.backbone ?? backbone];
    }
    keys.forEach((key) => (wishes[key] = Math.max(wishes[key], number)));  // not before: the link may set them
    return [image, backbone, number];
  }

  // An upload is a wish of the moment it began: when it ends, a newer image may be shown, or be on its way.
  let shown = null, uploadBegan = 0;

  function changed(image) {
    const began = image ? uploadBegan : 0;
    uploadBegan = 0;
    if (began && began < wishes.image) return [shown];
    if (!began) wish("image");
    shown = image;
    arrived();
    return [undefined];
  }

  // The values of components that a proposal has set last, as JSON: any other change is the user's. Gradio reports no
  // input where "Clear", Backspace or the slider's reset button changes a value.
  const proposed = {}, chosen = {};

  function changedTo(key, value) {
    chosen[key] = value;
    if (proposed[key] === JSON.stringify(value)) return;
    delete proposed[key];
    wish(key);
  }

  // Behind a proxy that serves the page under a sub-path, Gradio completes the addresses of images only in images.
  function served(image) {
    const { root, api_prefix } = window.gradio_config;
    return { ...image, url: `${root}${api_prefix}/file=${image.path}` };
  }

  // Return the values of the components that a proposal of the server changes, and undefined for the others: those
  // that the user has changed since it was asked for. A comparison gives way to a backbone chosen since.
  function apply(proposal, image, backbone, others, topK) {
    const values = [undefined, undefined, undefined, undefined];
    const isNew = (key) => proposal && key in proposal && wishes[key] <= proposal.wish;
    if (isNew("image") && proposal.image.path !== image?.path) values[0] = shown = served(proposal.image);
    if (isNew("backbone") && proposal.backbone !== backbone) values[1] = proposal.backbone;
    if (isNew("others")) {
      const names = [proposal.backbone, ...proposal.others];
      const first = isNew("backbone") ? proposal.backbone : backbone;
      const rest = names.includes(first) ? names.filter((name) => name !== first) : names.slice(0, -1);
      if (JSON.stringify(rest) !== JSON.stringify(others)) values[2] = rest;
    }
    if (isNew("top_k") && proposal.top_k !== topK) values[3] = proposal.top_k;
    ["image", "backbone", "others", "top_k"].forEach((key, index) => {
      if (values[index] === undefined) return;
      proposed[key] = JSON.stringify(values[index]);
      chosen[key] = values[index];
    });
    if (proposal?.wish === awaited || (awaited === LINK && proposal?.wish === 0)) arrived();
    return values;
  }

  // --- requests that are repeated until the server responds ---

  let n_failing = 0;

  function showFailing(change) {
    n_failing += change;
    const panel = document.querySelector("#unreachable");
    if (!n_failing) panel?.remove();
    if (!n_failing || panel) return;
    const notice = document.createElement("div");
    notice.id = "unreachable";
    notice.className = "lu-panel lu-busy";
    notice.setAttribute("role", "status");
    notice.innerHTML = "<strong>The server does not respond</strong><p>Trying again …</p>";
    (document.querySelector(".gradio-container") ?? document.body).append(notice);
  }

  async function persist(input, init) {
    let isFailing = false;
    try {
      for (;;) {
        try {
          const response = await send(input instanceof Request ? input.clone() : input, init);
          if (!UNREACHABLE.includes(response.status)) return response;
        } catch (error) {
          if (error.name === "AbortError") throw error;
        }
        if (!isFailing) showFailing(1);
        isFailing = true;
        await pause(RETRY_MS);
      }
    } finally {
      if (isFailing) showFailing(-1);
    }
  }

  // --- events, and the stream of their answers ---

  const pending = new Set(), ended = new Set();  // ids of events; ended before the response that names them
  let order = 0, n_joining = 0, joining = Promise.resolve();

  function join(input, init) {
    n_joining += 1;
    const headers = new Headers(init.headers);
    headers.set("x-lineup-order", ++order);
    const joined = persist(input, { ...init, headers }).then(async (response) => {
      const body = await response.text();
      return [body, { status: response.status, headers: response.headers }];
    });
    const delivered = joining.then(() => joined).then(([body, options]) => {
      const id = options.status === 200 && JSON.parse(body).event_id;
      if (id && !ended.delete(id)) pending.add(id);
      if (!id) arrived();
      return new Response(body, options);
    });
    joining = delivered.then(() => pause(0), () => {});  // Gradio reads a response before it gets the next
    joining.then(() => (n_joining -= 1));
    return delivered;
  }

  const encoder = new TextEncoder();
  const encoded = (message) => encoder.encode(`data: ${JSON.stringify(message)}\n\n`);

  // Yield the messages of an event stream as text; it may end in the middle of one.
  async function* messages(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; ; ) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (text + value).split("\n\n");
      text = parts.pop();
      yield* parts;
    }
  }

  // Pass a stream on, and return whether the server closed it; otherwise the connection broke.
  async function passOn(request, controller) {
    try {
      for await (const text of messages(await persist(request))) {
        const message = JSON.parse(text.replace(/^data: /, ""));
        if (message.msg === "close_stream") return true;
        if (message.msg === "unexpected_error") return false;  // of a server that was restarted, or is stopping
        if (message.msg === "process_completed" && !pending.delete(message.event_id)) ended.add(message.event_id);
        if (message.success === false) arrived();
        controller.enqueue(encoder.encode(`${text}\n\n`));
        await nextTask();  // Gradio applies messages that arrive at once in an order of its own
      }
    } catch (error) {
      if (error.name === "AbortError") throw error;
    }
    return false;
  }

  // Their answers are lost: the server forgets them as well.
  function fail(controller) {
    const output = { error: "The connection was interrupted.", visible: false };
    for (const id of pending) {
      controller.enqueue(encoded({ msg: "process_completed", event_id: id, success: false, output }));
    }
    arrived();
    if (pending.size) setTimeout(() => document.querySelector("#ask-again")?.click());
    pending.clear();
  }

  async function listen(request, controller) {
    do {
      if (!(await passOn(request, controller))) fail(controller);
      for (let seen; seen !== joining; ) await (seen = joining);
    } while (pending.size);  // an event was sent before the end of the stream was known here
    joining = pause(50);  // Gradio notes the end before it gets the next response
    controller.enqueue(encoded({ msg: "close_stream" }));
    controller.close();
  }

  function stream(request) {
    const start = (controller) => void listen(request, controller).catch((error) => controller.error(error));
    return new Response(new ReadableStream({ start }), { headers: { "content-type": "text/event-stream" } });
  }

  async function upload(input, init) {
    const began = (uploadBegan = awaitImage());
    let isStored = false;
    try {
      const response = await send(input, init);
      isStored = response.ok;
      return response;  // refusals.js offers to try a failed one again
    } finally {
      if (!isStored && began === awaited) arrived();
    }
  }

  window.fetch = (input, init) => {
    const { pathname } = new URL(input.url ?? input, location.href);
    if (pathname.endsWith("/gradio_api/queue/join")) return join(input, init);
    if (pathname.endsWith("/gradio_api/queue/data")) return Promise.resolve(stream(input));
    if (pathname.endsWith("/gradio_api/upload")) return upload(input, init);
    return send(input, init);
  };

  const isIdle = () => !pending.size && !n_joining;
  window.lineupRequests = { wish, awaitImage, withImage, changed, changedTo, apply, isIdle };
})();
