"""A shared server as its admin meets it: what it says at start, its users, its refusals."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import urllib.request
from email.message import Message
from urllib.error import HTTPError

import pytest

from tests.support.lab import Lab, free_port

pytestmark = pytest.mark.integration


def test_the_server_says_what_to_paste_on_a_worker_and_on_a_laptop(lab: Lab) -> None:
    lab.serve()
    said = lab.said()
    token = (lab.state / "token").read_text().strip()
    assert f"serves 'main' at {lab.url}" in said
    # This goes to a file, as it would to a journal: no token there.
    assert f"export AUGURY_URL={lab.url} AUGURY_TOKEN=$(cat {lab.state / 'token'})" in said
    assert token not in said
    assert f"AUGURY_URL={lab.url} AUGURY_REDIS_URL='redis://:…@127.0.0.1" in said
    assert "AUGURY_SECRET_FILE=augury.secret augury worker" in said
    assert f"{lab.state}/secret" in said
    for name in ("secret", "token"):
        assert stat.S_IMODE((lab.state / name).stat().st_mode) == 0o600
    assert lab.json("status")["instance"] == "main"


def test_the_first_token_is_shown_on_a_terminal(lab: Lab) -> None:
    words = ["augury", "server", "--listen", f"127.0.0.1:{free_port()}"]
    controller, terminal = pty.openpty()
    environment = lab.environment(lab.home("server"), lab.server_variables())
    with subprocess.Popen(words, env=environment, stdout=terminal, stderr=subprocess.DEVNULL) as server:
        os.close(terminal)
        said = ""
        while "A token for each user" not in said:
            said += os.read(controller, 4096).decode()
        server.terminate()
    os.close(controller)
    assert f"AUGURY_TOKEN={(lab.state / 'token').read_text().strip()}" in said


def test_the_first_token_is_made_once_and_made_anew_when_its_file_is_removed(lab: Lab) -> None:
    server = lab.serve()
    first = (lab.state / "token").read_text().strip()
    server.terminate()
    assert server.wait(10) == 0
    server = lab.serve()
    assert first not in lab.said()
    assert f"$(cat {lab.state / 'token'})" in lab.said()
    assert lab.ok("token", "list", "-q") == "admin\n"
    server.terminate()
    server.wait(10)
    (lab.state / "token").unlink()
    lab.serve()
    assert (lab.state / "token").read_text().strip() != first
    refused = lab.laptop("ps", AUGURY_TOKEN=first)
    assert refused.returncode == 1
    assert "the token is unknown or revoked: set AUGURY_TOKEN" in refused.stderr


def test_the_admin_makes_lists_and_revokes_tokens_and_nobody_else(lab: Lab) -> None:
    lab.serve()
    made = lab.ok("token", "create", "ada")
    assert f"export AUGURY_URL={lab.url} AUGURY_TOKEN=" in made
    assert "ada has a token" in lab.laptop("token", "create", "ada").stderr
    lab.add_user("bob")
    assert [token["name"] for token in lab.json("token", "list")] == ["ada", "admin", "bob"]
    assert lab.laptop("ps", user="bob").returncode == 0
    assert "only the admin's token" in lab.laptop("token", "create", "eve", user="bob").stderr
    assert "only the admin's token" in lab.laptop("token", "list", user="bob").stderr
    assert "only the admin's token" in lab.laptop("token", "revoke", "ada", user="bob").stderr
    lab.ok("token", "revoke", "bob")
    assert lab.laptop("ps", user="bob").returncode == 1
    assert "no token of bob" in lab.laptop("token", "revoke", "bob").stderr
    assert "cannot be a user's name" in lab.laptop("token", "create", "a b").stderr


@pytest.mark.parametrize(
    ("words", "variables", "code", "sentence"),
    [
        ([], {"AUGURY_REDIS_URL": ""}, 2, "AUGURY_REDIS_URL is not set"),
        ([], {"AUGURY_DATABASE_URL": ""}, 2, "AUGURY_DATABASE_URL is not set"),
        ([], {"AUGURY_REDIS_URL": "http://x"}, 2, "AUGURY_REDIS_URL: 'http' is no scheme of a broker"),
        ([], {"AUGURY_REDIS_URL": "redis://127.0.0.1:1/0"}, 1, "AUGURY_REDIS_URL: no broker answers at"),
        ([], {"AUGURY_REDIS_URL": "redis://10.9.9.9:1/0"}, 2, "without a password"),
        ([], {"AUGURY_DATABASE_URL": "mysql://x/y"}, 2, "AUGURY_DATABASE_URL: 'mysql:' does not begin"),
        ([], {"AUGURY_DATABASE_URL": "postgresql://127.0.0.1:1/x"}, 1, "AUGURY_DATABASE_URL: the database"),
        ([], {"AUGURY_SECRET_FILE": "/nowhere"}, 2, "AUGURY_SECRET_FILE=/nowhere: No such file"),
        ([], {"AUGURY_BLOB_URL": "gopher://x"}, 2, "AUGURY_BLOB_URL=gopher://x"),
        ([], {"AUGURY_INSTANCE": "local"}, 2, "AUGURY_INSTANCE: 'local'"),
        (["--state-dir", "/proc/x"], {}, 2, "--state-dir: /proc/x cannot be made"),
        (["--url", "gpu0"], {}, 2, "--url 'gpu0' must be http://HOST or https://HOST"),
        (["--listen", "8800"], {}, 2, "--listen '8800' is not HOST:PORT"),
    ],
)
def test_a_wrong_setting_is_one_sentence_that_names_it(
    lab: Lab, words: list[str], variables: dict[str, str], code: int, sentence: str
) -> None:
    listen = [] if "--listen" in words else ["--listen", f"127.0.0.1:{free_port()}"]
    ended = lab.try_server(*listen, *words, **variables)
    assert sentence in ended.stderr
    assert ended.stderr.startswith("augury server: ")
    assert ended.stderr.count("\n") == 1
    assert (ended.returncode, ended.stdout) == (code, "")


def test_wrong_passwords_are_named(lab: Lab) -> None:
    listen = f"127.0.0.1:{free_port()}"
    wrong = lab.try_server("--listen", listen, AUGURY_REDIS_URL=lab.redis_url.replace("sesame", "barley"))
    assert "refuses the login: its password is another" in wrong.stderr
    assert "barley" not in wrong.stderr
    none = lab.try_server("--listen", listen, AUGURY_REDIS_URL=lab.redis_url.replace(":sesame@", ""))
    assert "refuses the login: it needs one" in none.stderr


def test_an_address_in_use_is_named(lab: Lab) -> None:
    lab.serve()
    ended = lab.try_server("--listen", f"{lab.host}:{lab.port}")
    assert ended.returncode == 2
    assert f"--listen: {lab.host}:{lab.port} cannot be used: Address already in use" in ended.stderr


def test_pages_of_other_sites_change_nothing_and_answers_are_guarded(lab: Lab) -> None:
    lab.serve()
    token = (lab.state / "token").read_text().strip()

    def ask(path: str, **headers: str) -> tuple[int, Message]:
        method = "POST" if path == "/api/v1/searches/1/stop" else "GET"
        given = {"Authorization": f"Bearer {token}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        request = urllib.request.Request(lab.url + path, headers=given, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                return int(answer.status), answer.headers
        except HTTPError as error:
            return error.code, error.headers

    stop = "/api/v1/searches/1/stop"
    assert ask(stop)[0] == 404
    assert ask(stop, Origin=lab.url)[0] == 404
    assert ask(stop, Origin="https://evil.example")[0] == 403
    assert ask(stop, Sec_Fetch_Site="cross-site")[0] == 403
    for path in ("/api/v1/status", "/api/v1/openapi.json", "/nowhere", stop):
        _, headers = ask(path)
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["Server"] is None
    assert ask("/api/v1/openapi.json", Authorization="")[0] == 401


def test_a_foreign_host_name_is_refused_whatever_the_token(lab: Lab) -> None:
    lab.serve("--url", "https://augury.lab")
    token = (lab.state / "token").read_text().strip()

    def status(host: str) -> int:
        request = urllib.request.Request(
            f"{lab.url}/api/v1/status", headers={"Host": host, "Authorization": f"Bearer {token}"}
        )
        try:
            with urllib.request.urlopen(request) as answer:
                return int(answer.status)
        except HTTPError as error:
            return error.code

    assert [status(host) for host in ("augury.lab", "10.1.2.3:8800", "[fd00::1]:8800")] == [200, 200, 200]
    assert [status(host) for host in ("evil.example", "augury.lab.evil.example", "")] == [400, 400, 400]
