from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from ui.guard import Guard
from ui.server import Options, _application

TOKEN, PORT = "a-token-of-this-home", 7861
HERE = f"http://127.0.0.1:{PORT}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Guard, Path]]:
    """The real app behind its guard, and its home."""
    home = tmp_path_factory.mktemp("app")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DARKROOM_HOME", str(home))
        patch.setenv("GRADIO_TEMP_DIR", str(home))  # is set by the app: so it is put back afterwards
        guard, runner = _application(TOKEN, PORT, Options())
        yield guard, home
        runner.close(timeout=5)


@pytest.fixture
def stranger(place) -> TestClient:
    """A browser that has not been here yet."""
    return TestClient(place[0], base_url=HERE, follow_redirects=False)


@pytest.fixture
def guest(place) -> TestClient:
    """A browser that has opened the address of the launcher."""
    client = TestClient(place[0], base_url=HERE, follow_redirects=False)
    assert client.get("/", params={"token": TOKEN}).status_code == 303
    return client


def test_without_the_token_nothing_is_told_but_where_to_get_it(stranger):
    for path in ("/", "/config", "/gradio_api/info", "/gradio_api/startup-events", "/theme.css", "/nowhere"):
        answer = stranger.get(path)
        assert answer.status_code == 403, path
        assert "the launcher" in answer.text and len(answer.text) < 200 and "cookie" not in answer.headers, path
    assert stranger.post("/gradio_api/queue/join", json={}).status_code == 403
    assert stranger.post("/gradio_api/upload", files={"files": b"x"}).status_code == 403


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "ü"])
def test_a_wrong_token_opens_nothing(stranger, token):
    answer = stranger.get("/", params={"token": token})
    assert answer.status_code == 403 and "set-cookie" not in answer.headers
    stranger.cookies.set(f"darkroom-{PORT}", token.encode("ascii", "replace").decode())
    assert stranger.get("/").status_code == 403


def test_the_right_token_is_traded_for_a_cookie_and_leaves_the_address(stranger):
    answer = stranger.get("/", params={"token": TOKEN, "view": "a b"})
    assert answer.status_code == 303 and answer.headers["location"] == "/?view=a+b"
    cookie = answer.headers["set-cookie"].lower()
    assert f"darkroom-{PORT}={TOKEN}" in cookie and "httponly" in cookie and "samesite=strict" in cookie
    page = stranger.get("/")
    assert page.status_code == 200 and "Darkroom" in page.text
    assert "object-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"


def test_cookies_of_other_programs_on_this_computer_do_not_hide_ours(stranger):
    """All ports of one computer share their cookies, and not every program writes them by the book."""
    mine = f"darkroom-{PORT}={TOKEN}"
    for other in ('settings={"a": [1, 2]}', "plain", "a[b]=c", "=", "x=é"):
        for cookie in (f"{other}; {mine}", f"{mine}; {other}"):
            headers = {"cookie": cookie.encode("latin-1")}
            assert stranger.get("/config", headers=headers).status_code == 200, cookie


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:7861", "0.0.0.0", "192.168.1.5", ""])
def test_another_name_for_this_address_is_refused(guest, host):
    """A page that has bound its own name to 127.0.0.1 would else be this page to the browser."""
    answer = guest.get("/config", params={"token": TOKEN}, headers={"host": host})
    assert answer.status_code == 403 and "127.0.0.1" in answer.text and "set-cookie" not in answer.headers


def test_half_an_address_is_refused(guest):
    assert guest.get("/config", headers={"host": "[::1"}).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1:7861", "localhost:7861", "LOCALHOST", "[::1]:7861"])
def test_the_names_of_this_computer_are_taken(place, host):
    client = TestClient(place[0], base_url=HERE, cookies={f"darkroom-{PORT}": TOKEN})
    assert client.get("/config", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:9999", "https://localhost:7861", "null", "", "http://[bad"])
def test_what_another_page_sends_is_not_carried_out(guest, origin):
    upload = {"files": ("a.png", b"x")}
    answer = guest.post("/gradio_api/upload", files=upload, headers={"origin": origin})
    assert answer.status_code == 403 and "another page" in answer.text
    assert guest.post("/gradio_api/upload", files=upload, headers={"origin": HERE}).status_code == 200


def test_what_a_browser_marks_as_from_another_site_is_not_carried_out(guest):
    answer = guest.post("/gradio_api/upload", headers={"sec-fetch-site": "cross-site"}, files={"files": b"x"})
    assert answer.status_code == 403 and "another page" in answer.text


def test_files_outside_the_shown_folders_are_not_served(place, guest, tmp_path):
    home = place[1]
    shown = home / "output" / "run" / "a.txt"
    for path in (shown, home / "settings.yaml", home / "datasets" / "mine" / "a.txt", tmp_path / "a.txt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("secret")
    (home / ".darkroom").mkdir()
    (home / ".darkroom" / "token").write_text(TOKEN)
    assert guest.get(f"/gradio_api/file={shown}").text == "secret"
    program = Path(__file__).resolve().parent.parent.parent
    for path in (
        home / "settings.yaml",
        home / "darkroom.db",
        home / ".darkroom" / "token",
        home / "datasets" / "mine" / "a.txt",
        tmp_path / "a.txt",
        program / "pyproject.toml",
        program / "ui" / "guard.py",
        "/etc/passwd",
        f"{home}/output/../settings.yaml",
        f"{home}/output/run/%2e%2e/%2e%2e/settings.yaml",
        "settings.yaml",
        "pyproject.toml",
    ):
        answer = guest.get(f"/gradio_api/file={path}")
        assert answer.status_code in {403, 404} and "secret" not in answer.text, path
        assert guest.get(f"/file={path}").status_code in {403, 404}, path


def test_links_out_of_the_shown_folders_are_not_served(place, guest, tmp_path):
    run = place[1] / "output" / "linked"
    run.mkdir(parents=True)
    (tmp_path / "a.txt").write_text("secret")
    (run / "link.txt").symlink_to(tmp_path / "a.txt")
    answer = guest.get(f"/gradio_api/file={run / 'link.txt'}")
    assert answer.status_code in {403, 404} and "secret" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/proxy=http://127.0.0.1:1/",
        "/proxy=http://127.0.0.1:1/",
        "/gradio_api/file=http://127.0.0.1:1/a.png",
        "/gradio_api/file=HTTPS://127.0.0.1:1/a.png",
    ],
)
def test_nothing_is_fetched_from_other_machines(guest, path):
    answer = guest.get(path)
    assert answer.status_code == 403 and "other machines" in answer.text


def test_with_a_password_that_is_asked_for_and_other_names_are_taken(place):
    guard = Guard(place[0].app, TOKEN, PORT, "pässword: x")
    client = TestClient(guard, base_url="http://studio.example", follow_redirects=False)
    assert client.get("/config").status_code == 401
    for auth in (("a", "wrong"), ("pässword: x", "")):
        assert client.get("/config", auth=auth).status_code == 401
    assert client.get("/config", headers={"authorization": "Basic !!"}).status_code == 401
    answer = client.get("/config", headers={"authorization": "Basic " + _basic("anyone:pässword: x")})
    assert answer.status_code == 303
    assert client.get("/config").status_code == 200


def _basic(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
