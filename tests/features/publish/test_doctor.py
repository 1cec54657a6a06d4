"""`doctor` from the command line: the real Hub client against the fake Hub."""

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
NEW_TOKEN = "create a token with write access at https://huggingface.co/settings/tokens, and set HF_TOKEN"
# of the Hub's errors
OTHER_TOKEN = "create one with write access at https://huggingface.co/settings/tokens, and set HF_TOKEN to it"


@dataclass
class Result:
    status: int
    out: str
    err: str

    def line(self, name: str) -> str:
        """Return the outcome and the text of a check, separated by a space."""
        [line] = [line for line in self.out.splitlines() if line.split()[1] == name]
        return f"{line.split()[0]} {line[19:]}"

    @property
    def outcomes(self) -> dict[str, str]:
        return {line.split()[1]: line.split()[0] for line in self.out.splitlines()}


@pytest.fixture
def run_doctor(tmp_path, monkeypatch, capsys, hub, fresh_cache):
    """Return a function that runs `doctor` with a write token; the config's first entry is on the Hub."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(doctor, "TIMEOUT_S", 1.0)
    hub.put("me/birds", FILES)

    def run(*arguments: str, config: str = CONFIG) -> Result:
        (tmp_path / "config.yaml").write_text(config)
        started = time.monotonic()
        status = run_command(["doctor", *arguments, "--config", str(tmp_path / "config.yaml")])
        assert time.monotonic() - started < 15
        result = Result(status, *capsys.readouterr())
        assert TOKEN not in result.out + result.err
        assert {method for method, _ in hub.requests} <= {"GET", "HEAD"}  # nothing is changed
        return result

    return run


def account(role: str = "write", **changes: object) -> dict[str, object]:
    """Return the whoami response for a token of `me` with a role, or for another account."""
    me = copy.deepcopy({**ME, **changes})
    me["auth"]["accessToken"]["role"] = role
    return me


def scoped(*entities: tuple[str, str]) -> dict[str, object]:
    """Return the whoami response for a fine-grained token with one permission per owner or Space."""
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


def test_all_checks_pass_with_a_write_token(run_doctor, hub, fresh_cache):
    result = run_doctor()
    assert (result.status, result.err) == (0, "")
    assert list(result.outcomes.items()) == [(name, "ok") for name in NAMES]
    assert result.line("reach").startswith(f"ok {hub.url} answers in ")
    assert result.line("token") == "ok it belongs to me, and has write access"
    assert result.line("download").startswith("ok me/birds/config.json: 28 bytes in ")
    assert result.line("download").endswith(" ms, hash verified")
    assert result.line("space") == "ok me/lineup: it does not exist yet, and a push creates it"
    assert result.line("write") == "ok me may write to me's Spaces"
    assert result.line("hardware") == "ok zero-a10g, the only one on which a free account can host a Gradio Space"
    assert (
        result.line("uploads")
        == "ok large files are uploaded with Git LFS, to an address that the Hub returns at that time"
    )
    assert "preupload" not in str(hub.requests)


def test_download_check_bypasses_the_cache(run_doctor, hub, fresh_cache):
    run_doctor()
    hub.requests.clear()
    run_doctor()
    assert [method for method, path in hub.requests_to("me/birds") if path.endswith("config.json")].count("GET") == 1
    assert not list(fresh_cache.rglob("config.json"))
    assert str(fresh_cache / "hf" / "hub") == doctor.constants.HF_HUB_CACHE


def test_json_has_all_checks(run_doctor):
    finding = json.loads(run_doctor("--json").out)
    assert [check["name"] for check in finding] == list(NAMES)
    assert finding[1] == {
        "name": "token",
        "outcome": "ok",
        "found": "it belongs to me, and has write access",
        "remedy": "",
    }


@pytest.mark.parametrize(
    ("config", "file"),
    [
        ("backbones: ['local-dir:x', resnet18]", "timm/resnet18.a1_in1k/config.json"),
        ("backbones: [{backbone: resnet18, pretrained: false}, resnet50.a1_in1k]", "timm/resnet50.a1_in1k/config.json"),
        ("backbones: [torchvision/squeezenet1_1]", "timm/resnet18.a1_in1k/config.json"),
        ("backbones: ['hf-hub:me/birds@old']", "me/birds/config.json"),
    ],
)
def test_download_check_uses_the_first_entry_on_the_hub(run_doctor, hub, config, file):
    for repo in ("timm/resnet18.a1_in1k", "timm/resnet50.a1_in1k"):
        hub.repos.pop(repo, None)
        hub.put(repo, FILES)
    try:
        hub.put("me/birds", FILES, branch="old")
        result = run_doctor(config=config)
        assert result.line("download").startswith(f"ok {file}: 28 bytes in ")
        assert ("HEAD", "old/config.json") in hub.requests_to("me/birds") or "@old" not in config
    finally:
        for repo in ("timm/resnet18.a1_in1k", "timm/resnet50.a1_in1k"):
            del hub.repos[repo]


def test_without_a_token_the_checks_that_need_one_are_skipped(run_doctor, hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    result = run_doctor()
    assert result.status == 0
    assert result.outcomes == dict(
        zip(NAMES, ["ok", "skipped", "ok", "skipped", "skipped", "skipped", "ok"], strict=True)
    )
    assert result.line("token") == f"skipped not set, and public files need none; to push, {NEW_TOKEN}"
    assert result.line("space") == "skipped the owner of the Space is unknown; add OWNER/NAME"
    assert "/api/whoami-v2" not in str(hub.requests)
    put_space(hub)
    named = run_doctor("me/lineup")
    assert named.status == 0
    assert named.line("space") == "ok me/lineup: it exists, and a push updates it"
    assert named.line("write") == f"skipped there is no token; {NEW_TOKEN}"
    assert run_doctor("me/other").line("space") == "ok me/other: it does not exist, or it is private"


def test_rejected_token_fails_and_dependent_checks_are_skipped(run_doctor, hub):
    hub.spaces.me = None
    result = run_doctor("me/lineup")
    assert result.status == 2
    assert result.outcomes == dict(
        zip(NAMES, ["ok", "failed", "failed", "skipped", "skipped", "skipped", "ok"], strict=True)
    )
    assert result.line("token") == f"failed the token is not accepted (401); {OTHER_TOKEN}"
    assert result.line("download").endswith(
        "the token is not accepted (401); set HF_TOKEN to a valid one, or unset it: public files need none"
    )
    assert result.line("write") == "skipped the token is not accepted (401)"


def test_unsendable_token_is_not_printed(run_doctor, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_ñever")
    result = run_doctor()
    assert (result.status, result.outcomes["reach"], result.outcomes["token"]) == (2, "ok", "failed")
    assert "ever" not in result.line("token")


ACME = {"type": "org", "name": "acme", "canPay": True}


@pytest.mark.parametrize(
    ("me", "space", "line"),
    [
        (account("read"), "me/lineup", f"failed the token is read-only; {NEW_TOKEN}"),
        (account("god"), "me/lineup", "skipped the token's permissions are unknown; try a push"),
        (
            account(),
            "acme/lineup",
            "failed me is not a member of acme; use a token of acme, or push to me/lineup",
        ),
        (
            account(orgs=[{**ACME, "roleInOrg": "read"}]),
            "acme/lineup",
            "failed me's role in acme is read; ask an admin of acme for the role write, or push to me/…",
        ),
        (
            account(orgs=[ACME]),
            "acme/lineup",
            "failed me's role in acme is unknown; ask an admin of acme for the role write, or push to me/…",
        ),
        (account(orgs=[{**ACME, "roleInOrg": "write"}]), "acme/lineup", "ok me may write to acme's Spaces"),
        (account(orgs=[{**ACME, "roleInOrg": "admin"}]), "ACME/lineup", "ok me may write to ACME's Spaces"),
        (account(orgs=[{**ACME, "roleInOrg": "contributor"}]), "acme/lineup", "ok me may write to acme's Spaces"),
        (
            account(orgs=[{**ACME, "roleInOrg": "contributor"}]),
            "acme/there",
            "ok me is a contributor of acme, with write access to their own Spaces",
        ),
        (scoped(("me", "repo.write")), "me/lineup", "ok me may write to me's Spaces"),
        (scoped(("me/there", "repo.write")), "me/there", "ok me may write to me's Spaces"),
        (
            scoped(("me", "discussion.write"), ("acme", "repo.write")),
            "me/lineup",
            "failed the token has no write permission for me; "
            "add the permission at https://huggingface.co/settings/tokens",
        ),
        (
            scoped(("me/lineup", "repo.write")),
            "me/lineup",  # a token for one Space cannot create it
            "failed the token has no write permission for me; "
            "add the permission at https://huggingface.co/settings/tokens",
        ),
    ],
)
def test_write_check_reports_permission_and_remedy(run_doctor, hub, me, space, line):
    hub.spaces.me = me
    for name in ("me/there", "acme/there"):
        put_space(hub, name)
    result = run_doctor(space)
    assert result.line("write") == line
    assert result.status == (2 if line.startswith("failed") else 0)


@pytest.mark.parametrize(
    ("role", "line"),
    [
        ("read", "ok it belongs to me, and is read-only"),
        ("fineGrained", "ok it belongs to me, and is fine-grained"),
        ("god", "ok it belongs to me, and its role is unknown"),
    ],
)
def test_token_check_reports_the_role(run_doctor, hub, role, line):
    hub.spaces.me = account(role)
    assert run_doctor().line("token") == line


def test_space_of_another_app_fails(run_doctor, hub):
    hub.spaces.all["me/lineup"] = Space("cpu-basic", private=False)
    hub.spaces.put("me/lineup", {"README.md": b"", "app.py": b"another app"})
    result = run_doctor()
    assert (result.status, result.line("space")) == (2, "failed me/lineup: it has another app; choose another name")
    hub.spaces.put("me/lineup", {"README.md": b"", ".gitattributes": b""})
    assert run_doctor().outcomes["space"] == "ok"


def test_existing_space_keeps_its_hardware(run_doctor, hub):
    put_space(hub)
    result = run_doctor()
    assert result.line("space") == "ok me/lineup: it exists, and a push updates it"
    assert result.line("hardware") == "ok t4-small, which a push without --hardware does not change"


@pytest.mark.parametrize(
    ("me", "space", "line"),
    [
        (account(), "me/x", "failed t4-small needs a paid plan, and me has none; write `hardware: zero-a10g` under"),
        (account(isPro=True), "me/x", "ok t4-small, which the plan of me allows"),
        (account(canPay=True), "me/x", "ok t4-small, which the plan of me allows"),
        (account(orgs=[{**ACME, "roleInOrg": "write"}]), "acme/x", "ok t4-small, which the plan of acme allows"),
        (account(), "acme/x", "skipped t4-small needs a paid plan; whether acme has one is unknown"),
    ],
)
def test_paid_hardware_requires_a_plan(run_doctor, hub, me, space, line):
    hub.spaces.me = me
    result = run_doctor(space, config=CONFIG + "space: {hardware: t4-small}\n")
    assert result.line("hardware").startswith(line)


def test_unreachable_hub_fails_and_the_rest_is_skipped(run_doctor, hub):
    with hub.unreachable():
        result = run_doctor("me/lineup")
    assert result.status == 2
    assert result.line("reach") == (
        f"failed {hub.url}: the Hub cannot be reached; check this machine's network, and try again"
    )
    assert [result.line(name) for name in NAMES[1:]] == ["skipped the Hub cannot be reached"] * 6


@pytest.mark.parametrize(
    ("fault", "finding"),
    [
        ("hung", "the request timed out; try again"),
        ("500", "the Hub failed (500); try again later"),
        ("503", "the Hub failed (503); try again later"),
    ],
)
def test_failing_hub_is_reported_within_seconds(run_doctor, hub, fault, finding):
    hub.faults[""] = fault
    result = run_doctor()
    assert (result.status, result.line("reach")) == (2, f"failed {hub.url}: {finding}")
    assert set(result.outcomes.values()) == {"failed", "skipped"}


def test_refusing_proxy_is_reported(run_doctor, hub, monkeypatch):
    monkeypatch.setattr(doctor.constants, "ENDPOINT", "https://hub.invalid")
    monkeypatch.setenv("HTTPS_PROXY", hub.url)  # no proxy: it answers no CONNECT
    from huggingface_hub.utils._http import close_session

    close_session()  # the client reads the environment when it is made
    result = run_doctor()
    monkeypatch.undo()
    close_session()
    assert result.line("reach") == (
        "failed https://hub.invalid: the proxy does not let it through; check HTTPS_PROXY, and try again"
    )


DOWNLOADS = {
    "corrupt": "its hash did not match, twice; try again later, or check for a proxy that changes downloads",
    "hung": "no data was received for 1 s; try again later, or raise limits.hub_timeout_s if the connection is slow",
    "500": "the server failed (500); try again later",
    "404": "there is no such file (404); check the name",
}


@pytest.mark.parametrize(("fault", "error"), DOWNLOADS.items())
def test_failed_download_does_not_stop_the_other_checks(run_doctor, hub, fault, error):
    assert fault in FAULTS or fault.isdigit()
    hub.faults["me/birds"] = fault
    result = run_doctor()
    assert result.outcomes == dict.fromkeys(NAMES, "ok") | {"download": "failed"}
    assert result.line("download") == f"failed me/birds/config.json: {error}"


@pytest.mark.parametrize(
    ("step", "fault", "name", "finding"),
    [
        ("whoami", "500", "token", "the Hub failed (500); try again later"),
        ("whoami", "429", "token", "too many requests (429); try again in a few minutes"),
        ("whoami", "hung", "token", "the request timed out; try again"),
        ("info", "hung", "space", "me/lineup: the request timed out; try again"),
        ("info", "503", "space", "me/lineup: the Hub failed (503); try again later"),
        ("info", "cut off", "space", "me/lineup: the connection was interrupted; try again"),
    ],
)
def test_failed_request_fails_only_its_check(run_doctor, hub, step, fault, name, finding):
    hub.spaces.faults[step] = fault
    result = run_doctor()
    assert (result.status, result.line(name)) == (2, f"failed {finding}")
    assert list(result.outcomes.values()).count("failed") == 1
    assert result.outcomes["download"] == "ok"
    assert result.outcomes["hardware"] == "skipped"


def test_uploads_check_probes_the_xet_storage(run_doctor, hub, monkeypatch):
    monkeypatch.setattr(doctor.constants, "HF_HUB_DISABLE_XET", False)
    monkeypatch.setattr(doctor, "find_spec", {"hf_xet": True}.get)  # it may not be installed
    result = run_doctor()
    assert result.line("uploads") == "ok large files are uploaded with Xet, to 127.0.0.1, which can be reached"
    assert "xet_token" not in result.out
    hub.spaces.me = None
    assert run_doctor().outcomes["uploads"] == "ok"  # a token that is not accepted is not sent
    hub.spaces.me = ME
    hub.spaces.storage = "http://127.0.0.1:1"
    result = run_doctor()
    assert (result.status, result.line("uploads")) == (
        2,
        "failed large files are uploaded with Xet, to 127.0.0.1, which cannot be reached; "
        "allow connections to it, or set HF_HUB_DISABLE_XET=1",
    )
    hub.spaces.faults["xet"] = "404"
    result = run_doctor()
    assert (result.status, result.line("uploads")) == (
        0,
        "skipped the storage of large files is unknown: the Hub refused (404)",
    )


def test_invalid_argument_is_rejected_before_any_request(run_doctor, hub):
    result = run_doctor("me")
    assert (result.status, result.out) == (2, "")
    assert result.err == "error: OWNER/NAME: expected owner/name, such as me/my-lineup; got 'me'; fix the argument\n"
    result = run_doctor(config="backbones: []\n")
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith("error: ")
    assert hub.requests == []


def test_lines_are_aligned():
    checks = [Check("reach", "ok", "here"), Check("hardware", "skipped", "there", "go")]
    assert [text.check(check) for check in checks] == ["ok       reach     here", "skipped  hardware  there; go"]


def test_help_explains_the_exit_status(capsys):
    with pytest.raises(SystemExit):
        run_command(["doctor", "--help"])
    result = " ".join(capsys.readouterr().out.split())
    assert "are skipped, which is not a failure. The exit status is 2 if a check failed" in result
