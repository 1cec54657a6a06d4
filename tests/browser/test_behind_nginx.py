"""The page behind nginx, as deploy/nginx.conf configures it: TLS and a sub-path."""

import asyncio
import json
import os
import re
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

import httpx
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from nginx import SITE, behind_nginx
from page_actions import EXAMPLES, FIRST, click_example, label_of
from playwright.sync_api import expect
from programs import program
from serving import ROOT, serving, without_hub

NAMES = ("efficientnet_lite0", "efficientnet_lite2")
HEN = ROOT / "examples" / "hen.jpg"
CONFIG = f"examples: {ROOT}/examples\nengine: torch\nbackbones:\n" + "".join(
    f"  - {{name: {name}, backbone: 'local-dir:{ROOT}/bundled/{name}'}}\n" for name in NAMES
)


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    program("nginx", "/usr/sbin/nginx")  # skip before the app is started
    home = tmp_path_factory.mktemp("app")
    (home / "config.yaml").write_text(CONFIG)
    env = {**without_hub(home), "GRADIO_ROOT_PATH": "/lineup"}
    with serving(home / "config.yaml", env, home / "log.txt") as served:
        yield served


@pytest.fixture(scope="module")
def proxied(app, tmp_path_factory):
    with behind_nginx(app.url, tmp_path_factory.mktemp("nginx")) as page:
        yield page


@pytest.fixture(scope="module")
def http(proxied):
    """Return an HTTP client that trusts the certificate, for addresses below the sub-path."""
    context = ssl.create_default_context(cafile=str(proxied.certificate))
    with httpx.Client(base_url=f"{proxied.url}/", verify=context, timeout=120) as client:
        yield client


