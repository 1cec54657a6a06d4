// What the browser or the server refuses is shown in a panel below the image field, until it is dismissed or the next
// image comes. Gradio would show the server's JSON, or a text of its own, and for ten seconds.
(() => {
  const TITLES = { 408: "The upload took too long", 413: "The image is too large", 503: "The server is busy" };

  function element(tag, properties, ...children) {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  }

  // The live region. It is in the page before its first text, so that screen readers announce the text.
  function region() {
    let node = document.querySelector("#image-message");
    if (!node) {
      node = element("div", { id: "image-message", role: "alert" });
      const field = document.querySelector("#image");
      if (field) field.after(node);
      else document.querySelector("main").prepend(node);
    }
    return node;
  }

  function clear() {
    document.querySelector("#image-message")?.replaceChildren();
  }

  // Act on a button of the panel, which goes away with it: the focus moves to the field.
  function leave(action) {
    document.querySelector("#image [data-testid=source-select] button")?.focus();
    action();
  }

  // Show a panel, with a button that tries again if there is something to try.
  function say(title, text, { kind = "problem", retry } = {}) {
    const button = (className, label, onclick) => element("button", { type: "button", className, onclick }, label);
    const close = button("lu-close", "×", () => leave(clear));
    close.setAttribute("aria-label", "Dismiss");
    const panel = element("div", { className: `lu-panel lu-${kind}` }, close);
    panel.append(element("strong", {}, title), element("p", {}, text));
    if (retry) panel.append(button("lu-again", "Try again", () => leave(retry)));
    region().replaceChildren(panel);
    panel.scrollIntoView({ block: "nearest" });
  }

  // What the server says, or what its status means when a proxy has answered in its place.
  async function reason(response) {
    const { detail } = await response.clone().json().catch(() => ({}));
    if (typeof detail === "string" && detail) return detail;
    if (response.status === 413) return "The server takes no file of this size. Send a smaller image.";
    const wait_s = parseInt(response.headers.get("Retry-After"));
    return `The server answered ${response.status}. Try again ${wait_s ? `in ${wait_s} s` : "in a minute"}.`;
  }

  const send = window.fetch.bind(window);

  // An upload that failed is answered with no files, which leaves Gradio's field empty and usable.
  async function upload(input, init) {
    const { signal, retry, settled } = window.lineup.uploading?.(init?.body) ?? {};
    if (!signal) clear();
    try {
      const response = await send(input, { ...init, signal });
      if (response.ok) return response;
      const again = response.status === 413 ? undefined : retry;
      say(TITLES[response.status] ?? "The upload failed", await reason(response), { retry: again });
    } catch {
      const text = "The connection broke, or the file cannot be read any more. Check both, and try again.";
      if (!signal?.aborted) say("The upload failed", text, { retry });
    } finally {
      settled?.();
    }
    return Response.json([]);
  }

  window.fetch = async (input, init) => {
    const { pathname } = new URL(input.url ?? input, location.href);
    if (pathname.endsWith("/gradio_api/upload")) return upload(input, init);
    const response = await send(input, init);
    if (!pathname.endsWith("/gradio_api/queue/join")) return response;
    if (response.ok && document.querySelector("#image-message .lu-stale")) clear();
    if (!TITLES[response.status]) return response;
    const retry = window.lineup.again?.();
    say(TITLES[response.status], await reason(response), { kind: "problem lu-stale", retry });
    return Response.json({ detail: [] }, { status: 422 });  // Gradio ends the event, and shows nothing of its own
  };

  Object.assign((window.lineup ??= {}), { say, clear });
  if (document.querySelector("#image")) region();
})();
