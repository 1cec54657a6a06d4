// What Gradio's components lack for screen readers and keyboards, and what an answer that replaces content needs.
(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const isShown = (element) => element.isConnected && element.getClientRects().length > 0;
  const set = (element, name, value) => {  // only changes: each one calls the observer below again
    if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
  };

  function repair() {
    all(".label-wrap").forEach((button) => set(button, "aria-expanded", button.classList.contains("open")));
    all(".cm-scroller, #plot .altair").forEach((scroller) => {
      set(scroller, "tabindex", 0);
      set(scroller, "role", "group");
      set(scroller, "aria-label", scroller.closest(".block").querySelector("label").textContent.trim());
    });
    all("#examples .thumbnail-item").forEach((button) => {
      const image = button.querySelector("img");
      if (image?.alt) set(button, "aria-label", image.alt);  // instead of "Thumbnail 1 of 12"
      if (image?.alt) image.alt = "";
    });
    all(".token").forEach((chip) => {
      const remove = chip.querySelector(".token-remove");
      if (remove) set(remove, "aria-label", `Remove ${chip.textContent.trim()}`);  // instead of "Remove 1"
    });
    all("a.download-link").forEach((link) => {  // a button in a link: two stops for one action
      set(link, "aria-label", "Download");
      link.querySelectorAll("button").forEach((button) => set(button, "tabindex", -1));
    });
    all("footer button img, footer a img").forEach((logo) => { if (logo.alt) logo.alt = ""; });  // beside its text
    all("#image .image-frame img").forEach((image) => { if (!image.alt) image.alt = "the image to classify"; });
    all("#backbone input").forEach((input) => { if (input.title !== input.value) input.title = input.value; });
    all("#result").forEach((result) => set(result, "tabindex", -1));  // focused when the focus would be lost
  }

  // Announce each answer once: progress, and more labels of the same answer, are not announced.
  const announcer = document.createElement("div");
  announcer.id = "announcer";
  announcer.setAttribute("role", "status");
  announcer.style.cssText = "position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%)";
  document.body.append(announcer);
  let announced = "";
  function announce() {
    const answer = document.querySelector("#result [data-announcement]");
    const text = answer?.dataset.announcement ?? "";
    const key = text && text + (document.querySelector("#result img")?.src ?? "");  // another image, the same class
    if (key === announced) return;
    announced = key;
    announcer.replaceChildren(text);
  }

  // Keep the focus when its element disappears: it goes to the same control if that is rendered again, else to a
  // control beside it, else to the answer.
  const GROUPS = "#image, #compare-row, #comparison-table, #measured-here, #take-along";
  let focused = null, group = null, name = "";
  const nameOf = (element) => element.getAttribute("aria-label") ?? element.textContent.trim();
  document.addEventListener("focusin", ({ target }) => {
    [focused, group, name] = [target, target.closest(GROUPS)?.id, nameOf(target)];
  });
  document.addEventListener("focusout", ({ target }) => setTimeout(() => {  // left by a click beside it: nothing is lost
    if (target === focused && isShown(target) && document.activeElement !== target) focused = null;
  }));
  function keepFocus() {
    if (!focused || isShown(focused)) return;
    if (![null, document.body, focused].includes(document.activeElement)) return;
    const controls = group ? all(`#${group} :is(button, input, a[href], [tabindex="0"])`).filter(isShown) : [];
    const same = controls.find((control) => control.tagName === focused.tagName && nameOf(control) === name);
    const beside = controls.find((control) => control.tabIndex >= 0 && control.role !== "combobox");  // it would open
    const next = same ?? beside ?? all("#result, #status").find(isShown);
    if (next?.id === "status") set(next, "tabindex", -1);
    next?.focus({ preventScroll: true });
  }

  let isScheduled = false;
  function update() {
    isScheduled = false;
    repair();
    announce();
    keepFocus();
  }
  new MutationObserver(() => {
    if (!isScheduled) requestAnimationFrame(update);
    isScheduled = true;
  }).observe(document.body, { childList: true, subtree: true, attributeFilter: ["class", "style", "alt", "hidden"] });
  update();
})();
