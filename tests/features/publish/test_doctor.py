"""The doctor: the Hub's real client against the stand-in, from the command line's own door."""

import copy
import json
import time
from dataclasses import dataclass

import pytest
from commands import run_command
from hub import FAULTS
from space_hub import ME, Space

from lineup.features.publish import doctor, text
from lineup.features.publish.doctor import NAMES, Check

CONFIG = "backbones: ['hf-hub:me/birds', resnet18]\n"
FILES = {"config.json": b'{"architecture": "resnet18"}', "model.safetensors": b"weights"}
SPACE = {"README.md": b"", "app.py": b"app", "lineup/__main__.py": b"main"}
TOKEN = "hf_never_print_this"
NEW_TOKEN = "make one that may write at https://huggingface.co/settings/tokens, and set HF_TOKEN to it"


@dataclass
class Told:
    status: int
    out: str
    err: str

    def line(self, name: str) -> str:
        """Return what is said of a check: its outcome and the rest, with one space between."""
        [line] = [line for line in self.out.splitlines() if line.split()[1] == name]
        return f"{line.split()[0]} {line[19:]}"

    @property
    def outcomes(self) -> dict[str, str]:
        return {line.split()[1]: line.split()[0] for line in self.out.splitlines()}


@pytest.fixture
def ask(tmp_path, monkeypatch, capsys, hub, fresh_cache):
    """Return a function that calls the doctor with a token that may write; the config's first entry is on the Hub."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(doctor, "TIMEOUT_S", 1.0)
    hub.put("me/birds", FILES)

    def run(*arguments: str, config: str = CONFIG) -> Told:
        (tmp_path / "config.yaml").write_text(config)
        started = time.monotonic()
        status = run_command(["doctor", *arguments, "--config", str(tmp_path / "config.yaml")])
        assert time.monotonic() - started < 15
        told = Told(status, *capsys.readouterr())
        assert TOKEN not in told.out + told.err
        assert {method for method, _ in hub.requests} <= {"GET", "HEAD"}  # nothing is changed
        return told

    return run


def account(role: str = "write", **changes: object) -> dict[str, object]:
    """Return what the Hub says of a token of `me` with another role, or of another account."""
    me = copy.deepcopy({**ME, **changes})
    me["auth"]["accessToken"]["role"] = role
    return me


def scoped(*entities: tuple[str, str]) -> dict[str, object]:
    """Return what it says of a fine-grained token that has one permission for each of some owners and Spaces."""
    me = account("fineGrained")
    scopes = [
        {
            "entity": {"name": name, "type": "space" if "/" in name else "user"},
            "permissions": ["repo.content.read", right],
        }
        for name, right in entities
    ]
    me["auth"]["accessToken"]["fineGrained"] = {"global": [], "scoped": scopes}
    return me


def put_space(hub, name: str = "me/lineup", **more: bytes) -> None:
    hub.spaces.all[name] = Space("t4-small", private=False)
    hub.spaces.put(name, {**SPACE, **more})


def test_all_is_well_with_a_token_that_may_write(ask, hub, fresh_cache):
    told = ask()
    assert (told.status, told.err) == (0, "")
    assert list(told.outcomes.items()) == [(name, "ok") for name in NAMES]
    assert told.line("reach").startswith(f"ok {hub.url} answers in ")
    assert told.line("token") == "ok it is me's, and may write"
    assert told.line("download").startswith("ok me/birds/config.json: 28 bytes in ")
    assert told.line("download").endswith(" ms, with the hash that the Hub says")
    assert told.line("space") == "ok me/lineup: it is not there yet, and a push creates it"
    assert told.line("write") == "ok me may write to me's Spaces"
    assert told.line("hardware") == "ok zero-a10g, the only one on which a free account can host a Gradio Space"
    assert told.line("uploads") == "ok large files go through Git LFS, to an address that the Hub names then"
    assert "preupload" not in str(hub.requests)


def test_the_file_is_downloaded_each_time_and_not_kept(ask, hub, fresh_cache):
    ask()
    hub.requests.clear()
    ask()
    assert [method for method, path in hub.asked("me/birds") if path.endswith("config.json")].count("GET") == 1
    assert not list(fresh_cache.rglob("config.json"))
    assert str(fresh_cache / "hf" / "hub") == doctor.constants.HF_HUB_CACHE


def test_as_json_the_same_is_data(ask):
    found = json.loads(ask("--json").out)
    assert [each["name"] for each in found] == list(NAMES)
    assert found[1] == {"name": "token", "outcome": "ok", "found": "it is me's, and may write", "remedy": ""}


@pytest.mark.parametrize(
    ("config", "file"),
    [
        ("backbones: ['local-dir:x', resnet18]", "timm/resnet18.a1_in1k/config.json"),
        ("backbones: [{backbone: resnet18, pretrained: false}, resnet50.a1_in1k]", "timm/resnet50.a1_in1k/config.json"),
        ("backbones: [torchvision/squeezenet1_1]", "timm/resnet18.a1_in1k/config.json"),
        ("backbones: ['hf-hub:me/birds@old']", "me/birds/config.json"),
    ],
)
def test_the_first_entry_on_the_hub_is_tried_or_else_one_that_is_always_there(ask, hub, config, file):
    for repo in ("timm/resnet18.a1_in1k", "timm/resnet50.a1_in1k"):
        hub.repos.pop(repo, None)
        hub.put(repo, FILES)
    try:
        hub.put("me/birds", FILES, branch="old")
        told = ask(config=config)
        assert told.line("download").startswith(f"ok {file}: 28 bytes in ")
        assert ("HEAD", "old/config.json") in hub.asked("me/birds") or "@old" not in config
    finally:
        for repo in ("timm/resnet18.a1_in1k", "timm/resnet50.a1_in1k"):
            del hub.repos[repo]


def test_without_a_token_reach_and_download_are_tried_and_the_rest_is_skipped(ask, hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    told = ask()
    assert told.status == 0
    assert told.outcomes == dict(
        zip(NAMES, ["ok", "skipped", "ok", "skipped", "skipped", "skipped", "ok"], strict=True)
    )
    assert told.line("token") == f"skipped there is none, and public files need none; to push, {NEW_TOKEN}"
    assert told.line("space") == "skipped whose Space it would be is not known; add OWNER/NAME"
    assert "/api/whoami-v2" not in str(hub.requests)
    put_space(hub)
    named = ask("me/lineup")
    assert named.status == 0
    assert named.line("space") == "ok me/lineup: it is there, and a push brings it up to date"
    assert named.line("write") == f"skipped there is no token; {NEW_TOKEN}"
    assert ask("me/other").line("space") == "ok me/other: it is not there yet, or it is private"


def test_a_token_that_is_not_accepted_fails_and_what_needs_one_is_skipped(ask, hub):
    hub.spaces.me = None
    told = ask("me/lineup")
    assert told.status == 2
    assert told.outcomes == dict(
        zip(NAMES, ["ok", "failed", "failed", "skipped", "skipped", "skipped", "ok"], strict=True)
    )
    assert told.line("token") == f"failed the token is not accepted (401); {NEW_TOKEN}"
    assert told.line("download").endswith(
        "the token is not accepted (401); set HF_TOKEN to a valid one, or unset it: public files need none"
    )
    assert told.line("write") == "skipped the token is not accepted (401)"


def test_a_token_that_cannot_be_sent_is_not_printed(ask, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_ñever")
    told = ask()
    assert (told.status, told.outcomes["reach"], told.outcomes["token"]) == (2, "ok", "failed")
    assert "ever" not in told.line("token")


ACME = {"type": "org", "name": "acme", "canPay": True}


@pytest.mark.parametrize(
    ("me", "space", "line"),
    [
        (account("read"), "me/lineup", f"failed the token may only read; {NEW_TOKEN}"),
        (account("god"), "me/lineup", "skipped the Hub does not say what this token may do; push, and see"),
        (
            account(),
            "acme/lineup",
            "failed me is not a member of acme; use a token of acme's, or push to me/lineup",
        ),
        (
            account(orgs=[{**ACME, "roleInOrg": "read"}]),
            "acme/lineup",
            "failed me's role in acme is read; ask an admin of acme for the role write, or push to me/…",
        ),
        (
            account(orgs=[ACME]),
            "acme/lineup",
            "failed me's role in acme is not told; ask an admin of acme for the role write, or push to me/…",
        ),
        (account(orgs=[{**ACME, "roleInOrg": "write"}]), "acme/lineup", "ok me may write to acme's Spaces"),
        (account(orgs=[{**ACME, "roleInOrg": "admin"}]), "ACME/lineup", "ok me may write to ACME's Spaces"),
        (account(orgs=[{**ACME, "roleInOrg": "contributor"}]), "acme/lineup", "ok me may write to acme's Spaces"),
        (
            account(orgs=[{**ACME, "roleInOrg": "contributor"}]),
            "acme/there",
            "ok me contributes to acme, and may write to what they created there",
        ),
        (scoped(("me", "repo.write")), "me/lineup", "ok me may write to me's Spaces"),
        (scoped(("me/there", "repo.write")), "me/there", "ok me may write to me's Spaces"),
        (
            scoped(("me", "discussion.write"), ("acme", "repo.write")),
            "me/lineup",
            "failed the token's permissions leave out writing to me; "
            "add that one to it at https://huggingface.co/settings/tokens",
        ),
        (
            scoped(("me/lineup", "repo.write")),
            "me/lineup",  # a token for one Space cannot create it
            "failed the token's permissions leave out writing to me; "
            "add that one to it at https://huggingface.co/settings/tokens",
        ),
    ],
)
def test_whether_the_token_may_write_is_told_with_the_remedy(ask, hub, me, space, line):
    hub.spaces.me = me
    for name in ("me/there", "acme/there"):
        put_space(hub, name)
    told = ask(space)
    assert told.line("write") == line
    assert told.status == (2 if line.startswith("failed") else 0)


@pytest.mark.parametrize(
    ("role", "line"),
    [
        ("read", "ok it is me's, and may only read"),
        ("fineGrained", "ok it is me's, and is fine-grained"),
        ("god", "ok it is me's, and the Hub does not say more"),
    ],
)
def test_what_kind_of_token_it_is_is_told(ask, hub, role, line):
    hub.spaces.me = account(role)
    assert ask().line("token") == line


def test_another_apps_space_is_not_pushed_to(ask, hub):
    hub.spaces.all["me/lineup"] = Space("cpu-basic", private=False)
    hub.spaces.put("me/lineup", {"README.md": b"", "app.py": b"somebody's"})
    told = ask()
    assert (told.status, told.line("space")) == (2, "failed me/lineup: it is another app's; choose another name")
    hub.spaces.put("me/lineup", {"README.md": b"", ".gitattributes": b""})
    assert ask().outcomes["space"] == "ok"


def test_a_space_that_is_there_keeps_its_hardware(ask, hub):
    put_space(hub)
    told = ask()
    assert told.line("space") == "ok me/lineup: it is there, and a push brings it up to date"
    assert told.line("hardware") == "ok t4-small, which a push without --hardware leaves as it is"


@pytest.mark.parametrize(
    ("me", "space", "line"),
    [
        (account(), "me/x", "failed t4-small needs a paid plan, and me has none; write `hardware: zero-a10g` under"),
        (account(isPro=True), "me/x", "ok t4-small, which me can pay for"),
        (account(canPay=True), "me/x", "ok t4-small, which me can pay for"),
        (account(orgs=[{**ACME, "roleInOrg": "write"}]), "acme/x", "ok t4-small, which acme can pay for"),
        (account(), "acme/x", "skipped t4-small needs a paid plan; whether acme has one is not known"),
    ],
)
def test_hardware_that_is_not_free_needs_an_account_that_pays(ask, hub, me, space, line):
    hub.spaces.me = me
    told = ask(space, config=CONFIG + "space: {hardware: t4-small}\n")
    assert told.line("hardware").startswith(line)


def test_a_hub_that_is_gone_is_told_and_the_rest_is_skipped(ask, hub):
    with hub.gone():
        told = ask("me/lineup")
    assert told.status == 2
    assert told.line("reach") == (
        f"failed {hub.url}: the Hub cannot be reached; check this machine's network, and try again"
    )
    assert [told.line(name) for name in NAMES[1:]] == ["skipped the Hub cannot be reached"] * 6


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("hung", "no answer came in time; try again"),
        ("500", "the Hub failed (500); try again later"),
        ("503", "the Hub failed (503); try again later"),
    ],
)
def test_a_hub_that_does_not_work_is_told_in_seconds(ask, hub, fault, found):
    hub.faults[""] = fault
    told = ask()
    assert (told.status, told.line("reach")) == (2, f"failed {hub.url}: {found}")
    assert set(told.outcomes.values()) == {"failed", "skipped"}


def test_a_proxy_that_refuses_is_told(ask, hub, monkeypatch):
    monkeypatch.setattr(doctor.constants, "ENDPOINT", "https://hub.invalid")
    monkeypatch.setenv("HTTPS_PROXY", hub.url)  # no proxy: it answers no CONNECT
    from huggingface_hub.utils._http import close_session

    close_session()  # the client reads the environment when it is made
    told = ask()
    monkeypatch.undo()
    close_session()
    assert told.line("reach") == (
        "failed https://hub.invalid: the proxy does not let it through; check HTTPS_PROXY, and try again"
    )


DOWNLOADS = {
    "corrupt": "other bytes came, twice; try again later, or look for a proxy that changes downloads",
    "hung": "nothing has arrived for 1 s; try again later, or raise limits.hub_timeout_s if the connection is slow",
    "500": "the server failed (500); try again later",
    "404": "there is no such file (404); check the name",
}


@pytest.mark.parametrize(("fault", "error"), DOWNLOADS.items())
def test_a_download_that_fails_is_told_and_the_rest_goes_on(ask, hub, fault, error):
    assert fault in FAULTS or fault.isdigit()
    hub.faults["me/birds"] = fault
    told = ask()
    assert told.outcomes == dict.fromkeys(NAMES, "ok") | {"download": "failed"}
    assert told.line("download") == f"failed me/birds/config.json: {error}"


@pytest.mark.parametrize(
    ("step", "fault", "name", "found"),
    [
        ("whoami", "500", "token", "the Hub failed (500); try again later"),
        ("whoami", "429", "token", "too many requests (429); try again in some minutes"),
        ("whoami", "hung", "token", "no answer came in time; try again"),
        ("info", "hung", "space", "me/lineup: no answer came in time; try again"),
        ("info", "503", "space", "me/lineup: the Hub failed (503); try again later"),
        ("info", "cut off", "space", "me/lineup: the connection broke off; try again"),
    ],
)
def test_one_thing_that_does_not_answer_fails_alone(ask, hub, step, fault, name, found):
    hub.spaces.faults[step] = fault
    told = ask()
    assert (told.status, told.line(name)) == (2, f"failed {found}")
    assert list(told.outcomes.values()).count("failed") == 1
    assert told.outcomes["download"] == "ok"
    assert told.outcomes["hardware"] == "skipped"


def test_where_xet_uploads_to_is_tried(ask, hub, monkeypatch):
    monkeypatch.setattr(doctor, "is_xet_available", lambda: True)
    told = ask()
    assert told.line("uploads") == "ok large files go through Xet, to 127.0.0.1, which answers"
    assert "xet_token" not in told.out
    hub.spaces.me = None
    assert ask().outcomes["uploads"] == "ok"  # a token that is not accepted is not sent
    hub.spaces.me = ME
    hub.spaces.storage = "http://127.0.0.1:1"
    told = ask()
    assert (told.status, told.line("uploads")) == (
        2,
        "failed large files go through Xet, to 127.0.0.1, which cannot be reached; "
        "let this machine reach it, or set HF_HUB_DISABLE_XET=1",
    )
    hub.spaces.faults["xet"] = "404"
    told = ask()
    assert (told.status, told.line("uploads")) == (
        0,
        "skipped where large files go is not known: the Hub refused (404)",
    )


def test_what_is_typed_wrong_is_told_before_anybody_is_asked(ask, hub):
    told = ask("me")
    assert (told.status, told.out) == (2, "")
    assert told.err == "error: OWNER/NAME: expected owner/name, such as me/my-lineup; got 'me'; mend it\n"
    told = ask(config="backbones: []\n")
    assert (told.status, told.out) == (2, "")
    assert told.err.startswith("error: ")
    assert hub.requests == []


def test_lines_stand_under_one_another():
    checks = [Check("reach", "ok", "here"), Check("hardware", "skipped", "there", "go")]
    assert [text.check(each) for each in checks] == ["ok       reach     here", "skipped  hardware  there; go"]


def test_the_help_says_what_the_exit_status_means(capsys):
    with pytest.raises(SystemExit):
        run_command(["doctor", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "skipped without one, and that is no failure; exit status 2 says that a check failed" in told
