// Drive Firefox for tests/browser/test_firefox.py: each line of stdin is a command, `["name", …arguments]`, and is
// answered by a line of stdout, `{"value": …}` or `{"error": "…"}`. Ends with its stdin.
import { createInterface } from "node:readline";
import puppeteer from "puppeteer-core";

const [executablePath, screenshots] = process.argv.slice(2);
const browser = await puppeteer.launch({ browser: "firefox", executablePath, timeout: 60_000 });
const page = await browser.newPage();
page.setDefaultTimeout(60_000);
const errors = [];
page.on("pageerror", (error) => errors.push(error.message));
page.on("console", (message) => message.type() === "error" && errors.push(message.text()));

const commands = {
  async open(url, width, height) {
    await page.setViewport({ width, height });
    await page.goto(url);
  },
  errors: () => errors.splice(0),
  click: (selector) => page.locator(selector).click(),
  async press(key, ...modifiers) {
    for (const modifier of modifiers) await page.keyboard.down(modifier);
    await page.keyboard.press(key);
    for (const modifier of modifiers) await page.keyboard.up(modifier);
  },
  async choose(selector, path) {
    await (await page.$(selector)).uploadFile(path);
  },
  evaluate: (script) => page.evaluate(script),
  texts: (selector) => page.$$eval(selector, (nodes) => nodes.map((node) => node.innerText.trim())),
  async expect(selector, text, timeout) {
    const contains = (selector, text) => document.querySelector(selector)?.innerText.includes(text);
    await page.waitForFunction(contains, { timeout }, selector, text).catch(async ({ message }) => {
      throw new Error(`${message}; the text is "${await commands.texts(selector)}"`);
    });
  },
  async screenshot(name) {
    await page.screenshot({ path: `${screenshots}/${name}.png`, fullPage: true });
  },
};

async function answer(command) {
  const [name, ...args] = command;
  try {
    return { value: (await commands[name](...args)) ?? null };
  } catch (error) {
    await commands.screenshot("firefox_failed").catch(() => {});
    return { error: `${command.join(" ").slice(0, 150)}: ${error.message}` };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await answer(JSON.parse(line))));
}
await browser.close();