def test_page_behind_nginx_works_with_its_public_address(browser, proxied, tmp_path):
    context = browser.new_context(ignore_https_errors=True, viewport={"width": 1280, "height": 900})
    page, requested, problems = context.new_page(), [], []
    page.on("request", lambda request: requested.append(request.url))
    page.on("response", lambda answer: problems.append(answer.url) if answer.status >= 400 else None)
    failures: list[str] = []  # event streams that the page itself ends are aborted
    page.on("requestfailed", lambda request: failures.append(f"{request.url}: {request.failure}"))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{proxied.url}?backbone={NAMES[1]}&top_k=4")  # nginx adds the slash
    expect(page.locator("#backbone input")).to_have_value(re.compile(f"^{NAMES[1]} "))
    click_example(page, HEN)
    expect(page.locator(FIRST)).to_have_text("hen", timeout=120_000)
    page.locator("#image input[type=file]").set_input_files(EXAMPLES[0])
    expect(page.locator(FIRST)).to_have_text(label_of(EXAMPLES[0]))
    page.locator("#take-along > button").click()
    expect(page.locator("#curl .cm-content")).to_contain_text("address=")  # it comes after the labels
    link = page.locator("#take-along textarea").first.input_value()
    assert link.startswith(f"{proxied.url}/?backbone={NAMES[1]}&top_k=4")
    expect(page).to_have_url(link)
    code = page.locator("#curl .cm-content").inner_text()
    assert f"address={proxied.url}\n" in code
    assert f"Client('{proxied.url}/', verbose" in page.locator("#client .cm-content").inner_text()
    page.locator("#compare-all").click()
    expect(page.locator("#result .lu-verdict p").first).to_have_text("Both say castle.")
    csv = page.locator("#comparison-table a[download$=csv]").get_attribute("href")
    assert unquote(csv.partition(",")[2]).startswith("\ufeffbackbone,")
    context.close()
    sources = {url.partition("/lineup")[0] for url in requested if not url.startswith(("data:", "blob:"))}
    assert sources - {"https://fonts.googleapis.com"} == {proxied.url.removesuffix("/lineup")}
    problems += [failure for failure in failures if not failure.endswith("ERR_ABORTED")]
    assert [problem for problem in problems if "googleapis" not in problem] == []
    (tmp_path / "image.jpg").write_bytes(HEN.read_bytes())
    env = {**os.environ, "CURL_CA_BUNDLE": str(proxied.certificate)}
    done = subprocess.run(["bash", "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout)["predictions"][0]["label"] == "hen", done.stderr


def test_routes_behind_nginx_stay_below_the_sub_path(http, proxied):
    assert http.get("config").json()["root"] == proxied.url
    assert http.get("healthz").json() == {"detail": "ok"}
    assert http.get("gradio_api/mcp").headers["location"] == f"{proxied.url}/gradio_api/mcp/"
    tools = [tool["name"] for tool in http.get("gradio_api/mcp/schema").json()]
    assert tools == ["classify", "compare", "backbones", "evaluate", "evaluation"]
    assert http.get("monitoring").status_code == 404
    redirect = http.get(proxied.url + "?top_k=4")
    assert (redirect.status_code, redirect.headers["location"]) == (301, f"{proxied.url}/?top_k=4")


def test_oversized_upload_behind_nginx_gets_the_answer_of_the_app(http):
    answer = http.post("gradio_api/upload", files={"files": ("a.jpg", b"\0" * 21_000_000)})
    assert answer.status_code == 413
    assert answer.json()["detail"].startswith("image: expected at most 20 MB; got more")


def test_nginx_passes_on_bodies_up_to_the_default_limit_of_mcp():
    (size,) = [line for line in SITE.read_text().splitlines() if line.strip().startswith("client_max_body_size")]
    limit_bytes = int(size.split()[1].removesuffix("m;")) * 2**20
    largest_bytes = 20e6 * 4 / 3 + 2**16
    assert largest_bytes < limit_bytes < 1.1 * largest_bytes


def upload(http, content) -> str:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    (path,) = http.post("gradio_api/upload", content=content, headers=headers).raise_for_status().json()
    return path


def multipart() -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    return head + HEN.read_bytes() + b"\r\n--b--\r\n"


def events(http, path: str, name: str) -> list[str]:
    """Classify an upload through the API, and return the kinds of events of its stream."""
    image = {"path": path, "meta": {"_type": "gradio.FileData"}}
    event = http.post("gradio_api/call/v2/classify", json={"image": image, "backbone": name}).json()["event_id"]
    with http.stream("GET", f"gradio_api/call/classify/{event}") as stream:
        lines = list(stream.iter_lines())
    assert '"label": "hen"' in "".join(lines)
    return [line for line in lines if line.startswith("event:")]


@pytest.mark.long
def test_slow_upload_behind_nginx_arrives(http):
    body, n_parts = multipart(), 8

    def parts():
        for start in range(0, len(body), len(body) // n_parts + 1):
            yield body[start : start + len(body) // n_parts + 1]
            time.sleep(1)  # a slow line

    assert events(http, upload(http, parts()), NAMES[0])[-1] == "event: complete"


@pytest.mark.long
def test_events_behind_nginx_arrive_one_by_one(http):
    """A heartbeat of an idle stream is passed on at once, not with the end of the stream."""
    with http.stream("GET", "gradio_api/heartbeat/a-session", timeout=40) as stream:
        assert next(stream.iter_raw())


@pytest.mark.long
def test_mcp_client_behind_nginx_gets_an_answer(proxied):
    context = ssl.create_default_context(cafile=str(proxied.certificate))

    async def call():
        async with (
            httpx.AsyncClient(verify=context, timeout=60) as client,
            streamable_http_client(f"{proxied.url}/gradio_api/mcp/", http_client=client) as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            return await session.call_tool("backbones", {})

    with ThreadPoolExecutor(1) as pool:  # Playwright's event loop runs in this thread
        answer = pool.submit(asyncio.run, call()).result()
    assert NAMES[0] in answer.content[0].text


@pytest.mark.long
def test_gradio_client_behind_nginx_gets_an_answer(proxied):
    code = f"""
from gradio_client import Client, handle_file
print(Client({proxied.url!r}, verbose=False, ssl_verify=False).predict(
    handle_file({str(HEN)!r}), backbone={NAMES[0]!r}, api_name="/classify")["predictions"][0]["label"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "hen\n", done.stderr


@pytest.mark.long
def test_proxy_that_keeps_the_sub_path_serves_the_same(browser, app, tmp_path):
    with behind_nginx(app.url, tmp_path, keeps_path=True) as proxied:
        context = browser.new_context(ignore_https_errors=True)
        page, problems = context.new_page(), []
        page.on("response", lambda answer: problems.append(answer.url) if answer.status >= 400 else None)
        page.goto(f"{proxied.url}/")
        click_example(page, HEN)
        expect(page.locator(FIRST)).to_have_text("hen")
        context.close()
        assert [problem for problem in problems if "googleapis" not in problem] == []
